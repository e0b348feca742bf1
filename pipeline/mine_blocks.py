"""The rows of stores and arrays in blocks, through every label set's search at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neglabel import NeglabelError
from neglabel.corpora.uri import Location
from neglabel.indexes.cores import cores
from neglabel.indexes.cosines import as_float32, one_blas_thread
from neglabel.pipeline import store
from neglabel.pipeline.choose_rows import Selection
from neglabel.pipeline.overlap import ahead, spread
from neglabel.pipeline.search import Search

#: Row groups of more rows than this are read in pieces, one after the other, for the sake of memory.
_WHOLE = 4 * store.ROW_GROUP
#: Threads that decode Parquet: one keeps about two cores busy with products.
_READERS = 4


class Rows(NamedTuple):
    """Candidates of one file and what of them each search wants; ``last`` where the file ends with them."""

    file: int
    last: bool
    position: NDArray[np.int64]
    group: NDArray[np.uint8]
    embedding: NDArray[np.floating[Any]]
    wanted: Sequence[NDArray[np.bool_]]


def search_rows(blocks: Iterable[Rows], searches: Sequence[Search]) -> Iterator[tuple[Rows, list[NDArray[np.int64]]]]:
    """Put ``blocks`` through ``searches``, a block a thread; each comes back with its histograms, in order.

    A candidate is read, and made float32, once for all label sets. On a GPU there is one thread.

    Raises:
        ZeroLength: a row is zero or not finite.
    """
    on_gpu = any(search.index is not None and search.index.on_gpu for search in searches)
    step = min((search.products.block_rows for search in searches), default=1)

    def work(block: Rows) -> list[NDArray[np.int64]]:
        found = [np.zeros_like(search.histogram) for search in searches]
        for start in range(0, len(block.position), step):
            some = slice(start, start + step)
            rows, length = as_float32(block.embedding[some])
            if not (length > 0).all():
                raise ZeroLength(block.file)
            raw, position, group = block.embedding[some], block.position[some], block.group[some]
            for search, wanted, histogram in zip(searches, block.wanted, found, strict=True):
                these = wanted[some]
                if these.all():
                    histogram += search.offer(raw, rows, length, position, group)
                elif these.any():
                    histogram += search.offer(raw[these], rows[these], length[these], position[these], group[these])
        return found

    with one_blas_thread():
        yield from spread(work, ahead(blocks), 1 if on_gpu else cores())


class ZeroLength(Exception):
    """A row of the file numbered ``args[0]`` is zero or not finite."""


def read_rows(
    paths: Sequence[Location], selections: Sequence[Selection], missing: Sequence[Set[int]]
) -> Iterator[Rows]:
    """Rows that are a candidate of any selection, of the files (numbers in ``paths``) that it is missing.

    Row groups without such rows are not read. A file ends with a block marked so, even if it is empty.
    """
    offset = 0
    for number, path in enumerate(paths):
        none = np.zeros(len(selections[0].keep[number]), bool)
        group = selections[0].groups[number]
        keeps = [
            selection.keep[number] if number in files else none
            for selection, files in zip(selections, missing, strict=True)
        ]
        if any(number in files for files in missing):
            any_of = keeps[0] if len(keeps) == 1 else np.logical_or.reduce(keeps)
            for start, embedding in _embeddings(path, any_of):
                rows = slice(start, start + len(embedding))
                inside = np.flatnonzero(any_of[rows])
                if len(inside) < len(embedding):
                    # What is dropped must be whole as well: a damaged file is no good source of the rest.
                    if not _whole(embedding[~any_of[rows]]):
                        refuse(path)
                    embedding = embedding[inside]
                yield Rows(number, False, offset + start + inside, group[rows][inside], embedding,
                           [keep[rows][inside] for keep in keeps])  # fmt: skip
            yield Rows(number, True, np.empty(0, np.int64), group[:0], np.empty((0, 1)), [none[:0]] * len(keeps))
        offset += len(none)


def _embeddings(path: Location, keep: NDArray[np.bool_]) -> Iterator[tuple[int, NDArray[np.floating[Any]]]]:
    """Blocks of ``path`` as (first row, (n, D) as stored); lengths are checked later, when they are known anyway."""
    store.require_columns(path, ["embedding"])
    file = store.open_parquet(path)
    kind = file.schema_arrow.field("embedding").type
    sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    if max(sizes, default=0) > _WHOLE or not (
        pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type)
    ):
        yield from ((block.start, block.embedding) for block in store.stream(path))
        return
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int).tolist()
    used = [n for n in range(len(sizes)) if keep[starts[n] : starts[n + 1]].any()]
    # A reader a thread: they are not made to be shared.
    for number, embedding in spread(lambda n: _row_group(path, n), used, min(cores(), _READERS)):
        yield starts[number], embedding


def _whole(rows: NDArray[np.floating[Any]]) -> bool:
    return bool((as_float32(rows)[1] > 0).all())


def _row_group(path: Location, number: int) -> NDArray[np.floating[Any]]:
    with store.reading(path):
        column = store.open_parquet(path).read_row_group(number, ["embedding"], use_threads=False).column(0)
        if column.null_count:
            refuse(path)
        chunks = [np.asarray(chunk.flatten()).reshape(len(chunk), -1) for chunk in column.chunks]
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)


def refuse(path: Location) -> NoReturn:
    """Read ``path`` as slowly as is needed to say which row is wrong. Raises NeglabelError."""
    for _ in store.stream(path):
        pass
    raise NeglabelError(f"{path}: an embedding can't be normalised; leave that row out")
