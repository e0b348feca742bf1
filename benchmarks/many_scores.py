"""All scores from one pass against NegLabel alone, and draws of a report's pictures.

    python benchmarks/many_scores.py [--images 100000] [--drawn 60000] [--repeats 3] [--parts scores,draws]

`scores`: embeddings → the table's columns, images × (1,000 ID labels + 10,000 negatives) × 512, 100 groups: NegLabel
alone; every score that is made of these cosines (with gradnorm), together; the same, each in a pass of its own. Blocks
take turns; sums over all pictures, medians of --repeats, as ratios to NegLabel alone. Scores of a bank and of other
similarities (L1, KL) need products of their own and are not in it. `draws`: 1,000 bootstrap replicates of AUROC and
FPR95 of one score and one pair of sets, --drawn scores in all, by each convention; goal: under 10 s.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, get_args

import numpy as np
import pyarrow as pa
from score_parts import D, K, M, cpu_seconds, unit_rows

GROUPS, TURN, DRAWS = 100, 8_192, 1_000


def measured(way: Callable[[], Any]) -> dict[str, float]:
    begun, used = time.perf_counter(), cpu_seconds()
    way()
    return {"wall": time.perf_counter() - begun, "cpu": cpu_seconds() - used}


def medians(turns: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    return {name: {kind: median(one[kind] for one in each) for kind in each[0]} for name, each in turns.items()}


def scores(count: int, repeats: int) -> dict[str, Any]:
    from neglabel.indexes.flat import NegativeIndex
    from neglabel.pipeline.item_columns import ItemColumns
    from neglabel.pipeline.score_plan import DataSet
    from neglabel.pipeline.score_rows import Scorer
    from neglabel.pipeline.scores import FROM_COSINES, SCORES, group_negatives

    rng = np.random.default_rng(0)
    labels, words = unit_rows(rng, K), unit_rows(rng, M)
    index = NegativeIndex(words, group_negatives(M, GROUPS), labels)
    texts = [f"class {k}" for k in range(K)], [f"word {j}" for j in range(M)]
    data: Any = DataSet("pictures", "id", None)  # type: ignore[arg-type]

    def scorer(*names: str) -> Scorer:
        temperatures = {name: SCORES[name].temperature for name in names}
        return Scorer(texts[0], labels, index, texts[1], temperatures, 0.01)

    names = [*FROM_COSINES, "gradnorm"]
    ways = {
        "NegLabel": [scorer("neglabel")], "together": [scorer(*names)], "one by one": [scorer(name) for name in names]
    }  # fmt: skip
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(repeats):
        spent = {name: {"wall": 0.0, "cpu": 0.0} for name in ways}
        for start in range(0, count, TURN):
            images = unit_rows(rng, min(TURN, count - start))
            items = ItemColumns(pa.table({"label": np.arange(len(images)) % K}), len(images), Path())
            for name, each in ways.items():
                for one in each if name != "one by one" or start == 0 else ():
                    found = measured(lambda one=one, items=items, images=images: one.rows(data, items, images))
                    # One by one is slow and known to be: one turn stands for all.
                    share = count / len(images) if name == "one by one" else 1.0
                    spent[name] = {kind: spent[name][kind] + share * taken for kind, taken in found.items()}
        for name, taken in spent.items():
            turns[name].append(taken)
    return {"images": count, "scores": names, "times": medians(turns)}


def draws(count: int, repeats: int) -> dict[str, Any]:
    from neglabel.pipeline.bootstrap import draws as drawn
    from neglabel.pipeline.metrics import Convention

    rng = np.random.default_rng(1)
    inside = count * 5 // 6
    system = {"id": rng.normal(1.0, 1.0, inside), "ood": rng.normal(0.0, 1.0, count - inside)}
    conventions = get_args(Convention)
    turns: dict[str, list[dict[str, float]]] = {convention: [] for convention in conventions}
    for _ in range(repeats):
        for convention in conventions:
            turns[convention].append(
                measured(lambda by=convention: drawn([system], [("id", "ood")], by, DRAWS, 0))
            )  # fmt: skip
    return {"scores": count, "draws": DRAWS, "times": medians(turns)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--drawn", type=int, default=60_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", default="scores,draws")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    result: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "threads": os.environ.get("OMP_NUM_THREADS"),
                              "load_before": os.getloadavg()}  # fmt: skip
    if "scores" in given.parts:
        result["scores"] = found = scores(given.images, given.repeats)
        base = found["times"]["NegLabel"]
        print(f"| {len(found['scores'])} scores, {given.images:,} x ({K:,} + {M:,}) x {D} | wall s | of NegLabel "
              "| CPU s | of NegLabel |\n| --- | ---: | ---: | ---: | ---: |")  # fmt: skip
        for name, taken in found["times"].items():
            print(f"| {name} | {taken['wall']:.1f} | {taken['wall'] / base['wall']:.2f} | {taken['cpu']:.1f} "
                  f"| {taken['cpu'] / base['cpu']:.2f} |")  # fmt: skip
    if "draws" in given.parts:
        result["draws"] = found = draws(given.drawn, given.repeats)
        print(f"| {DRAWS:,} draws of {given.drawn:,} scores | wall s | CPU s |\n| --- | ---: | ---: |")
        for name, taken in found["times"].items():
            print(f"| {name} | {taken['wall']:.2f} | {taken['cpu']:.2f} |")
    result["load_after"] = os.getloadavg()
    print(f"load of the machine: {result['load_before'][0]:.1f} before, {result['load_after'][0]:.1f} after")
    if given.json:
        given.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
