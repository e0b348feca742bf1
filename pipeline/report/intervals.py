"""Every figure of a report on pictures drawn again, and the 95 % intervals that come of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neglabel import UsageError
from neglabel.pipeline.bootstrap import draws, interval
from neglabel.pipeline.delong import DeLong, delong
from neglabel.pipeline.metrics import Convention
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report.measure import AVERAGE, Row
from neglabel.pipeline.report.read import Run

Floats = NDArray[np.float64]
By = Literal["picture", "class"]
#: Fewer draws say nothing of the ends of an interval that holds 95 % of them.
LEAST = 20
_METRICS = ("auroc", "fpr95")


@dataclass(eq=False)
class Drawings:
    """Runs on the same pictures, drawn alike for all of their scores.

    Attributes:
        place: by (run, score), which system; those without evidence are not there, and equal ones share a place.
        pairs: (ID set, OOD set).
        figures: (draws + 1, systems, pairs, 2) percentages, the first of the pictures as they are; None without draws.
    """

    runs: tuple[Run, ...]
    place: dict[tuple[str, str], int]
    systems: list[dict[str, Floats]]
    pairs: list[tuple[str, str]]
    figures: Floats | None
    by_picture: bool
    _delong: dict[tuple[str, str], DeLong | None] = field(default_factory=dict)

    def of(self, run: str, score: str, inside: str, ood: str, metric: str) -> Floats | None:
        """(draws + 1,) of one figure; of the average, of each drawing's own."""
        if self.figures is None or (run, score) not in self.place:
            return None
        at = [i for i, (a, b) in enumerate(self.pairs) if a == inside and ood in (b, AVERAGE)]
        return np.asarray(self.figures[:, self.place[run, score], at, _METRICS.index(metric)].mean(axis=1))

    def delong(self, inside: str, ood: str) -> DeLong | None:
        """Of all systems on one pair of sets; None where a set has one picture, or classes are drawn (it takes
        pictures to be independent)."""
        key = (inside, ood)
        if key not in self._delong:
            sets = [(system[inside], system[ood]) for system in self.systems]
            enough = self.by_picture and bool(sets) and min(map(len, sets[0])) > 1
            self._delong[key] = delong(sets) if enough else None
        return self._delong[key]


def drawn(
    runs: Sequence[Run], convention: Convention, count: int, by: By, seed: int, reporter: Reporter
) -> list[Drawings]:
    """Draw the pictures of ``runs`` again ``count`` times, alike for runs on the same pictures; 0 draws nothing.

    ID pictures are drawn jointly across OOD sets, each set apart (:func:`neglabel.pipeline.bootstrap.draws`).

    Args:
        by: ``class`` draws whole classes of ID pictures; a picture without a label is a class of its own.

    Raises:
        UsageError: 1 to 19 draws, or classes where an ID set has fewer than two.
    """
    if 0 < count < LEAST:
        raise UsageError(f"--bootstrap {count} is too few for a 95 % interval; give at least {LEAST}, or 0 for none")
    together: dict[str, list[Run]] = {}
    for run in runs:
        together.setdefault(_pictures(run), []).append(run)
    return [_draw(same, convention, count, by, seed, reporter) for same in together.values()]


def _draw(
    runs: Sequence[Run], convention: Convention, count: int, by: By, seed: int, reporter: Reporter
) -> Drawings:
    inside, outside = ([data for data in runs[0].of_role(role) if data.rows] for role in ("id", "ood"))
    pairs = [(a.name, b.name) for a in inside for b in outside]
    names = dict.fromkeys(name for pair in pairs for name in pair)
    place: dict[tuple[str, str], int] = {}
    systems: dict[bytes, dict[str, Floats]] = {}
    for run in runs:
        sets = {data.name: data for data in run.sets}
        for score in run.scores if pairs else ():
            system = {name: sets[name].logit(score) for name in names}
            if not any(np.isnan(logits).any() for logits in system.values()):
                # Baselines that no negatives change are the same in every run.
                key = hashlib.sha256(b"".join(logits.tobytes() for logits in system.values())).digest()
                systems.setdefault(key, system)
                place[run.name, score] = list(systems).index(key)
    made = list(systems.values())
    figures = None
    if count and made:
        clusters = {data.name: _classes(data.name, data.texts("label")) for data in inside} if by == "class" else None
        reporter.say(f"report: {count:,} draws of the pictures, {len(made)} score{'s' * (len(made) != 1)}")
        figures = draws(made, pairs, convention, count, seed, clusters)
    return Drawings(tuple(runs), place, made, pairs, figures, by == "picture")


def _classes(name: str, labels: Sequence[str]) -> list[str]:
    found = [label.strip() or f"\0{row}" for row, label in enumerate(labels)]
    if len(set(found)) < 2 or not any(map(str.strip, labels)):
        raise UsageError(
            f"--bootstrap-by class: {name} has {len({label for label in labels if label.strip()})} labelled "
            "class(es), and drawing classes needs two; leave the option out"
        )
    return found


def _pictures(run: Run) -> str:
    """Equal for runs on the same pictures in the same order."""
    digest = hashlib.sha256()
    # Pictures of unknown kind are in no figure.
    judged = [data for data in run.sets if data.role != "unknown"]
    for data in sorted(judged, key=lambda data: data.name):
        digest.update(f"{data.name}\0{data.role}\0{data.rows}\0".encode())
        digest.update("\0".join(data.texts("id")).encode("utf-8", "surrogatepass"))
    # The order of sets decides their draws.
    return digest.hexdigest() + "\0".join(data.name for data in judged)


def with_intervals(rows: Sequence[Row], found: Sequence[Drawings]) -> list[Row]:
    """``rows`` with the intervals of AUROC and FPR95 from the drawings, and DeLong's of AUROC."""
    return [replace(row, **_bounds(row, found)) for row in rows]


def _bounds(row: Row, found: Sequence[Drawings]) -> dict[str, Any]:
    bounds: dict[str, Any] = {}
    for one in found:
        system = one.place.get((row.run, row.score))
        if system is None:
            continue
        for metric in _METRICS:
            figures = one.of(row.run, row.score, row.id, row.ood, metric)
            if figures is not None:
                bounds[f"{metric}_low"], bounds[f"{metric}_high"] = interval(figures)[1:]
        exact = None if row.ood == AVERAGE else one.delong(row.id, row.ood)
        if exact is not None:
            estimate = exact.interval(system)
            bounds["auroc_delong_low"], bounds["auroc_delong_high"] = 100 * estimate.low, 100 * estimate.high
    return bounds
