"""The steps of a sweep's cells, each done once: words, negatives, scores, figures."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from neglabel.pipeline import files
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report import intervals, measure
from neglabel.pipeline.report.read import read_runs
from neglabel.pipeline.scores import SCORES
from neglabel.pipeline.sweep_keys import NEGATIVES, Keys
from neglabel.pipeline.sweep_plan import Planned
from neglabel.pipeline.sweep_steps import Steps, digest, key_of

#: A score at a temperature.
Tempered = tuple[str, float]
FIGURES = "figures.json"


@dataclass
class Result:
    """What became of a cell: ``rows`` by the score's name as asked, or why it ``failed``; ``note`` for people.

    ``folders``: of ``score``, by the score's name.
    """

    planned: Planned
    rows: Sequence[tuple[str, measure.Row]] = ()
    folders: Mapping[str, Path] = field(default_factory=dict)
    note: str = ""
    failed: str = ""


class Work:
    """Does steps in ``folder``/steps, unless they are done; those that failed are not tried again while it lives."""

    def __init__(self, folder: Path, reporter: Reporter) -> None:
        self.reporter, self.steps = reporter, Steps(folder / "steps")
        self.keys = Keys(self.steps)

    def encode(self, p: Planned) -> None:
        """Always through the stage, which checks the words against their corpus and goes on where it was."""
        from neglabel.pipeline.encode import encode

        out = self.keys.store(p)
        self.keys.once(self.keys.encode_key(p), lambda: encode(p.encode.model_copy(update={"out": out}), self.reporter))

    def mine(self, p: Planned) -> str:
        """Returns what is to be said of the negatives; empty where there are as many as asked for."""
        key = self.keys.mine_key(p)
        self.keys.once(key, lambda: self._mine(p, key))
        kept, asked = int(self.steps.facts(key)["kept"]), p.mine.top
        short = asked is not None and not p.mine.per_pos and kept < asked
        return f"{kept:,} of {asked:,} negative labels: no more candidates" if short else ""

    def _mine(self, p: Planned, key: str) -> None:
        from neglabel.pipeline.mine import mine

        drawn = "" if p.mine.random is None else f" random {p.mine.random}"
        folder = self.steps.place("mine", f"{p.mine.top or p.mine.top_share}{drawn}", key)
        if self._fresh(key, folder):
            out, store = folder / NEGATIVES, self.keys.store(p)
            summary = mine(p.mine.model_copy(update={"candidates": (store,), "out": out}), self.reporter)
            self.steps.finish("mine", key, folder, [out], {"kept": summary["counts"]["kept"]})

    def score(self, p: Planned, base: str, wanted: Iterable[Tempered]) -> None:
        """Make those of ``wanted`` that no finished step of this base has, in one step."""
        there = self.columns(base)
        if missing := [each for each in dict.fromkeys(wanted) if each not in there]:
            columns = _columns(missing)
            key = digest([base, columns])
            self.keys.once(key, lambda: self._score(p, base, key, columns))

    def columns(self, base: str) -> dict[Tempered, tuple[str, str]]:
        """Where scores of a base are: by score and temperature, the step's key and the column."""
        return {
            (str(name), float(t)): (key, column)
            for key in self.steps.of_base(base) if self.steps.done(key)
            for column, (name, t) in self.steps.facts(key)["columns"].items()
        }  # fmt: skip

    def _score(self, p: Planned, base: str, key: str, columns: Mapping[str, Tempered]) -> None:
        from neglabel.pipeline.score import score

        folder = self.steps.place("score", " ".join([*p.score.id, *columns]), key)
        if self._fresh(key, folder):
            mined = self.keys.mine_key(p)
            given = {column: t for column, (_, t) in columns.items() if SCORES[column].tempered}
            settings = p.score.model_copy(update={
                "negatives": self.steps.place("mine", "", mined) / NEGATIVES, "out": folder, "score": tuple(columns),
                "temperature": given, "groups": self.keys.groups(p),
            })  # fmt: skip
            score(settings, self.reporter)
            outputs = [*folder.glob("*.parquet"), folder / "manifest.json"]
            self.steps.finish("score", key, folder, outputs, {"base": base, "columns": columns})

    def figures(self, p: Planned, step: str) -> list[measure.Row]:
        """The figures of a ``score`` step, as this cell's report counts them; ``score`` of a row is its column."""
        r = p.report
        how = {"fpr": r.fpr, "bootstrap": r.bootstrap, "bootstrap_by": r.bootstrap_by, "seed": r.seed}
        # The manifest says how long it took, the negatives where they lie.
        read = {name: sha for name, sha in self.steps.outputs(step).items() if name.startswith("scores-")}
        key = key_of("measure", how, read)
        return self.keys.once(key, lambda: self._figures(p, step, key))

    def _figures(self, p: Planned, step: str, key: str) -> list[measure.Row]:
        r, scored = p.report, self.steps.place("score", "", step)
        folder = self.steps.place("measure", scored.name.removeprefix("score-"), key)
        if self._fresh(key, folder):
            runs = read_runs([scored])
            drawn = intervals.drawn(runs, r.fpr, r.bootstrap, r.bootstrap_by, r.seed, self.reporter)
            rows = intervals.with_intervals(measure.metric_rows(runs[0], r.fpr), drawn)
            value = {"format": "neglabel-figures", "version": files.VERSION, "rows": [asdict(row) for row in rows]}
            files.write_json(folder / FIGURES, value)
            self.steps.finish("measure", key, folder, [folder / FIGURES], {})
        found = files.read_json(folder / FIGURES, "neglabel-figures")["rows"]
        return [measure.Row(**row) for row in found]

    def _fresh(self, key: str, folder: Path) -> bool:
        """Whether the step is to be done; what is damaged of it is removed, what a killed one left is not."""
        if self.steps.done(key):
            return False
        if self.steps.known(key):
            shutil.rmtree(folder, ignore_errors=True)
        return True

    def result(self, p: Planned, base: str, note: str) -> Result:
        """The cell's figures, of steps that are done."""
        there, rows, folders = self.columns(base), list[tuple[str, measure.Row]](), dict[str, Path]()
        for name, tempered in p.scores.items():
            step, column = there[tempered]
            rows += [(name, row) for row in self.figures(p, step) if row.score == column]
            folders[name] = self.steps.place("score", "", step)
        return Result(p, rows, folders, note)


def _columns(wanted: Iterable[Tempered]) -> dict[str, Tempered]:
    """Names of columns: the score's own, and for a second temperature of it NAME@T."""
    columns: dict[str, Tempered] = {}
    for name, t in wanted:
        columns[f"{name}@{t!r}" if name in columns else name] = (name, t)
    return columns


def disk_full(error: BaseException | None) -> bool:
    """Whether the disk is the reason: all other steps would fail alike."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False
