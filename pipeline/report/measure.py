"""Runs → metric rows, accuracies, and mined against random negatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from neglabel.pipeline import metrics
from neglabel.pipeline.report.read import DataSet, Run

#: The name of the row that averages over OOD sets.
AVERAGE = "average"
#: Percentage points that figures may differ by without differing: less shows in no table.
ROUNDING = 0.005
#: Standard deviations of the random draws beyond which a difference counts as larger than their spread.
SPREADS = 2.0


@dataclass(frozen=True)
class Row:
    """One line of ``metrics.csv``; percentages, None where the score has no evidence."""

    run: str
    score: str
    id: str
    ood: str
    n_id: int
    n_ood: int
    auroc: float | None
    fpr95: float | None
    aupr_id: float | None
    aupr_ood: float | None
    #: 95 % intervals: by pictures drawn again, and of AUROC by DeLong; None without draws, or for DeLong an average.
    auroc_low: float | None = None
    auroc_high: float | None = None
    fpr95_low: float | None = None
    fpr95_high: float | None = None
    auroc_delong_low: float | None = None
    auroc_delong_high: float | None = None


@dataclass(frozen=True)
class Accuracy:
    """One line of ``accuracy.csv``: ``n`` pictures whose true label is known, ``accuracy`` in percent."""

    run: str
    dataset: str
    n: int
    accuracy: float


@dataclass(frozen=True)
class Against:
    """A run beside the random draws, one metric of one score and OOD set; percentages."""

    run: str
    score: str
    id: str
    ood: str
    metric: str
    value: float
    mean: float
    #: Sample standard deviation; None for a single draw.
    deviation: float | None
    seeds: int

    @property
    def difference(self) -> float:
        return self.value - self.mean

    @property
    def verdict(self) -> str:
        if self.deviation is None:
            return "one draw: its spread is unknown"
        if abs(self.difference) <= max(SPREADS * self.deviation, ROUNDING):
            return "within the spread"
        better = (self.difference > 0) != (self.metric == "fpr95")
        return f"larger than the spread: {'better' if better else 'worse'} than random"


METRICS = ("auroc", "fpr95", "aupr_id", "aupr_ood")


def metric_rows(run: Run, convention: metrics.Convention) -> list[Row]:
    """A row per score, ID set and OOD set, and one ``average`` over the OOD sets of each ID set."""
    rows: list[Row] = []
    oods = [data for data in run.of_role("ood") if data.rows]
    for score in run.scores:
        for inside in run.of_role("id"):
            if inside.rows and oods:
                found = [_row(run, score, inside, ood, convention) for ood in oods]
                rows += [*found, _average(found)]
    return rows


def _row(run: Run, score: str, inside: DataSet, ood: DataSet, convention: metrics.Convention) -> Row:
    a, b = inside.logit(score), ood.logit(score)
    values: list[float | None] = [None] * 4
    if not (np.isnan(a).any() or np.isnan(b).any()):
        values = [
            100 * metrics.auroc(a, b),
            100 * metrics.fpr95(a, b, convention),
            100 * metrics.aupr(a, b, "id"),
            100 * metrics.aupr(a, b, "ood"),
        ]
    return Row(run.name, score, inside.name, ood.name, len(a), len(b), *values)


def _average(rows: Sequence[Row]) -> Row:
    first = rows[0]
    means = [mean([getattr(row, metric) for row in rows]) for metric in METRICS]
    return Row(first.run, first.score, first.id, AVERAGE, first.n_id, sum(row.n_ood for row in rows), *means)


def mean(values: Sequence[float | None]) -> float | None:
    """None where any is: an average over fewer sets is another quantity."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def accuracies(run: Run, warn: Callable[[str], None]) -> list[Accuracy]:
    """Zero-shot accuracy of every ID set with known labels; ``warn`` hears of labels that are not ID labels."""
    found = []
    for data in run.of_role("id"):
        true = data.texts("label")
        labelled = sum(bool(label.strip()) for label in true)
        known = sum(map(bool, metrics.known_labels(true, run.labels)))
        if strange := labelled - known:
            warn(
                f"{run.name}: {strange:,} of {labelled:,} labelled picture{'s' * (labelled != 1)} of {data.name} "
                f"{'has' if strange == 1 else 'have'} a label that is no ID label; "
                f"{'it is' if strange == 1 else 'they are'} not in the accuracy, "
                "since a class that is unknown can't be judged"
            )
        if known:
            value = metrics.accuracy(true, data.texts("predicted_label"), run.labels)
            found.append(Accuracy(run.name, data.name, known, 100 * value))
    return found


@dataclass(frozen=True)
class Suspects:
    """Of ``rows`` pictures of unknown kind, how many the threshold that accepts 95 % of ID pictures rejects."""

    dataset: str
    rows: int
    rejected: int


def suspects(run: Run) -> list[Suspects]:
    """Empty without ID pictures or evidence: there is no threshold then."""
    score = run.main_score
    inside = [data.logit(score) for data in run.of_role("id") if data.rows]
    if not inside or not run.has_evidence(score):
        return []
    cut = metrics.acceptance_threshold(np.concatenate(inside))
    unknown = [data for data in run.of_role("unknown") if data.rows]
    return [Suspects(data.name, data.rows, int(np.sum(data.logit(score) < cut))) for data in unknown]


def against_random(runs: Sequence[Run], rows: Sequence[Row]) -> list[Against]:
    """Every run with chosen negatives beside all runs with as many random ones, AUROC and FPR95.

    Scores that no choice of negatives changes (MCM, MSP) are left out.
    """
    count = {run.name: run.negatives.count for run in runs}
    draws = {run.name for run in runs if run.random}
    found = []
    for row in rows:
        if row.run in draws or not _depends(row.score, rows):
            continue
        same = [
            other
            for other in rows
            if other.run in draws
            and count[other.run] == count[row.run]
            and (other.score, other.id, other.ood) == (row.score, row.id, row.ood)
        ]
        for metric in ("auroc", "fpr95"):
            value, others = getattr(row, metric), [getattr(other, metric) for other in same]
            if not others or value is None or None in others:
                continue
            deviation = float(np.std(others, ddof=1)) if len(others) > 1 else None
            place = (row.run, row.score, row.id, row.ood, metric)
            found.append(Against(*place, value, float(np.mean(others)), deviation, len(others)))
    return found


def _depends(score: str, rows: Sequence[Row]) -> bool:
    """Whether runs differ in ``score`` by more than rounding (blocks of other sizes round otherwise)."""
    values: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row.score == score and row.auroc is not None:
            values.setdefault((row.id, row.ood), []).append(row.auroc)
    return score == "neglabel" or any(max(found) - min(found) > ROUNDING for found in values.values())
