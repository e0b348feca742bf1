"""The second pass over one file of candidates alone: what is asked of it, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neglabel.corpora.uri import Location
from neglabel.pipeline.candidates import Stores
from neglabel.pipeline.choose_rows import Selection, take_text
from neglabel.pipeline.mine_blocks import ZeroLength, read_rows, refuse, search_rows
from neglabel.pipeline.mine_work import Record
from neglabel.pipeline.search import Search
from neglabel.pipeline.topm import TopM


class FileTask(NamedTuple):
    """A file to be mined for some label sets (by number): of each its mask, groups and lots; the bounds so far."""

    number: int
    path: Location
    selections: dict[int, tuple[NDArray[np.bool_], NDArray[np.uint8], NDArray[np.int64] | None]]
    bounds: dict[int, list[float]]


#: Files to be mined → their numbers and a record a label set, in any order.
SpreadFiles = Callable[[Iterator[FileTask]], Iterator[tuple[int, dict[int, Record]]]]


def tops(search: Search) -> tuple[TopM, ...]:
    """Of a search: the best of each group, and the nearest."""
    return (*search.best, search.near)


def record_of(
    stores: Stores, selection: Selection, search: Search, start: int, end: int, histogram: NDArray[np.int64]
) -> Record:
    """What ``search`` holds of the file at positions from ``start`` to ``end``, which is done."""
    held, bounds = search.held(start, end)
    for rows in held:
        if rows:
            rows["row"] = rows.pop("position") - start
    wanted = np.unique(np.concatenate([np.empty(0, np.int64), *(rows["row"] for rows in held if rows)]))
    return Record(held, bounds, histogram, (wanted, take_text(stores, selection, wanted + start)))


def mine_file(
    path: Location, dimension: int, keep: NDArray[np.bool_], group: NDArray[np.uint8], search: Search
) -> Record:
    """One file alone through ``search``, which is new: as a pass over many does it, and what ``--work`` keeps of it.

    Raises:
        NeglabelError: a row is zero or not finite.
    """
    stores, selection = Stores((path,), dimension), Selection(keep=[keep], groups=[group])
    try:
        for _ in search_rows(read_rows([path], [selection], [{0}]), [search]):
            pass
    except ZeroLength:
        refuse(path)
    return record_of(stores, selection, search, 0, len(keep), search.histogram)
