"""Pictures of a table as Arrow columns: some hundred bytes a picture less than a Python object each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from neglabel.corpora.uri import is_uri
from neglabel.pipeline.images import HF, Item, known_label


class Columns(NamedTuple):
    """n pictures: ``id`` and ``path`` (strings, no nulls), ``label`` (strings or integers, null: unknown)."""

    id: pa.Array
    path: pa.Array
    label: pa.Array


class ItemColumns(Sequence[Item]):
    """The pictures of a table with, where known, ``id``, ``path`` and ``label``; an :class:`Item` is made when asked.

    Args:
        table: those columns; ``rows`` of them.
        folder: where a relative ``path`` is looked for first.
        start: number of the first row, which is the id of a picture without one.
    """

    def __init__(self, table: pa.Table, rows: int, folder: Path, start: int = 0) -> None:
        self._table, self._rows, self._folder, self._start = table, rows, folder, start

    def __len__(self) -> int:
        return self._rows

    @overload
    def __getitem__(self, at: int) -> Item: ...

    @overload
    def __getitem__(self, at: slice) -> ItemColumns: ...

    def __getitem__(self, at: int | slice) -> Item | ItemColumns:
        if isinstance(at, slice):
            start, stop, step = at.indices(self._rows)
            if step != 1:
                raise ValueError("only slices of consecutive pictures")
            n = max(0, stop - start)
            return ItemColumns(self._table.slice(start, n), n, self._folder, self._start + start)
        row = at + self._rows if at < 0 else at
        if not 0 <= row < self._rows:
            raise IndexError(at)
        columns = self[row : row + 1].columns()
        return Item(columns.id[0].as_py(), columns.path[0].as_py(), known_label(columns.label[0].as_py()))

    def columns(self) -> Columns:
        """All of these pictures, with paths as they open from anywhere."""
        there = set(self._table.column_names)
        ids = self._texts("id") if "id" in there else pa.nulls(self._rows, pa.string())
        if ids.null_count:
            numbers = pa.array(np.arange(self._start, self._start + self._rows))
            ids = pc.coalesce(ids, numbers.cast(pa.string()))
        paths = pc.fill_null(self._texts("path"), "") if "path" in there else pa.array([""] * self._rows, pa.string())
        labels = self._labels() if "label" in there else pa.nulls(self._rows, pa.string())
        return Columns(ids, self._open(paths), labels)

    def _array(self, name: str) -> pa.Array:
        column = self._table[name].combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column

    def _texts(self, name: str) -> pa.Array:
        array = self._array(name)
        if pa.types.is_string(array.type) or pa.types.is_large_string(array.type) or pa.types.is_integer(array.type):
            return array.cast(pa.string())
        return pa.array([None if value is None else str(value) for value in array.to_pylist()], pa.string())

    def _labels(self) -> pa.Array:
        array = self._array("label")
        if pa.types.is_integer(array.type):
            return pc.if_else(pc.less(array, pa.scalar(0, array.type)), pa.scalar(None, array.type), array)
        array = array.cast(pa.string())
        return pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)

    def _open(self, paths: pa.Array) -> pa.Array:
        """A relative path made absolute where a file is there: below the folder, then below the working directory."""
        settled = pc.or_(pc.equal(paths, ""), pc.or_(pc.starts_with(paths, HF), pc.starts_with(paths, os.sep)))
        settled = pc.or_(settled, pc.match_substring_regex(paths, r"^[A-Za-z][A-Za-z0-9+.-]+://"))
        if pc.all(settled).as_py() in (True, None):
            return paths
        return pa.array([opens(path, self._folder) for path in paths.to_pylist()], pa.string())


def opens(path: str, folder: Path) -> str:
    """``path`` made absolute where a file is there."""
    if not path or path.startswith(HF) or is_uri(path) or os.path.isabs(path):
        return path
    places = (folder / path, Path(path).absolute())
    return next((str(place) for place in places if os.path.exists(place)), path)


def taken(items: Sequence[Item], rows: Sequence[int]) -> Sequence[Item]:
    """The pictures at ``rows``; consecutive ones of a table without an object each."""
    if isinstance(items, ItemColumns) and isinstance(rows, range) and rows.step == 1:
        return items[rows.start : rows.stop]
    return [items[row] for row in rows]


def columns_of(items: Sequence[Item]) -> Columns:
    """The same columns of any pictures; a class index beside names is written as text."""
    if isinstance(items, ItemColumns):
        return items.columns()
    labels: list[Any] = [item.label for item in items]
    kind = pa.int64() if all(label is None or isinstance(label, int) for label in labels) else pa.string()
    if kind == pa.string():
        labels = [None if label is None else str(label) for label in labels]
    ids, paths = (pa.array([getattr(item, name) for item in items], pa.string()) for name in ("id", "path"))
    return Columns(ids, paths, pa.array(labels, kind))
