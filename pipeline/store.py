"""Parquet tables with embeddings: written whole, streamed in blocks of unit vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from neglabel import NeglabelError, UsageError
from neglabel.corpora.uri import Location
from neglabel.pipeline.files import replacing
from neglabel.pipeline.parquet_files import open_parquet as open_parquet
from neglabel.pipeline.parquet_files import reading as reading

#: Rows a row group: 8,192 × 512 float32 is 16 MB, small enough to stream, large enough to read fast.
ROW_GROUP = 8_192
METADATA_KEY = b"neglabel"
Floats = NDArray[np.float32]


class Block(NamedTuple):
    """Consecutive rows of one file: ``columns`` as asked, ``embedding`` (n, D) as stored, ``start`` the first row."""

    columns: pa.Table
    embedding: NDArray[np.floating[Any]]
    start: int


def embedding_array(embeddings: NDArray[np.floating[Any]]) -> pa.FixedSizeListArray:
    """(n, D) floats → an Arrow fixed-size list of the same dtype (float16, float32)."""
    # Around the buffer as it is: `pa.array` looks at every number for nulls.
    flat = np.ascontiguousarray(embeddings).reshape(-1)
    flat = pa.Array.from_buffers(pa.from_numpy_dtype(flat.dtype), len(flat), [None, pa.py_buffer(flat)])
    return pa.FixedSizeListArray.from_arrays(flat, embeddings.shape[1])


def write_table(path: Location, table: pa.Table, metadata: Mapping[str, Any] | None = None) -> None:
    """Write ``table`` to ``path`` whole or not at all; ``metadata`` goes into the schema as JSON."""
    if metadata is not None:
        table = table.replace_schema_metadata({METADATA_KEY: json.dumps(metadata, ensure_ascii=False).encode()})
    with replacing(path) as temporary:
        write_to(temporary, table)


def write_to(file: Any, table: pa.Table) -> None:
    """Write ``table`` to a path or an open file."""
    # Embeddings are noise to a dictionary, a compressor or statistics: a third of the writing and reading for 9 %.
    words = [name for name in table.column_names if not name.endswith("embedding")]
    pq.write_table(
        table, file, row_group_size=ROW_GROUP, use_dictionary=words, write_statistics=words,
        compression=dict.fromkeys(words, "zstd"), write_page_checksum=True,
    )  # fmt: skip


def read_metadata(path: Location) -> dict[str, Any]:
    """The JSON under the schema's ``neglabel`` key; empty for files from elsewhere."""
    raw = (open_parquet(path).schema_arrow.metadata or {}).get(METADATA_KEY)
    if raw is None:
        return {}
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        raise NeglabelError(f"{path}: its neglabel metadata is damaged; write it again") from None
    return value if isinstance(value, dict) else {}


def require_columns(path: Location, columns: Sequence[str]) -> None:
    """Raises UsageError where a column is missing, naming those there are."""
    names = open_parquet(path).schema_arrow.names
    for column in columns:
        if column not in names:
            raise UsageError(
                f"{path} has no `{column}` column (it has {', '.join(names) or 'none'}); "
                f"give Parquet with {', '.join(columns)}"
            )


def dimension(path: Location) -> int | None:
    """D of ``path``'s embeddings; None for a list column whose length only its rows know and that has none."""
    require_columns(path, ["embedding"])
    file = open_parquet(path)
    kind = file.schema_arrow.field("embedding").type
    _require_floats(kind, path)
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    with reading(path):
        for batch in file.iter_batches(batch_size=1, columns=["embedding"]):
            return len(batch.column(0)[0].as_py() or ())
    return None


def texts(path: Location, column: pa.ChunkedArray, name: str) -> list[str]:
    """A column's words; null is empty. Raises UsageError where it holds none, NeglabelError where they are no UTF-8."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise UsageError(f"{path}: `{name}` is {kind}, not text")
    with reading(path):
        return [value or "" for value in column.to_pylist()]


def _require_floats(kind: pa.DataType, path: Location) -> None:
    if not (pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not (
        pa.types.is_floating(kind.value_type)
    ):
        raise UsageError(f"{path}: `embedding` is {kind}, not a list of floats")


def stream(path: Location, columns: Sequence[str] = (), batch_rows: int = ROW_GROUP) -> Iterator[Block]:
    """Blocks of ``path`` in order, embeddings as stored (float16 or float32 or float64), shape (n, D).

    Raises:
        UsageError: no ``embedding`` column, or one that holds no floats.
        NeglabelError: NaN, infinite or zero embeddings, or lists of differing length, with file and row.
    """
    require_columns(path, ["embedding", *columns])
    start = 0
    batches = open_parquet(path).iter_batches(batch_size=batch_rows, columns=["embedding", *columns])
    while True:
        with reading(path):
            batch = next(batches, None)
        if batch is None:
            return
        embedding = _matrix(batch.column("embedding"), path, start)
        yield Block(pa.table(batch).drop_columns(["embedding"]), embedding, start)
        start += batch.num_rows


def unit(embedding: NDArray[np.floating[Any]], dtype: Any = np.float32) -> NDArray[Any]:
    """(n, D) → rows of length 1 in ``dtype``; normalised in that dtype or better."""
    wide = embedding.astype(np.promote_types(embedding.dtype, dtype))  # a float64 entry may be none of float32's
    # First by the largest entry: the square of a tiny one is zero, of a huge one infinite.
    wide /= np.abs(wide).max(axis=1, keepdims=True)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return wide.astype(dtype, copy=False)


def _matrix(column: pa.Array, path: Location, start: int) -> NDArray[np.floating[Any]]:
    kind = column.type
    _require_floats(kind, path)
    if column.null_count:
        row = int(np.flatnonzero(np.asarray(column.is_null()))[0])
        raise NeglabelError(f"{path}, row {start + row + 1:,}: no embedding; leave that row out")
    lengths = {len(v) for v in column} if not pa.types.is_fixed_size_list(kind) else {kind.list_size}
    if len(lengths) > 1:
        raise NeglabelError(f"{path}: embeddings of differing length {sorted(lengths)[:3]} near row {start + 1:,}")
    matrix = np.asarray(column.flatten()).reshape(len(column), -1)
    bad = ~np.isfinite(matrix).all(axis=1) | ~matrix.any(axis=1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        what = "a zero vector" if np.isfinite(matrix[row]).all() else "NaN or infinite"
        raise NeglabelError(f"{path}, row {start + row + 1:,}: the embedding is {what}; leave that row out")
    return matrix
