"""``report --coverage``: OOD classes without a close negative, risk-coverage curves, near and far OOD."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.pipeline import coverage, metrics
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report import coverage_section
from neglabel.pipeline.report.compare.kept import Kept
from neglabel.pipeline.report.kept_runs import Part, kept_runs
from neglabel.pipeline.report.read import DataSet, Run
from neglabel.pipeline.report.tables import write_csv

Bools = NDArray[np.bool_]
#: Points of a risk-coverage curve that a file holds.
POINTS = 100


@dataclass(frozen=True)
class Class:
    """A line of ``coverage.csv``: a class of a data set, or the whole set where it has no classes (``name`` empty).
    ``share``: percent of its pictures whose best word is a negative."""

    run: str
    dataset: str
    role: str
    name: str
    n: int
    negative: str
    negative_cosine: float
    label: str
    label_cosine: float
    margin: float
    share: float


@dataclass(frozen=True)
class Half:
    """A line of ``near-far.csv``: one score against the near or the far part of an OOD set; percentages."""

    run: str
    score: str
    id: str
    ood: str
    part: str
    by: str
    n_id: int
    n_ood: int
    similarity: float
    auroc: float
    fpr95: float


@dataclass(frozen=True)
class Risk:
    """A risk-coverage curve of one score: ``coverage``, ``risk`` in percent; ``n_id`` counts those with a known label;
    ``aurc`` and ``least`` (of the best possible order) in percent."""

    run: str
    score: str
    id: str
    ood: str
    n_id: int
    n_ood: int
    aurc: float
    least: float
    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]


def coverage_part(runs: Sequence[Run], convention: metrics.Convention, reporter: Reporter) -> Part:
    """Every run that kept embeddings; the page shows the first. Errors as :func:`.kept_runs.kept_runs`."""
    classes: list[Class] = []
    halves: list[Half] = []
    risks: list[Risk] = []
    kept = kept_runs(runs, "--coverage")
    for one in kept:
        reporter.say(f"report: coverage of {one.run.name}")
        near: dict[str, tuple[Bools, str, NDArray[np.float64]]] = {}
        for data in (d for d in one.run.sets if d.rows and d.role != "unknown"):
            found, which = _classes(one, data)
            classes += found
            if data.role == "ood":
                near[data.name] = _near(one, data, found, which)
        halves += _halves(one.run, near, convention)
        risks += _risks(one.run)
    classes = ordered(classes)
    names = [field.name for field in fields(Class)]
    heads = {"name": "class", "negative": "nearest_negative", "label": "nearest_label", "share": "negative_share"}
    files = {
        "coverage.csv": _csv([heads.get(name, name) for name in names], classes),
        "near-far.csv": _csv([field.name for field in fields(Half)], halves),
        "risk-coverage.csv": write_csv(
            ("run", "score", "id", "ood", "n_id", "n_ood", "coverage", "risk", "aurc", "least_aurc"),
            ([r.run, r.score, r.id, r.ood, r.n_id, r.n_ood, *(f"{v:.4f}" for v in (c, e, r.aurc, r.least))]
             for r in risks for c, e in zip(r.coverage, r.risk, strict=True)),
        ),
    }  # fmt: skip
    run = kept[0].run
    shown = [c for c in classes if c.run == run.name]
    section = coverage_section.render(
        run, shown, [h for h in halves if h.run == run.name], [r for r in risks if r.run == run.name]
    )
    return Part("coverage", "Coverage", files, section, _notes(run, shown))


def ordered(found: Iterable[Class]) -> list[Class]:
    """OOD before ID, and what has no close negative first: by margin."""
    return sorted(found, key=lambda c: (c.run, c.role != "ood", c.margin, c.dataset, c.name))


def _csv(heads: Sequence[str], lines: Iterable[Any]) -> str:
    return write_csv(heads, ([f"{v:.4f}" if isinstance(v, float) else v for v in astuple(line)] for line in lines))


def _classes(kept: Kept, data: DataSet) -> tuple[list[Class], NDArray[np.int64]]:
    """By class (unlabelled pictures are one, named by nothing), and each picture's class."""
    names, which = np.unique([label.strip() for label in data.texts("label")], return_inverse=True)
    found = coverage.nearest(
        kept.pictures(data, len(kept.labels) + len(kept.negatives)), which, len(names), kept.labels, kept.negatives
    )
    words, labels = kept.words, kept.run.labels
    made = [
        Class(
            kept.run.name, data.name, data.role, str(name), int(found.n[i]), words[found.negative[i]],
            float(found.negative_cosine[i]), labels[found.label[i]], float(found.label_cosine[i]),
            float(found.margin[i]), 100 * float(found.share[i]),
        )
        for i, name in enumerate(names)
    ]  # fmt: skip
    return made, which


