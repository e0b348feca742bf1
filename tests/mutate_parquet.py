"""Seeded damage to Parquet files: columns, numbers, metadata, and files that become far larger than they are."""

from __future__ import annotations

import pickle
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .mutate import Mutator, Touch, cut, flip, json_values, outside, overwrite, replace, splice

#: Rows of a bomb.
BIG = 1_000_000


def columns(rng: Random, path: Path) -> str:
    """A column of a Parquet file: missing, renamed, swapped, doubled, of another type, with nulls, or other rows."""
    table = pq.read_table(path)
    at = rng.randrange(table.num_columns)
    name, column, n = table.column_names[at], table.column(at), table.num_rows
    how = rng.choice(["drop", "rename", "swap", "twice", "type", "type", "nulls", "none", "shorter", "nested"])
    if how == "drop":
        table = table.drop_columns([name])
    elif how in ("rename", "swap"):
        names = list(table.column_names)
        other = rng.randrange(len(names))
        names[at], names[other] = (names[other], names[at]) if how == "swap" else ("other", names[other])
        table = table.rename_columns(names if len(set(names)) == len(names) else [f"c{i}" for i in range(len(names))])
    elif how == "twice":
        table = table.append_column(name, column)
    elif how == "shorter":
        table = table.slice(0, rng.choice([0, 1, n // 2]))
    else:
        table = table.set_column(at, name, _other(rng, how, column, n))
    _write(rng, table, path)
    return f"column {name}: {how}"


def _other(rng: Random, how: str, column: pa.ChunkedArray, n: int) -> pa.Array:
    if how == "none":
        return pa.nulls(n, column.type)
    if how == "nulls":
        gone = {rng.randrange(max(n, 1)) for _ in range(3)}
        return pa.array([None if i in gone else v for i, v in enumerate(column.to_pylist())], column.type)
    if how == "nested":
        return pa.array([{"a": [i, None]} for i in range(n)])
    return rng.choice([
        lambda: pa.array(range(n), pa.int64()), lambda: pa.array([-1] * n, pa.int8()),
        lambda: pa.array([f"w{i}" for i in range(n)]), lambda: pa.array([b"\xff\xfe"] * n, pa.binary()),
        lambda: pa.array([[0.5] * (i % 3) for i in range(n)], pa.list_(pa.float32())),
        lambda: pa.array([["x"]] * n), lambda: pa.array([True] * n), lambda: pa.array([0] * n, pa.timestamp("us")),
        lambda: pa.array([1.5] * n, pa.float64()), lambda: pa.array(["x"] * n).dictionary_encode(),
        lambda: pa.nulls(n), lambda: pa.array([2**63 + 1] * n, pa.uint64()),
        lambda: pa.array(["\0"] * n), lambda: pa.array([[1, 2]] * n, pa.list_(pa.int32(), 2)),
        lambda: pa.array([10**30] * n, pa.decimal128(38, 0)),
        lambda: pa.array(["x" * 100_000] * min(n, 20) + [""] * (n - min(n, 20))),
    ])()  # fmt: skip


def numbers(rng: Random, path: Path) -> str:
    """Numbers of a Parquet file's column: not finite, zero, huge, negative."""
    table = pq.read_table(path)
    found = [i for i, f in enumerate(table.schema) if _is_number(f.type) and table.num_rows]
    if not found:
        return columns(rng, path)
    at = rng.choice(found)
    kind, value = table.schema.field(at).type, rng.choice([np.nan, np.inf, -np.inf, 0.0, 1e30, -1e30, 1e-30, -1.0])
    nested = pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)
    rows = table.column(at).to_pylist()
    whole = rng.random() < 0.3
    for row in range(len(rows)) if whole else [rng.randrange(len(rows))]:
        if nested:
            rows[row] = [value] * len(rows[row] or [])
        else:
            rows[row] = value if pa.types.is_floating(kind) else int(np.clip(np.nan_to_num(value), -(2**31), 2**31 - 1))
    try:
        made = pa.array(rows, kind)
    except (pa.ArrowInvalid, OverflowError, pa.ArrowException):
        made = pa.array(rows)
    _write(rng, table.set_column(at, table.column_names[at], made), path)
    return f"{table.column_names[at]} is {value} in {'every' if whole else 'one'} row"


def _is_number(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) else kind
    return bool(pa.types.is_floating(inner) or pa.types.is_integer(inner))


def about(rng: Random, path: Path) -> str:
    """The JSON in a Parquet file's metadata, or an extension type that asks to be unpickled."""
    table = pq.read_table(path)
    if rng.random() < 0.3:
        field = table.schema.field(0).with_metadata({
            "ARROW:extension:name": "arrow.py_extension_type",
            "ARROW:extension:metadata": pickle.dumps(Touch(outside(path))),
        })  # fmt: skip
        _write(rng, table.cast(table.schema.set(0, field)), path)
        return "an extension type with a pickle"
    kept = (table.schema.metadata or {}).get(b"neglabel", b'{"format": "neglabel-negatives", "version": 1}')
    spare = path.with_suffix(".json")
    spare.write_bytes(kept)
    said = json_values(rng, spare)
    _write(rng, table.replace_schema_metadata({b"neglabel": spare.read_bytes()}), path)
    spare.unlink()
    return f"metadata: {said}"


def bomb(rng: Random, path: Path) -> str:
    """A small Parquet file that becomes hundreds of megabytes: repeated words, long ones, or far too many rows."""
    table = pq.read_table(path)
    how = rng.choice(["rows", "words", "one"])
    schema = table.schema
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        if how == "rows" and table.num_rows:  # a row group of a million equal rows: run lengths in the file
            column = [
                _nests(table.column(i), BIG) if _nested(f.type) else pa.repeat(table.column(i)[0], BIG)
                for i, f in enumerate(schema)
            ]
            if all(c is not None for c in column):
                writer.write_table(pa.table(column, schema=schema), row_group_size=BIG)
                return "a million equal rows"
        size = 200 << 20 if how == "one" else 4 << 20
        long = pa.array(["x" * size] * (1 if how == "one" else 50))
        texts = [f.name for f in schema if pa.types.is_string(f.type)]
        if not texts or not table.num_rows:
            return "no rows"
        some = table.take(pa.array([0] * len(long)))
        some = some.set_column(schema.get_field_index(texts[0]), texts[0], long)
        writer.write_table(some.cast(schema))
    return f"200 MB of text in {texts[0]}: {how}"


def _nested(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind))


def _nests(column: pa.ChunkedArray, n: int) -> Any:
    kind = column.type
    if not pa.types.is_fixed_size_list(kind) or kind.list_size > 32:
        return None
    flat = pa.repeat(column[0].values[0], n * kind.list_size)
    return pa.FixedSizeListArray.from_arrays(flat, kind.list_size)


def _write(rng: Random, table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, row_group_size=rng.choice([7, 50, 8_192]))


PARQUET: list[Mutator] = [flip, flip, overwrite, cut, splice, replace, columns, columns, numbers, numbers, about, bomb]
