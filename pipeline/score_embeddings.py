"""What ``score --keep-embeddings`` keeps beside the scores: the unit vectors that were compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from neglabel.corpora.uri import Location
from neglabel.pipeline import store
from neglabel.pipeline.files import replacing

LABELS = "labels.parquet"


def embeddings_file(folder: Location, name: str) -> Location:
    """Where the pictures of data set ``name`` are kept."""
    return folder / f"embeddings-{name}.parquet"


@contextmanager
def keeping(path: Location, dimension: int) -> Iterator[Kept]:
    """Collect a data set's picture embeddings, of D = ``dimension``, in ``path``: whole or not at all."""
    schema = pa.schema([pa.field("embedding", pa.list_(pa.float32(), dimension))])
    # Embeddings are noise to a dictionary or a compressor.
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(
            temporary, schema, use_dictionary=False, compression="none", write_page_checksum=True
        ) as writer,
    ):
        kept = Kept(writer)
        yield kept
        kept.finish()


class Kept:
    """Embeddings on their way into a file, in full row groups: the same file whatever blocks they come in."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._waiting: list[NDArray[np.float32]] = []
        self._rows = 0
        self._digest = hashlib.sha256()

    def add(self, embedding: NDArray[np.float32]) -> None:
        """Append (n, D) float32 unit vectors."""
        self._digest.update(np.ascontiguousarray(embedding, "<f4").tobytes())
        self._waiting.append(embedding)
        self._rows += len(embedding)
        while self._rows >= store.ROW_GROUP:
            self._write(store.ROW_GROUP)

    def finish(self) -> None:
        """Write what is left of less than a row group."""
        if self._rows:
            self._write(self._rows)

    def _write(self, rows: int) -> None:
        together = np.concatenate(self._waiting)
        column = store.embedding_array(together[:rows])
        self._writer.write_table(pa.table({"embedding": column}, schema=self._writer.schema), row_group_size=rows)
        self._waiting, self._rows = [together[rows:]], len(together) - rows

    @property
    def sha256(self) -> str:
        """Over the vectors added, row by row, as little-endian float32."""
        return self._digest.hexdigest()


def labels_table(names: Sequence[str], embedding: NDArray[np.float32]) -> pa.Table:
    """``labels.parquet``: ``text``, ``embedding`` (K, D), in class order."""
    return pa.table({"text": pa.array(names, pa.string()), "embedding": store.embedding_array(embedding)})


def with_embeddings(table: pa.Table, embedding: NDArray[np.float32], dimension: int) -> pa.Table:
    """``table`` of the negatives and their ``embedding`` (M, D) as its last column."""
    rows = embedding if len(embedding) else np.empty((0, dimension), np.float32)
    return table.append_column("embedding", store.embedding_array(rows))
