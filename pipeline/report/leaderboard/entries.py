"""Folders of ``report`` and of ``score`` → figures, each with what it may be compared with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from neglabel import UsageError
from neglabel.corpora.uri import resolved
from neglabel.pipeline.leaderboard_settings import LeaderboardSettings
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report.leaderboard.folders import Made, kind_of, measured, needs, reported
from neglabel.pipeline.report.measure import AVERAGE, Row
from neglabel.pipeline.report.read import folder_names


@dataclass(frozen=True)
class Entry:
    """One figure. Only figures of equal ``peers`` may be compared: ID set, its number of labels, model, convention of
    FPR95, OOD sets, in words."""

    row: Row
    made: Made
    peers: tuple[str, str, str, str, str]

    @property
    def needs(self) -> tuple[str, ...]:
        return needs(self.row.score, self.row.score in self.made.streams)

    @property
    def stream(self) -> bool:
        return "stream" in self.needs


#: What each of ``peers`` is.
PEERS = ("ID set", "number of labels", "model", "convention of FPR95", "OOD sets")


def read_entries(settings: LeaderboardSettings, reporter: Reporter) -> tuple[list[Entry], list[str]]:
    """All figures of ``settings.runs`` in their order, and sentences on runs that were given twice.

    Raises:
        UsageError: no folder, one that is neither ``report``'s nor ``score``'s output or is given twice, no figure.
        NeglabelError: something in it is damaged.
    """
    folders = settings.runs
    if not folders:
        raise UsageError("leaderboard needs at least one folder of `report` or `score`")
    for folder in folders:
        if [resolved(f) for f in folders].count(resolved(folder)) > 1:
            raise UsageError(f"{folder} is given twice; name each folder once")
    kinds = {folder: kind_of(folder) for folder in folders}
    scored = [folder for folder in folders if kinds[folder] == "neglabel-scores"]
    figures = measured(scored, settings, reporter) if scored else {}
    parts = [figures[f] if f in figures else reported(f) for f in folders]
    names = folder_names([resolved(folder) for folder in folders])
    return _apart([(name, *part) for name, part in zip(names, parts, strict=True)])


def _apart(parts: Iterable[tuple[str, list[Row], dict[str, Made]]]) -> tuple[list[Entry], list[str]]:
    """Entries with names of runs that tell them apart; of a run that several reports have, the first one's."""
    kept: list[tuple[Row, Made]] = []
    owner: dict[tuple[str, str], str] = {}
    names: dict[str, str] = {}
    notes = []
    for source, rows, made in parts:
        fresh: dict[str, Made] = {}
        for name, one in made.items():
            first = owner.setdefault((one.folder, one.convention), source)
            if first != source:
                notes.append(f"{name} of {source} is in {first} as well and stands on the page once")
                continue
            shown = name
            while names.setdefault(shown, one.folder + one.convention) != one.folder + one.convention:
                shown = f"{source}/{name}" if shown == name else shown + "′"
            fresh[name] = replace(one, run=shown)
        kept += [(replace(row, run=fresh[row.run].run), fresh[row.run]) for row in rows if row.run in fresh]
    if not kept:
        raise UsageError("no figure in these folders: metrics need pictures named with --id and with --ood")
    shown_as = _model_names(made for _, made in kept)
    kept = [(row, replace(made, shown=shown_as[made.model])) for row, made in kept]
    oods: dict[tuple[str, str, str], list[str]] = {}
    for row, _ in kept:
        if row.ood != AVERAGE:
            oods.setdefault((row.run, row.score, row.id), []).append(_set(row.ood, row.n_ood))
    return [Entry(row, made, _peers(row, made, oods)) for row, made in kept], notes


def _peers(
    row: Row, made: Made, oods: Mapping[tuple[str, str, str], Sequence[str]]
) -> tuple[str, str, str, str, str]:
    # An average over other sets is another quantity.
    sets = [_set(row.ood, row.n_ood)] if row.ood != AVERAGE else sorted(oods.get((row.run, row.score, row.id), []))
    return (_set(row.id, row.n_id), f"{made.labels:,}", made.shown, made.convention, ", ".join(sets))


def _set(name: str, count: int) -> str:
    return f"{name} ({count:,})"


def _model_names(made: Iterable[Made]) -> dict[str, str]:
    """By model a name; models of one name are told apart by the start of their checksum."""
    shown: dict[str, str] = {}
    for one in made:
        shown.setdefault(one.model, one.shown)
    names = list(shown.values())
    return {model: name if names.count(name) == 1 else f"{name} · {model[:8]}" for model, name in shown.items()}
