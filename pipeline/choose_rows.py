"""Which rows of the stores are candidates here, and reading them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neglabel.corpora.dedupe import Mode
from neglabel.corpora.sample import Sample
from neglabel.corpora.uri import Location
from neglabel.indexes.cores import cores
from neglabel.pipeline import store
from neglabel.pipeline.candidates import TEXT_COLUMNS, Stores, text_groups, text_rows
from neglabel.pipeline.overlap import spread
from neglabel.pipeline.word_digests import Words, among, pos_digests, repeats, with_pos, word_digests

#: Parts of speech in ranking order; all others are the last.
GROUPS = ("noun", "adjective", "verb", "adverb", "")


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
    """As :func:`choose_for_each` for one set of ID labels."""
    return choose_for_each(stores, dedupe, [id_names], excluded, per_pos, sample, seed)[0]


def choose_for_each(
    stores: Stores,
    dedupe: Mode,
    id_names: Sequence[Sequence[str]],
    excluded: Sequence[str],
    per_pos: bool,
    sample: int | None = None,
    seed: int = 0,
    words: Callable[[int], Words] | None = None,
) -> list[Selection]:
    """The first pass, once for several sets of ID labels: text and part of speech only. A selection a set.

    Args:
        id_names: ID labels whose equals (normalised) are dropped; a set of them empty to keep them.
        excluded: words to drop, compared in the same way.
        per_pos: rank parts of speech apart: noun, adjective, verb, adverb, then unknown.
        sample: keep so many of what is left, drawn as ``encode --sample`` draws; None keeps all.
        seed: of that draw.
        words: how the words of a file (by number) are had, where not read from it.
    """
    drop = [word_digests(words) for words in (excluded, *id_names)]
    names = GROUPS if per_pos else ("",)
    codes = pos_digests(list(names))
    sizes = [store.open_parquet(path).metadata.num_rows for path in stores.files]
    # One finished store without duplicates has none to look for, so that its digests need not be held.
    unique = dedupe == "none" or stores.distinct == dedupe or (stores.distinct, dedupe) == ("text", "text+pos")
    held = np.empty((0 if unique else sum(sizes), 2), np.uint64)
    groups: list[NDArray[np.uint8]] = []
    dropped: list[list[NDArray[np.bool_]]] = []
    start = 0
    for number, found in spread(words or (lambda file: read_words(stores.files[file])), range(len(sizes)), cores()):
        group = np.full(len(found.pos), len(names) - 1, np.uint8)
        for code in range(len(names)):
            group[found.pos == codes[code]] = code
        groups.append(group)
        dropped.append([among(found.text, words) for words in drop])
        if not unique:
            own = with_pos(found.text, found.pos) if dedupe == "text+pos" else found.text
            held[start : start + sizes[number]] = own
        start += sizes[number]
    again = np.zeros(start, bool) if unique else repeats(held)
    del held
    duplicates = np.split(again, np.cumsum(sizes)[:-1])
    selections = []
    for which in range(1, len(drop)):
        selection = Selection(groups=groups, names=names)
        for duplicate, flags in zip(duplicates, dropped, strict=True):
            keep = ~(duplicate | flags[which] | flags[0])
            selection.keep.append(keep)
            counted = {
                "duplicates": duplicate, "id_names": flags[which] & ~duplicate,
                "excluded": flags[0] & ~flags[which] & ~duplicate, "candidates": keep,
            }  # fmt: skip
            selection.counts.update({reason: int(rows.sum()) for reason, rows in counted.items()})
        if sample is not None:
            _cut(selection, _drawn(stores, selection, Sample[_Row](sample, seed, dedupe)))
        selections.append(selection)
    return selections


def read_words(path: Location) -> Words:
    """The digests of a file's words and parts of speech."""
    texts, pos = [np.empty((0, 2), np.uint64)], [np.empty(0, np.uint64)]
    for table in text_groups(path, ("text", "pos")):
        texts.append(word_digests(table["text"].combine_chunks()))
        pos.append(pos_digests(table["pos"]))
    return Words(np.concatenate(texts), np.concatenate(pos))


def _drawn(stores: Stores, selection: Selection, drawn: Sample[_Row]) -> list[_Row]:
    for number, path in enumerate(stores.files):
        rows = np.flatnonzero(selection.keep[number])
        for some, table in text_rows(path, ("text", "pos"), rows):
            words = zip(some.tolist(), table["text"].to_pylist(), table["pos"].to_pylist(), strict=True)
            for row, text, pos in words:
                drawn.offer(_Row(text, pos, number, row))
    return drawn.result()


def _cut(selection: Selection, drawn: Sequence[_Row]) -> None:
    for keep in selection.keep:
        keep[:] = False
    for row in drawn:
        selection.keep[row.file][row.row] = True
    selection.counts["sampled"] = len(drawn)


def take_text(
    stores: Stores,
    selection: Selection,
    positions: NDArray[np.int64],
    known: Mapping[int, tuple[NDArray[np.int64], pa.Table]] | None = None,
) -> pa.Table:
    """:data:`TEXT_COLUMNS` of the rows at ``positions`` (of all files), in the order given.

    Args:
        known: of a file's number, rows (ascending) and their text, which is then not read from the file.
    """
    parts: list[pa.Table] = []
    found: list[NDArray[np.intp]] = []
    offset = 0
    for number, (path, keep) in enumerate(zip(stores.files, selection.keep, strict=True)):
        inside = np.flatnonzero((positions >= offset) & (positions < offset + len(keep)))
        rows = positions[inside] - offset
        offset += len(keep)
        if not len(inside):
            continue
        if known and number in known:
            there, table = known[number]
            parts.append(table.take(pa.array(np.searchsorted(there, rows))))
            found.append(inside)
            continue
        order = np.argsort(rows, kind="stable")
        for some, table in text_rows(path, TEXT_COLUMNS, rows[order]):
            parts.append(table)
            first = np.searchsorted(rows[order], some[0])
            found.append(inside[order[first : first + len(some)]])
    if not parts:
        return pa.table({name: pa.array([], pa.string()) for name in TEXT_COLUMNS})
    back = np.argsort(np.concatenate(found), kind="stable")
    return pa.concat_tables(parts).take(pa.array(back))
