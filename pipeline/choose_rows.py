"""Which rows of the stores are candidates here, and reading them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neglabel.corpora.dedupe import Deduplicator, Mode
from neglabel.corpora.sample import Sample
from neglabel.corpora.text import normalise
from neglabel.pipeline import store
from neglabel.pipeline.candidates import TEXT_COLUMNS, Stores, text_groups


@dataclass
class Selection:
    """Which rows of the stores are candidates here.

    Attributes:
        keep: a mask a file.
        groups: a group number a kept row where parts of speech are ranked apart, else all zero; a file each.
        names: the groups, in ranking order.
        counts: ``candidates``, ``duplicates``, ``id_names``, ``excluded``; ``sampled``, of the candidates those drawn,
            where a sample was asked for.
    """

    keep: list[NDArray[np.bool_]] = field(default_factory=list)
    groups: list[NDArray[np.uint8]] = field(default_factory=list)
    names: tuple[str, ...] = ("",)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """Rows that are ranked."""
        return self.counts["sampled" if "sampled" in self.counts else "candidates"]

    def size(self, group: int) -> int:
        """Candidates of a group."""
        return sum(int((mask & (numbers == group)).sum()) for mask, numbers in zip(self.keep, self.groups, strict=True))


class _Row(NamedTuple):
    """A candidate that may be drawn, and where it is."""

    text: str
    pos: str
    file: int
    row: int


def choose_rows(
    stores: Stores,
    dedupe: Mode,
    id_names: Sequence[str],
    excluded: Sequence[str],
    per_pos: bool,
    sample: int | None = None,
    seed: int = 0,
) -> Selection:
    """The first pass: text and part of speech only.

    Args:
        id_names: ID labels whose equals (normalised) are dropped; empty to keep them.
        excluded: words to drop, compared in the same way.
        per_pos: rank parts of speech apart: noun, adjective, verb, adverb, then unknown.
        sample: keep so many of what is left, drawn as ``encode --sample`` draws; None keeps all.
        seed: of that draw.
    """
    seen = Deduplicator(dedupe)
    ids, out = {normalise(name) for name in id_names}, {normalise(word) for word in excluded}
    selection = Selection(names=("noun", "adjective", "verb", "adverb", "") if per_pos else ("",))
    drawn = None if sample is None else Sample[_Row](sample, seed, dedupe)
    for number, path in enumerate(stores.files):
        rows = store.open_parquet(path).metadata.num_rows
        keep, group = np.zeros(rows, bool), np.zeros(rows, np.uint8)
        for row, (text, pos) in enumerate(_texts(path)):
            normal = normalise(text or "")
            reason = (
                "duplicates" if not seen.is_new(text or "", pos) else
                "id_names" if normal in ids else
                "excluded" if normal in out else
                "candidates"
            )  # fmt: skip
            selection.counts[reason] += 1
            keep[row] = reason == "candidates"
            if drawn is not None and keep[row]:
                drawn.offer(_Row(text or "", pos, number, row))
            if per_pos:
                group[row] = selection.names.index(pos if pos in selection.names else "")
        selection.keep.append(keep)
        selection.groups.append(group)
    if drawn is not None:
        _cut(selection, drawn.result())
    return selection


def _cut(selection: Selection, drawn: Sequence[_Row]) -> None:
    for keep in selection.keep:
        keep[:] = False
    for row in drawn:
        selection.keep[row.file][row.row] = True
    selection.counts["sampled"] = len(drawn)


def stream_rows(
    stores: Stores, selection: Selection
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.floating[Any]]]]:
    """The second pass: blocks of kept rows as (position in all files, group, embedding as stored)."""
    offset = 0
    for path, keep, group in zip(stores.files, selection.keep, selection.groups, strict=True):
        for block in store.stream(path):
            rows = slice(block.start, block.start + len(block.embedding))
            inside = np.flatnonzero(keep[rows])
            yield offset + block.start + inside, group[rows][inside], block.embedding[inside]
        offset += len(keep)


def take_text(stores: Stores, selection: Selection, positions: NDArray[np.int64]) -> pa.Table:
    """:data:`TEXT_COLUMNS` of the rows at ``positions`` (of all files), in the order given."""
    parts: list[pa.Table] = []
    found: list[NDArray[np.intp]] = []
    offset = 0
    for path, keep in zip(stores.files, selection.keep, strict=True):
        inside = np.flatnonzero((positions >= offset) & (positions < offset + len(keep)))
        if len(inside):
            rows = positions[inside] - offset
            # Row groups hold consecutive rows, so only those with a row that is wanted are read, one at a time.
            for start, table in text_groups(path, TEXT_COLUMNS, rows):
                here = np.flatnonzero((rows >= start) & (rows < start + table.num_rows))
                parts.append(table.take(pa.array(rows[here] - start)))
                found.append(inside[here])
        offset += len(keep)
    if not parts:
        return pa.table({name: pa.array([], pa.string()) for name in TEXT_COLUMNS})
    back = np.argsort(np.concatenate(found), kind="stable")
    return pa.concat_tables(parts).take(pa.array(back))


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    for _, table in text_groups(path, ("text", "pos")):
        yield from zip(table["text"].to_pylist(), table["pos"].to_pylist(), strict=True)
