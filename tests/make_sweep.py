"""A small world for sweeps: words, labels, a random model, embeddings as pictures; a sweep file; what a sweep left."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from neglabel.pipeline import config
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.sweep import sweep
from neglabel.pipeline.sweep_settings import SweepSettings

from .make_world import unit, write

WORDS = [one + two for one in ("red", "old", "wet", "big", "dry") for two in ("stone", "cloud", "river", "law")]
LABELS = ("cat", "dog", "horse")


def make_place(folder: Path, model: Path) -> dict[str, Any]:
    """Files of the world in ``folder``. Returns a run file's values."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    (folder / "words.txt").write_text("".join(f"{word}\n" for word in WORDS))
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    for name, n in (("inside", 40), ("far", 30), ("farther", 20)):
        write(folder / f"{name}.parquet", unit(rng, n, 32))
    return {
        "labels": "labels.txt", "corpus": "words.txt", "model": str(model), "device": "cpu",
        "mine": {"top": 10},
        "score": {
            "id": {"in": "inside.parquet"}, "ood": {"far": "far.parquet", "farther": "farther.parquet"},
            "score": ["neglabel", "mcm"], "groups": 2,
        },
        "report": {"bootstrap": 0, "cases": 0},
    }  # fmt: skip


def write_sweep(path: Path, values: dict[str, Any], **more: Any) -> Path:
    path.write_text(tomli_w.dumps({**values, **more}))
    return path


def run_sweep(out: Path, *file: Path, **given: Any) -> dict[str, Any]:
    settings = config.make(SweepSettings, {"file": list(file), "out": out, "page": False, **given})
    made: dict[str, Any] = sweep(settings, Reporter(quiet=True))
    return made


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def finished(out: Path, stage: str = "") -> dict[str, int]:
    """Steps that are finished, of one stage or of all, and when that was."""
    return {p.parent.name: p.stat().st_mtime_ns for p in (out / "steps").glob(f"{stage}*/step.json")}
