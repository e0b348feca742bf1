"""Everything that the comparison page shows, as plain objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neglabel import NeglabelError
from neglabel.pipeline.bootstrap import Difference, difference, draws
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report.compare import activation, equal, fair, hurting, makeup, overlap
from neglabel.pipeline.report.compare.kept import Kept, has_kept, read_kept
from neglabel.pipeline.report.compare.published import Published, published_of
from neglabel.pipeline.report.measure import AVERAGE
from neglabel.pipeline.report.read import Run
from neglabel.pipeline.settings import ReportSettings

#: Words shown of what a source alone contributes, per OOD set.
WORDS = 8


@dataclass(frozen=True)
class Cell:
    """A run on one pair of an ID and an OOD set, or on ``average``; percentages; differences to the best run."""

    id: str
    ood: str
    n_id: int
    n_ood: int
    auroc: float
    fpr95: float
    auroc_difference: Difference
    fpr95_difference: Difference


@dataclass(frozen=True)
class Line:
    """A run: ``cells`` (pairs, and the average last), and how much of the softmax its negatives take, in percent."""

    run: Run
    cells: tuple[Cell, ...]
    published: Published | None
    on_id: float | None
    on_ood: float | None
    #: Median distance d of the negatives; None where unknown.
    distance: float | None

    @property
    def average(self) -> Cell:
        return self.cells[-1]


@dataclass(frozen=True)
class Word:
    """A word with its mean share, in percent, over a data set and over the ID pictures."""

    text: str
    share: float
    on_id: float


@dataclass(frozen=True)
class Own:
    """What a run has that no other has: how many negatives, the share they take together by data set, the words."""

    run: str
    count: int
    negatives: int
    #: A union's parts have its words.
    union: bool
    shares: dict[str, float]
    words: dict[str, tuple[Word, ...]]


@dataclass(frozen=True)
class Comparison:
    """Runs, best first; parts that need kept embeddings are empty where ``lacking`` names runs without them."""

    score: str
    lines: tuple[Line, ...]
    makeups: tuple[makeup.Makeup, ...]
    overlaps: tuple[overlap.Overlap, ...]
    owns: tuple[Own, ...]
    studies: tuple[hurting.Study, ...]
    unstudied: tuple[str, ...]
    lacking: tuple[str, ...]
    left_out: tuple[str, ...]
    candidates: int

    @property
    def runs(self) -> list[Run]:
        return [line.run for line in self.lines]


def gather(every: Sequence[Run], settings: ReportSettings, reporter: Reporter) -> Comparison:
    """Compare the runs whose negatives are not random.

    Raises:
        UsageError: they differ in more than their words (:mod:`fair`).
        NeglabelError: kept embeddings that are damaged or of other scores.
    """
    runs = [run for run in every if not run.random]
    score = fair.fair(runs)
    fair.fair_where_known(runs)
    for run in runs:
        if not run.has_evidence(score):
            raise NeglabelError(f"--compare: {run.name} has no evidence for {score}; run `score` again")
    lines = _lines(runs, score, settings, reporter)
    runs = [line.run for line in lines]
    lacking = tuple(run.name for run in runs if not has_kept(run))
    kept = None if lacking else [read_kept(run) for run in runs]
    reporter.say("compare: kinds of words and overlap")
    found = overlap.shared(runs, kept)
    own = overlap.own(runs, found)
    studies: list[hurting.Study] = []
    for one in kept or ():
        study = hurting.study(
            one, score, settings.hurting, settings.seed, settings.fpr, settings.bootstrap, reporter
        )
        studies += [study] if study else []
    studied = {study.run for study in studies}
    return Comparison(
        score, lines, tuple(map(makeup.makeup, runs)), tuple(overlap.overlaps(found)),
        tuple(_owns(kept, own, reporter)) if kept else (), tuple(studies),
        tuple(run.name for run in runs if kept and run.name not in studied), lacking,
        tuple(run.name for run in every if run.random), equal.considered(runs[0]),
    )  # fmt: skip


def _lines(runs: Sequence[Run], score: str, settings: ReportSettings, reporter: Reporter) -> tuple[Line, ...]:
    """Best average AUROC first; every difference is to that run."""
    first = runs[0]
    pairs = [(a, b) for a in first.of_role("id") for b in first.of_role("ood") if a.rows and b.rows]
    reporter.say(f"compare: {len(runs)} sources, {settings.bootstrap} draws of the pictures")
    systems = [{data.name: data.logit(score) for data in run.sets if data.rows} for run in runs]
    figures = draws(systems, [(a.name, b.name) for a, b in pairs], settings.fpr, settings.bootstrap, settings.seed)
    average = figures.mean(axis=2, keepdims=True)
    every = np.concatenate([figures, average], axis=2)
    order = sorted(range(len(runs)), key=lambda i: (-average[0, i, 0, 0], average[0, i, 0, 1]))
    best = order[0]
    places = [(a.name, b.name, a.rows, b.rows) for a, b in pairs]
    ids, oods = {a.name: a.rows for a, _ in pairs}, {b.name: b.rows for _, b in pairs}
    places.append((next(iter(ids)) if len(ids) == 1 else AVERAGE, AVERAGE, sum(ids.values()), sum(oods.values())))
    lines = []
    for i in order:
        cells = [
            Cell(
                *place, float(every[0, i, j, 0]), float(every[0, i, j, 1]),
                difference(every[:, i, j, 0], every[:, best, j, 0]),
                difference(every[:, i, j, 1], every[:, best, j, 1]),
            )
            for j, place in enumerate(places)
        ]  # fmt: skip
        taken = {role: _taken(runs[i], role) for role in ("id", "ood")}
        lines.append(
            Line(runs[i], tuple(cells), published_of(runs[i]), taken["id"], taken["ood"], _distance(runs[i]))
        )
    return tuple(lines)


def _taken(run: Run, role: str) -> float | None:
    """Mean share, in percent, that the negatives take of the pictures' softmax: the mean over data sets."""
    means = [
        float(np.mean(np.asarray(data.table.column("id_share").to_numpy(), np.float64)))
        for data in run.of_role(role)
        if data.rows
    ]
    value = 100 * (1 - float(np.mean(means)))
    return None if np.isnan(value) else value


