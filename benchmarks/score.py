"""Scoring against what it can't do without, the matrix product, and against the authors' way.

    python benchmarks/score.py [--images 100000] [--repeats 3] [--parts rows,memory,share] [--json FILE]

`rows`: images × (1,000 ID labels + 10,000 negatives) × 512, NegLabel in 100 groups, five best labels and negatives a
picture: ours (embeddings → the table's columns); a NumPy loop over groups as the authors' code has it (one product of
each block, then a softmax over K + m columns a group, float32, temperature 0.01, mean of the groups' shares), with no
table and no best ones; the bare float32 product. Blocks take turns; sums of each way over all pictures, medians of
--repeats. Scores of the two ways are compared for every picture. `memory`: the peak of a process that scores as many
pictures from Parquet. `share`: what `score` says it spent, pictures of noise through ViT-B-16 with random weights on a
CPU. Wall time on a busy machine says little, so CPU time is beside it. Nothing here decides a test.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
from score_parts import D, K, M, memory, share, unit_rows

T, GROUPS = 0.01, 100
#: Pictures a turn, as a row group of a file has them.
TURN = 8_192


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def authors(images: np.ndarray, labels: np.ndarray, words: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(n,) mean over groups of Σ_k softmax([a, b_g]/T)_k; blocks of pictures, as their loader has them."""
    found = []
    texts = np.concatenate([labels, words[groups.ravel()]]).T
    each = groups.shape[1]
    for start in range(0, len(images), 512):
        logits = (images[start : start + 512] @ texts) / np.float32(T)
        ours, total = logits[:, :K], np.zeros(len(logits), np.float32)
        for group in range(len(groups)):
            both = np.concatenate([ours, logits[:, K + group * each : K + (group + 1) * each]], axis=1)
            both = np.exp(both - both.max(axis=1, keepdims=True))
            total += (both / both.sum(axis=1, keepdims=True))[:, :K].sum(axis=1)
        found.append(total / len(groups))
    return np.concatenate(found)


def rows(count: int, repeats: int) -> dict[str, Any]:
    from neglabel.indexes.flat import NegativeIndex
    from neglabel.pipeline.item_columns import ItemColumns
    from neglabel.pipeline.score_plan import DataSet
    from neglabel.pipeline.score_rows import Scorer
    from neglabel.pipeline.scores import group_negatives

    rng = np.random.default_rng(0)
    labels, words = unit_rows(rng, K), unit_rows(rng, M)
    texts, groups = np.concatenate([labels, words]).T, group_negatives(M, GROUPS)
    scorer = Scorer([f"class {k}" for k in range(K)], labels, NegativeIndex(words, groups, labels),
                    [f"word {j}" for j in range(M)], {"neglabel": T}, T)  # fmt: skip
    data: Any = DataSet("pictures", "id", None)  # type: ignore[arg-type]
    product = np.empty((381, K + M), np.float32)

    def bare(images: np.ndarray) -> None:
        for start in range(0, len(images), len(product)):
            some = images[start : start + len(product)]
            np.matmul(some, texts, out=product[: len(some)])

    def ours(images: np.ndarray) -> pa.Table:
        table = pa.table({"label": pa.array(np.arange(len(images)) % K)})
        return scorer.rows(data, ItemColumns(table, len(images), Path()), images)[0]

    ways: dict[str, Callable[[np.ndarray], Any]] = {
        "bare product": bare, "ours": ours, "loop over groups": lambda images: authors(images, labels, words, groups),
    }  # fmt: skip
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    off = 0.0
    for repeat in range(repeats):
        spent = {name: {"wall": 0.0, "cpu": 0.0} for name in ways}
        for start in range(0, count, TURN):
            images = unit_rows(rng, min(TURN, count - start))
            found = {}
            for name, way in ways.items():
                begun, used = time.perf_counter(), cpu()
                found[name] = way(images)
                spent[name]["wall"] += time.perf_counter() - begun
                spent[name]["cpu"] += cpu() - used
            if repeat == 0:
                score = found["ours"]["neglabel"].to_numpy()
                off = max(off, float(np.abs(score - found["loop over groups"]).max()))
        for name, taken in spent.items():
            turns[name].append(taken)
    times = {name: {kind: median(one[kind] for one in each) for kind in each[0]} for name, each in turns.items()}
    return {"images": count, "times": times, "largest difference of a score": off}


def show_rows(result: dict[str, Any]) -> None:
    times = result["times"]
    base, loop = times["bare product"], times["loop over groups"]
    print(f"| {result['images']:,} x ({K:,} + {M:,}) x {D} | wall s | of the product | CPU s | of the product "
          "| times as fast as the loop (wall, CPU) |")  # fmt: skip
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, taken in times.items():
        print(f"| {name} | {taken['wall']:.2f} | {taken['wall'] / base['wall']:.2f} | {taken['cpu']:.2f} "
              f"| {taken['cpu'] / base['cpu']:.2f} | {loop['wall'] / taken['wall']:.1f}, "
              f"{loop['cpu'] / taken['cpu']:.1f} |")  # fmt: skip
    print(f"scores of the two ways differ by {result['largest difference of a score']:.1e} at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--pictures", type=int, default=96, help="of `share`")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", default="rows,memory,share")
    parser.add_argument("--folder", type=Path, help="where generated files go (removed afterwards)")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    result: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "threads": os.environ.get("OMP_NUM_THREADS"),
                              "load_before": os.getloadavg()}  # fmt: skip
    if "rows" in given.parts:
        result["rows"] = rows(given.images, given.repeats)
        show_rows(result["rows"])
    if "memory" in given.parts:
        result["memory"] = found = memory(given.images, given.folder)
        print(f"{given.images:,} pictures from Parquet: {found['seconds']:.1f} s, peak {found['peak_gb']:.2f} GB "
              f"(imports {found['imports_gb']:.2f}); seconds by step {found['time']}")  # fmt: skip
    if "share" in given.parts:
        result["share"] = found = share(given.pictures, given.folder)
        print(f"{given.pictures} pictures through ViT-B-16: {found['time']}; scores take "
              f"{100 * found['share']:.2f} % of an image's time")  # fmt: skip
    result["load_after"] = os.getloadavg()
    print(f"load of the machine: {result['load_before'][0]:.1f} before, {result['load_after'][0]:.1f} after")
    if given.json:
        given.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
