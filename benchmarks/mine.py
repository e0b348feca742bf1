"""Mining against what it can't do without: the matrix product, and reading the files.

    python benchmarks/mine.py [--rows 1000000] [--repeats 5] [--parts memory,files,added] [--folder DIR] [--json FILE]

`memory`: 50,000 candidates x 1,000 labels x 512, η = 0.05, in memory: ours (M = 10,000 and 1,000), the reference way
(product, `torch.quantile` in chunks, `argsort`), FAISS's search, the bare float32 product. `files`: --rows candidates
from a generated store, against reading the same column of the same files and the bare product of so many rows; peak
memory of a process. `added`: 1 % more candidates with `--work`, against from scratch. All ways take turns; medians.
Wall time on a busy machine says little, so CPU time is shown beside it. Nothing here decides a test.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from mine_parts import ETA, K, from_files
from score_parts import cpu_seconds, unit_rows

C = 50_000


def turns(ways: dict[str, Callable[[], Any]], repeats: int) -> dict[str, dict[str, float]]:
    """Each way once a turn: medians of wall and CPU seconds (of this process and of its children)."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), cpu_seconds()
            way()
            taken[name].append((time.perf_counter() - wall, cpu_seconds() - cpu))
    return {
        name: {"wall": median(w for w, _ in each), "cpu": median(c for _, c in each)} for name, each in taken.items()
    }


def in_memory(repeats: int) -> dict[str, Any]:
    import torch

    from neglabel.indexes.percentile import PercentileIndex
    from neglabel.pipeline.mine import select

    rng = np.random.default_rng(0)
    candidates, labels = unit_rows(rng, C), unit_rows(rng, K)
    index = PercentileIndex(labels, ETA, "cpu")

    def reference(top: int = 10_000) -> np.ndarray:
        # As the authors' code does it; torch.quantile takes 2^24 numbers at most.
        ours, theirs = torch.from_numpy(candidates), torch.from_numpy(labels)
        parts = [torch.quantile(-(ours[i : i + 10_000] @ theirs.T), ETA, dim=1) for i in range(0, C, 10_000)]
        return torch.argsort(torch.cat(parts), descending=True)[:top].numpy()

    def faiss_way(top: int = 10_000) -> np.ndarray:
        return np.argsort(-index.distances(candidates), kind="stable")[:top]

    rough, ours = reference(), select(candidates, labels, ETA, 10_000, "cpu")
    ways: dict[str, Callable[[], Any]] = {
        "bare product (NumPy)": lambda: candidates @ labels.T,
        "ours, M = 10,000": lambda: select(candidates, labels, ETA, 10_000, "cpu"),
        "ours, M = 1,000": lambda: select(candidates, labels, ETA, 1_000, "cpu"),
        "reference way": reference,
        "FAISS search, k = 51": faiss_way,
    }
    times = turns(ways, repeats)
    same = {name: len(np.intersect1d(rows, ours)) for name, rows in (("reference", rough), ("faiss", faiss_way()))}
    return {"times": times, "kept by both": same}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--parts", default="memory,files,added")
    parser.add_argument("--folder", type=Path, help="where the generated store goes (removed afterwards)")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    load = os.getloadavg()
    result: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "load_before": load}
    if "memory" in given.parts:
        result["memory"] = in_memory(given.repeats)
        base = result["memory"]["times"]["bare product (NumPy)"]
        print("| 50,000 x 1,000 x 512 in memory | wall s | of the product | CPU s | of the product |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for name, taken in result["memory"]["times"].items():
            print(f"| {name} | {taken['wall']:.2f} | {taken['wall'] / base['wall']:.2f} | {taken['cpu']:.2f} "
                  f"| {taken['cpu'] / base['cpu']:.2f} |")  # fmt: skip
        print("kept by both:", result["memory"]["kept by both"])
    if "files" in given.parts or "added" in given.parts:
        place = Path(tempfile.mkdtemp(prefix="mine-", dir=given.folder))
        try:
            files = from_files(place, given.rows, given.repeats, "added" in given.parts)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        result["files"] = files
        base = files["read and bare product"]
        print(f"| {given.rows:,} x 1,000 x 512 from Parquet | wall s | ratio | CPU s | peak GB |")
        print("| --- | ---: | ---: | ---: | ---: |")
        print(f"| read {base['read']:.1f} + bare product {base['product']:.1f} | {base['seconds']:.1f} | 1 "
              f"| {base['cpu']:.1f} | |")  # fmt: skip
        for name, against in (("ours", "read and bare product"), ("first with --work", "ours"),
                              ("scratch", "ours"), ("added", "scratch")):  # fmt: skip
            if name in files:
                one = files[name]
                ratio = one["seconds"] / files[against]["seconds"]
                print(f"| {name} | {one['seconds']:.1f} | {ratio:.3f} of {against} "
                      f"| {one['cpu']:.1f} | {one['peak_gb']:.2f} (imports {one['imports_gb']:.2f}) |")  # fmt: skip
        if "same" in files:
            print(f"added = scratch: {files['same']}; --work holds {files['work_mb']:.0f} MB")
    result["load_after"] = os.getloadavg()
    print(f"load of the machine: {load[0]:.1f} before, {result['load_after'][0]:.1f} after, {result['cores']} cores")
    if given.json:
        given.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