def _near(
    kept: Kept, data: DataSet, found: Sequence[Class], which: NDArray[np.int64]
) -> tuple[Bools, str, NDArray[np.float64]]:
    """Which pictures are near, what was split (``class``, or ``picture`` where there are no classes), and the
    similarity of each picture's class, or its own, to the nearest ID label."""
    if len(found) > 1:
        similarity = np.asarray([c.label_cosine for c in found])
        return coverage.near_half(similarity, [c.n for c in found])[which], "class", similarity[which]
    blocks = kept.pictures(data, len(kept.labels))
    own = np.concatenate([(block @ kept.labels.T).max(axis=1) for _, block in blocks]).astype(np.float64)
    return coverage.near_half(own, np.ones(len(own), np.int64)), "picture", own


def _halves(
    run: Run, near: dict[str, tuple[Bools, str, NDArray[np.float64]]], convention: metrics.Convention
) -> list[Half]:
    made = []
    for score in (s for s in run.scores if run.has_evidence(s)):
        for inside, ood in _pairs(run):
            mask, by, similarity = near[ood.name]
            a, b = inside.logit(score), ood.logit(score)
            for part, chosen in (("near", mask), ("far", ~mask)):
                if chosen.any():
                    auroc, fpr95 = metrics.auroc(a, b[chosen]), metrics.fpr95(a, b[chosen], convention)
                    figures = (float(similarity[chosen].mean()), 100 * auroc, 100 * fpr95)
                    names = (run.name, score, inside.name, ood.name, part, by)
                    made.append(Half(*names, len(a), int(chosen.sum()), *figures))
    return made


def _pairs(run: Run) -> list[tuple[DataSet, DataSet]]:
    return [(a, b) for a in run.of_role("id") if a.rows for b in run.of_role("ood") if b.rows]


def _risks(run: Run) -> list[Risk]:
    made = []
    for inside, ood in _pairs(run):
        true, predicted = (
            np.asarray(metrics.known_labels(inside.texts(column), run.labels))
            for column in ("label", "predicted_label")
        )
        known = true != ""
        if not known.any():
            continue
        wrong = np.concatenate([(true != predicted)[known], np.ones(ood.rows, np.bool_)])
        for score in (s for s in run.scores if run.has_evidence(s)):
            logits = np.concatenate([inside.logit(score)[known], ood.logit(score)])
            covered, risk = coverage.risk_coverage(logits, wrong)
            at = np.unique(np.ceil(np.linspace(0, 1, POINTS + 1)[1:] * len(risk)).astype(int)) - 1
            made.append(Risk(
                run.name, score, inside.name, ood.name, int(known.sum()), ood.rows, 100 * float(risk.mean()),
                100 * coverage.aurc(-wrong.astype(float), wrong), 100 * covered[at], 100 * risk[at],
            ))  # fmt: skip
    return made


def _notes(run: Run, found: Sequence[Class]) -> list[str]:
    ours = [c for c in found if c.role == "ood"]
    bare = [c for c in ours if c.margin < 0]
    if not bare:
        return []
    first = ", ".join(c.name or c.dataset for c in bare[:3])
    return [
        f"{run.name}: {len(bare):,} of {len(ours):,} OOD class{'es' * (len(ours) != 1)} "
        f"{'have' if len(bare) != 1 else 'has'} no negative as close as an ID label, {first}{' …' * (len(bare) > 3)}"
    ]
