"""Time and memory against candidates, labels and pictures: the curve in `docs/scaling.svg`.

    python benchmarks/scaling.py [--largest 10000000] [--folder DIR] [--svg docs/scaling.svg] [--json FILE]

Each point is a process of its own on the CPU, its inputs generated and removed afterwards: `mine` (M = 10,000,
η = 0.05, 512 dimensions) of 10⁴ to 10⁷ candidates against 1,000 labels, and of 100,000 against 10 to 21,000 labels;
`score` (NegLabel in 100 groups and MCM) of 10³ to 10⁶ embeddings against 1,000 labels and 10,000 negatives. 10⁷
candidates take 10 GB of disk, 10⁶ pictures 2 GB. `--largest` leaves out what is larger. Run on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mine_parts import generate, mined
from score_parts import named, pictures, run_stage, texts

CANDIDATES = (10_000, 100_000, 1_000_000, 10_000_000)
LABELS = (10, 100, 1_000, 5_000, 21_000)
PICTURES = (1_000, 10_000, 100_000, 1_000_000)


def of_candidates(place: Path, count: int) -> dict[str, Any]:
    named(place / "labels.parquet", 1_000, 1, "label")
    return mined(place, [generate(place / "store", count, 2)], "negatives.parquet")


def of_labels(place: Path, count: int) -> dict[str, Any]:
    named(place / "labels.parquet", count, 1, "label")
    return mined(place, [generate(place / "store", 100_000, 2)], "negatives.parquet")


def of_pictures(place: Path, count: int) -> dict[str, Any]:
    return run_stage("score", {**texts(place), "images": {"all": str(pictures(place / "pictures.parquet", count))}})


SERIES: dict[str, tuple[str, tuple[int, ...], Callable[[Path, int], dict[str, Any]]]] = {
    "candidates": ("mine: candidates (1,000 labels)", CANDIDATES, of_candidates),
    "labels": ("mine: labels (100,000 candidates)", LABELS, of_labels),
    "pictures": ("score: pictures (1,000 + 10,000 texts)", PICTURES, of_pictures),
}


def point(make: Callable[[Path, int], dict[str, Any]], count: int, folder: Path | None) -> dict[str, Any]:
    place = Path(tempfile.mkdtemp(prefix="scaling-", dir=folder))
    try:
        return make(place, count)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def draw(result: dict[str, Any], path: Path) -> None:
    """Two rows, seconds and GB, of three columns; everything logarithmic but memory."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "neglabel"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, len(SERIES), figsize=(11, 6), sharex="col", layout="constrained")
    for column, (name, (title, _, _)) in enumerate(SERIES.items()):
        if not result[name]:
            continue
        counts = [one["count"] for one in result[name]]
        upper, lower = axes[0][column], axes[1][column]
        upper.plot(counts, [one["seconds"] for one in result[name]], "o-")
        lower.plot(counts, [one["peak_gb"] for one in result[name]], "o-")
        upper.set(xscale="log", yscale="log", ylabel="seconds" if column == 0 else "")
        upper.set_title(title, fontsize="medium")
        highest = 1.15 * max(one["peak_gb"] for one in result[name])
        lower.set(xlabel=name, ylim=(0, highest), ylabel="peak memory, GB" if column == 0 else "")
        for axis in (upper, lower):
            axis.grid(alpha=0.3)
    figure.savefig(path, format="svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=10**9)
    parser.add_argument("--folder", type=Path, help="where generated files go (removed afterwards)")
    parser.add_argument("--svg", type=Path, default=Path("docs/scaling.svg"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    result: dict[str, Any] = {"cores": len(os.sched_getaffinity(0))}
    for name, (title, counts, make) in SERIES.items():
        print(f"{title}\n| {name} | seconds | CPU s | peak GB | load |\n| ---: | ---: | ---: | ---: | ---: |")
        result[name] = []
        for count in counts:
            if count <= given.largest:
                found = {"count": count, **point(make, count, given.folder), "load": os.getloadavg()[0]}
                result[name].append(found)
                print(f"| {count:,} | {found['seconds']:.1f} | {found['cpu']:.1f} | {found['peak_gb']:.2f} "
                      f"| {found['load']:.1f} |", flush=True)  # fmt: skip
    draw(result, given.svg)
    if given.json:
        given.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
