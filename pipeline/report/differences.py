"""Which differences hold: paired tests between scores and between runs, corrected for how many there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from neglabel.pipeline.bootstrap import difference
from neglabel.pipeline.holm import holm
from neglabel.pipeline.report.intervals import Drawings
from neglabel.pipeline.report.measure import AVERAGE
from neglabel.pipeline.report.read import Run
from neglabel.pipeline.report.tables import write_csv

#: A difference holds where its p, corrected for all of its family, is at most this.
LEVEL = 0.05


@dataclass(frozen=True)
class Tested:
    """``run``'s ``score`` less ``other_run``'s ``other_score``, in percentage points, on the same pictures.

    ``test``: ``DeLong`` or ``bootstrap``; ``p_holm``: corrected for the ``tests`` of the family.
    """

    family: str
    run: str
    score: str
    other_run: str
    other_score: str
    id: str
    ood: str
    metric: str
    difference: float
    low: float
    high: float
    test: str
    p: float
    p_holm: float = 1.0
    tests: int = 1

    @property
    def holds(self) -> bool:
        return self.p_holm <= LEVEL

    @property
    def better(self) -> bool:
        """The first is the better one, by value."""
        return (self.difference > 0) != (self.metric == "fpr95")


def between_scores(found: Sequence[Drawings]) -> list[Tested]:
    """Every two scores of a run. A run and ID set is a family: all pairs, since the best is picked after the fact."""
    tested: list[Tested] = []
    for one in found:
        for run in one.runs:
            for inside in dict.fromkeys(a for a, _ in one.pairs):
                pairs = [((run.name, a), (run.name, b)) for a, b in combinations(run.scores, 2)]
                tested += _family(f"scores of {run.name}, ID {inside}", one, inside, pairs)
    return tested


def between_runs(main: Run, runs: Sequence[Run], found: Sequence[Drawings]) -> list[Tested]:
    """Every run of ``runs`` less ``main``, score by score, where the two are of the same pictures and differ at all.

    All of them are one family for each ID set.
    """
    one = next((one for one in found if main in one.runs), None)
    if one is None:
        return []
    tested: list[Tested] = []
    for inside in dict.fromkeys(a for a, _ in one.pairs):
        pairs = [
            ((run.name, score), (main.name, score))
            for run in one.runs
            if run in runs and run is not main
            for score in run.scores
            if score in main.scores and one.place.get((run.name, score)) != one.place.get((main.name, score))
        ]
        tested += _family(f"runs against {main.name}, ID {inside}", one, inside, pairs)
    return tested


_Named = tuple[str, str]


def _family(name: str, one: Drawings, inside: str, pairs: Sequence[tuple[_Named, _Named]]) -> list[Tested]:
    oods = [b for a, b in one.pairs if a == inside]
    made = [
        tested
        for ours, theirs in pairs
        if ours in one.place and theirs in one.place
        for ood in [*oods, AVERAGE]
        for tested in _tests(name, one, ours, theirs, inside, ood)
    ]
    adjusted = holm([tested.p for tested in made])
    return [replace(t, p_holm=float(p), tests=len(made)) for t, p in zip(made, adjusted, strict=True)]


def _tests(name: str, one: Drawings, ours: _Named, theirs: _Named, inside: str, ood: str) -> Iterator[Tested]:
    """AUROC by DeLong where it can; averages and FPR95 by the drawings; nothing where there are none."""
    for metric in ("auroc", "fpr95"):
        place = (name, *ours, *theirs, inside, ood, metric)
        exact = one.delong(inside, ood) if (metric, ood == AVERAGE) == ("auroc", False) else None
        if exact is not None:
            gap = exact.difference(one.place[ours], one.place[theirs])
            if gap.error > 0 or gap.value == 0:
                yield Tested(*place, 100 * gap.value, 100 * gap.low, 100 * gap.high, "DeLong", gap.p)
                continue
        first, second = (one.of(*system, inside, ood, metric) for system in (ours, theirs))
        if first is not None and second is not None:
            drawn = difference(first, second)
            yield Tested(*place, drawn.value, drawn.low, drawn.high, "bootstrap", drawn.p)


def differences_csv(tested: Iterable[Tested], draws: int, streams: Mapping[tuple[str, str], str]) -> str:
    """A row a test: the first less the other in percentage points, and whether it holds.

    Args:
        streams: the scores of a stream, by run and score: those and static ones don't compare like with like.
    """
    columns = (
        "family", "run", "score", "other_run", "other_score", "id", "ood", "metric", "difference", "low", "high",
        "test", "draws", "p", "tests", "p_holm", "holds", "stream",
    )  # fmt: skip
    cells = (
        [
            t.family, t.run, t.score, t.other_run, t.other_score, t.id, t.ood, t.metric,
            *(f"{value:.4f}" for value in (t.difference, t.low, t.high)),
            t.test, draws if t.test == "bootstrap" else "", f"{t.p:.4g}", t.tests, f"{t.p_holm:.4g}",
            "yes" if t.holds else "no", _stream(t, streams),
        ]
        for t in tested
    )  # fmt: skip
    return write_csv(columns, cells)


def _stream(t: Tested, streams: Mapping[tuple[str, str], str]) -> str:
    """Which of the two is a score of a stream: ``first``, ``other``, ``both``, or empty."""
    first, other = (t.run, t.score) in streams, (t.other_run, t.other_score) in streams
    return "both" if first and other else "first" if first else "other" if other else ""
