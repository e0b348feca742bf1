"""Entries → lines of a table, groups of figures that may be compared, ``leaderboard.csv``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from neglabel.pipeline.report.leaderboard.entries import PEERS, Entry
from neglabel.pipeline.report.leaderboard.folders import NEEDS
from neglabel.pipeline.report.measure import AVERAGE
from neglabel.pipeline.report.tables import COLUMNS, write_csv

#: Keys of :data:`.entries.PEERS` in files.
FACTS = ("id", "labels", "model", "fpr95_convention", "ood")
Peers = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Line:
    """A method of a run on an ID set: ``figures`` by OOD set, and ``groups``: where each stands in the board's."""

    first: Entry
    figures: Mapping[str, Entry]
    groups: Mapping[str, int]

    @property
    def tags(self) -> list[str]:
        """What a reader must know before comparing."""
        protocol = self.first.made.streams.get(self.first.row.score, "")
        stream = [f"stream: {protocol}" if protocol else "stream"] if self.first.stream else []
        return stream + (["random negatives"] if self.first.made.random and "negatives" in self.first.needs else [])


@dataclass(frozen=True)
class Board:
    """``lines`` in order of reading, ``oods`` with ``average`` first, ``groups``: what figures must share, in words."""

    lines: list[Line]
    oods: list[str]
    groups: list[Peers]
    models: list[str]
    needs: list[str]


def board(entries: Sequence[Entry]) -> Board:
    groups: dict[Peers, int] = {}
    lines: dict[tuple[str, str, str], dict[str, Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.peers, len(groups))
        lines.setdefault((entry.row.run, entry.row.score, entry.row.id), {})[entry.row.ood] = entry
    oods = dict.fromkeys(entry.row.ood for entry in entries)
    used = {need for entry in entries for need in entry.needs}
    return Board(
        [Line(next(iter(f.values())), f, {o: groups[e.peers] for o, e in f.items()}) for f in lines.values()],
        [AVERAGE, *(ood for ood in oods if ood != AVERAGE)],
        list(groups),
        list(dict.fromkeys(entry.made.shown for entry in entries)),
        [need for need in NEEDS if need in used],
    )


def groups_of(found: Board, ood: str) -> list[Peers]:
    """Groups of one OOD set's figures, in order of reading."""
    return [found.groups[g] for g in dict.fromkeys(line.groups[ood] for line in found.lines if ood in line.groups)]


def apart(groups: Sequence[Peers]) -> str:
    """A sentence on what keeps groups apart; empty for one group."""
    differ = [name for place, name in enumerate(PEERS) if len({group[place] for group in groups}) > 1]
    if not differ:
        return ""
    listed = differ[0] if len(differ) == 1 else f"{', '.join(differ[:-1])} and {differ[-1]}"
    return f"{len(groups)} groups of runs that can't be compared with each other: they differ in {listed}"


def leaderboard_csv(entries: Iterable[Entry], found: Board) -> str:
    """A row a figure as in ``metrics.csv``, and what it may be compared with; rows of one ``group`` may be."""
    index = {group: number for number, group in enumerate(found.groups, 1)}
    more = ("fpr95_convention", "group", "needs", "stream", "model", "labels", "negatives", "random", "folder")
    cells = []
    for entry in entries:
        figures = [getattr(entry.row, column) for column in COLUMNS]
        cells.append([
            *("" if v is None else f"{v:.4f}" if isinstance(v, float) else v for v in figures),
            entry.made.convention, index[entry.peers], " ".join(entry.needs), "yes" if entry.stream else "",
            entry.made.shown, entry.made.labels, entry.made.negatives, "yes" if entry.made.random else "",
            entry.made.folder,
        ])  # fmt: skip
    return write_csv((*COLUMNS, *more), cells)


def ordered(found: Board, ood: str) -> list[tuple[Peers, list[Line]]]:
    """The page before anybody sorts: groups in order of reading, in each the highest AUROC first."""
    parts = []
    for group in groups_of(found, ood):
        lines = [line for line in found.lines if ood in line.groups and found.groups[line.groups[ood]] == group]
        lines.sort(key=lambda line: -(a if (a := line.figures[ood].row.auroc) is not None else -1.0))
        parts.append((group, lines))
    return parts