def _distance(run: Run) -> float | None:
    known = [d for d in run.negatives.column("distance") or [] if d is not None]
    return float(np.median(known)) if known else None


def _owns(kept: Sequence[Kept], alone: dict[str, NDArray[np.bool_]], reporter: Reporter) -> list[Own]:
    """Shares are of one softmax that all runs share: the ID labels and every run's words, each once."""
    runs = [one.run for one in kept]
    words = activation.pool(kept)
    sets = [data for data in runs[0].sets if data.role in ("id", "ood") and data.rows]
    shares = {data.name: activation.mean_shares(kept[0], data, words.embedding, reporter) for data in sets}
    inside = np.mean([shares[data.name] for data in sets if data.role == "id"], axis=0)
    found = []
    for one in kept:
        name = one.run.name
        # By column of the pool, the first of the run's rows that is this word and is its own.
        columns, rows = np.unique(words.places[name][alone[name]], return_index=True)
        mine = np.flatnonzero(alone[name])[rows]
        totals = {data.name: 100 * float(shares[data.name][columns].sum()) for data in sets}
        top: dict[str, tuple[Word, ...]] = {}
        for data in sets:
            if data.role == "ood":
                share = shares[data.name][columns]
                best = np.argsort(-share, kind="stable")[:WORDS]
                top[data.name] = tuple(
                    Word(one.words[mine[i]], 100 * float(share[i]), 100 * float(inside[columns[i]])) for i in best
                )
        union = any(overlap.is_union_of(one.run, other) for other in runs)
        found.append(Own(name, int(alone[name].sum()), len(one.words), union, totals, top))
    return found
