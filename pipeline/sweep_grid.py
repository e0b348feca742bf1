"""A sweep's file → its cells, each a run file of its own. Pure: nothing is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from neglabel import UsageError
from neglabel.pipeline.config import EXCLUSIVE
from neglabel.pipeline.sweep_settings import Change, Point, SweepFile, spelled

#: The base of every file with ``--small``; paths are in the embedded world (``quickstart.unpack``).
WORLD = Change(
    set={
        "model": "emoji",
        "corpus": "wordnet:pos=n",
        "labels": "labels/animals.txt",
        "score.id": {"animals": "pictures/animals"},
        "score.ood": {"food": "pictures/food", "vehicles": "pictures/vehicles"},
        "encode.limit": 2_000,
        "report.bootstrap": 20,
        "report.cases": 0,
    },
    unset=("pretrained", "quickgelu", "score.bank", "score.images"),
)
_STAGE_OF = {"top": "mine", "sample": "encode"}
_EXCLUSIVE = {
    f"{_STAGE_OF[pair[0]]}.{one}": [f"{_STAGE_OF[pair[0]]}.{other}" for other in pair if other != one]
    for pair in EXCLUSIVE for one in pair
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One run: of ``row``, of axes' values ``at`` (by axis), one of its repeats.

    ``repeat``: what is repeated, as ``mine.random=3``; empty where nothing is. ``values``: by dotted key of a run file.
    """

    row: str
    at: Mapping[str, str]
    repeat: str
    values: Mapping[str, Any]

    @property
    def run(self) -> dict[str, Any]:
        """The values as a run file has them: a table a stage."""
        nested: dict[str, Any] = {}
        for key, value in self.values.items():
            stage, dot, option = key.partition(".")
            if dot:
                nested.setdefault(stage, {})[option] = value
            else:
                nested[key] = value
        return nested


def changed(values: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """``values`` without what is unset, and with what is set, each key replaced wholly.

    Of options that exclude each other, one that is set replaces the other, as on the command line.
    """
    gone = {*change.unset, *(other for key in change.set for other in _EXCLUSIVE.get(key, ()))}
    return {key: value for key, value in values.items() if key not in gone} | change.set


def cells(file: SweepFile, small: bool = False) -> list[Cell]:
    """The cells of a file: rows in order (the last axis changes fastest), each with its repeats in order.

    Raises:
        UsageError: two rows of one name; a baseline, or an axis, value or row of ``[small]``, that isn't there.
    """
    _check_small(file)
    base: Mapping[str, Any] = file.run
    axes, rows = [list(axis.values) for axis in file.axes], list(file.rows)
    if small:
        base = changed(changed(base, WORLD), Change(set=file.small.set, unset=file.small.unset))
        kept = file.small.values
        axes = [
            [point for point in axis.values if axis.name not in kept or point.name in kept[axis.name]]
            for axis in file.axes
        ]
        rows = [point for point in rows if not file.small.rows or point.name in file.small.rows]
    grid: Iterable[Sequence[Point]] = product(*axes) if axes else [(point,) for point in rows] or [()]
    found: list[Cell] = []
    seen: dict[str, None] = {}
    for points in grid:
        row = ", ".join(point.name for point in points if point.name) or file.title or file.path.stem
        if row in seen:
            raise UsageError(f"{file.path}: two rows are called {row!r}; give each a name of its own")
        seen[row] = None
        at = {axis.name: point.name for axis, point in zip(file.axes, points, strict=False)}
        values, repeats = base, dict[str, list[Any]]()
        for point in points:
            change = point.small if small and point.small is not None else point
            values = changed(values, change)
            repeats |= change.repeats
        for each in product(*repeats.values()):
            drawn = dict(zip(repeats, each, strict=True))
            name = ", ".join(f"{key}={spelled(value)}" for key, value in drawn.items())
            found.append(Cell(row, at, name, {**values, **drawn}))
    if file.baseline and not small and file.baseline not in seen:
        raise UsageError(f"{file.path}: baseline = {file.baseline!r} is no row; rows: {', '.join(seen)}")
    return found


def _check_small(file: SweepFile) -> None:
    points = {axis.name: [point.name for point in axis.values] for axis in file.axes}
    for axis, names in {**file.small.values, "": file.small.rows}.items():
        there = points.get(axis, []) if axis else [point.name for point in file.rows]
        for name in names:
            if name not in there:
                what = f"[small] values of {axis!r}" if axis else "[small] rows"
                raise UsageError(f"{file.path}: {what}: there is no {name!r}; there are: {', '.join(there) or 'none'}")


def only(found: Sequence[Cell], names: Sequence[str]) -> list[Cell]:
    """Cells whose row, or one of whose ``AXIS=VALUE``, is among ``names``; all of them where there are none."""
    if not names:
        return list(found)
    return [c for c in found if c.row in names or any(f"{a}={v}" in names for a, v in c.at.items())]
