"""Runs that differ by their seed alone (random groups, random negatives): the spread of their figures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neglabel.pipeline.report.measure import ROUNDING, Row
from neglabel.pipeline.report.read import Run
from neglabel.pipeline.report.tables import write_csv

#: What seeds may change beside what they draw: names of files, and how the work was done.
_APART = frozenset(
    ["seed", "random", "out", "negatives", "cache", "text_out", "work", "batch_size", "workers", "engine", "address",
     "device"]
)  # fmt: skip


@dataclass(frozen=True)
class Spread:
    """One figure over ``runs`` of other seeds: mean, sample standard deviation, least and most; percentages."""

    runs: tuple[str, ...]
    score: str
    id: str
    ood: str
    metric: str
    mean: float
    deviation: float
    least: float
    most: float


def spreads(runs: Sequence[Run], rows: Sequence[Row]) -> list[Spread]:
    """A spread for every figure that seeds change, of every two or more runs that differ by their seed alone."""
    alike: dict[str, list[Run]] = {}
    for run in runs:
        if run.manifest.get("settings"):
            alike.setdefault(_but_for_seeds(run), []).append(run)
    found = []
    for same in alike.values():
        names = tuple(run.name for run in same)
        if len({_seeds(run) for run in same}) < len(same) or len(same) < 2:
            continue
        figures: dict[tuple[str, str, str], list[Row]] = {}
        for row in rows:
            if row.run in names:
                figures.setdefault((row.score, row.id, row.ood), []).append(row)
        for place, ours in figures.items():
            for metric in ("auroc", "fpr95"):
                values = [value for row in ours if (value := getattr(row, metric)) is not None]
                if len(values) == len(same) and max(values) - min(values) > ROUNDING:
                    spread = float(np.mean(values)), float(np.std(values, ddof=1)), min(values), max(values)
                    found.append(Spread(names, *place, metric, *spread))
    return found


def _seeds(run: Run) -> tuple[Any, Any]:
    return (run.manifest["settings"].get("seed"), (run.negatives.metadata.get("settings") or {}).get("random"))


def _but_for_seeds(run: Run) -> str:
    """Equal for runs whose seeds alone differ. Random words differ with their seed; chosen ones must be the same."""
    words = "" if run.random else "\0".join(run.negatives.column("text") or [])
    mined = run.negatives.metadata
    parts = [
        _plain(run.manifest["settings"]), _plain(mined.get("settings") or {}), run.random, run.negatives.count,
        run.labels, run.manifest.get("model"), run.manifest["scores"], run.manifest.get("bank"),
        [(data.name, data.role, data.texts("id")) for data in run.sets],
        hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest(),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in _APART}


def seeds_csv(found: Iterable[Spread]) -> str:
    """A row a figure of runs that differ by their seed alone; names of runs joined by ``; ``."""
    cells = (
        [
            "; ".join(s.runs), len(s.runs), s.score, s.id, s.ood, s.metric,
            *(f"{value:.4f}" for value in (s.mean, s.deviation, s.least, s.most)),
        ]
        for s in found
    )  # fmt: skip
    return write_csv(("runs", "seeds", "score", "id", "ood", "metric", "mean", "deviation", "least", "most"), cells)
