"""Seeded damage to files of any kind, JSON and Parquet: each function changes one file and says what it did."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Mutator = Callable[[Random, Path], str]
#: What a name or number may be replaced by; ``outside`` is watched.
TRICKS: list[Any] = [
    "../outside/x", "..", ".", "", "/", "a/b", "a\\b", "C:\\x", "x\0y", "\ud800", "s3://bucket/x", "CON", "x" * 5_000,
    "-", "../../../../etc/passwd", None, True, -1, 0, 10**13, 2**63, 10**400, -(2**31), 1e308, float("nan"),
    float("inf"), [], {}, [[]], {"x": 1}, "1", "shard-00000.parquet", "manifest.json", "̈", "\n",
]  # fmt: skip
#: Rows of a bomb.
BIG = 1_000_000


class Touch:
    """Unpickled, it leaves a file where it is looked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def flip(rng: Random, path: Path) -> str:
    """Some bits, mostly anywhere, else where a footer is."""
    data = bytearray(path.read_bytes())
    if not data:
        return "left an empty file"
    first = max(0, len(data) - 600) if rng.random() < 0.4 else 0
    places = [rng.randrange(first, len(data)) for _ in range(rng.choice([1, 1, 2, 4, 16]))]
    for place in places:
        data[place] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return f"flipped a bit at {places}"


def overwrite(rng: Random, path: Path) -> str:
    """A run of bytes: noise, zeros, or ones, which are large numbers in most formats."""
    data = bytearray(path.read_bytes())
    if not data:
        return "left an empty file"
    start, size = rng.randrange(len(data)), rng.choice([1, 2, 4, 8, 64, 1_000])
    fill = rng.choice([b"\0", b"\xff", b"\x7f", b"\x80", None])
    data[start : start + size] = rng.randbytes(size) if fill is None else fill * size
    path.write_bytes(data)
    return f"overwrote {size} bytes at {start} with {fill!r}"


def cut(rng: Random, path: Path) -> str:
    data = path.read_bytes()
    size = rng.choice(
        [0, 1, 4, 8, len(data) // 2, max(0, len(data) - rng.randrange(1, 40)), rng.randrange(len(data) + 1)]
    )
    path.write_bytes(data[:size])
    return f"cut to {size} of {len(data)} bytes"


def splice(rng: Random, path: Path) -> str:
    """A piece twice, taken out, or noise put in."""
    data = path.read_bytes()
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    how = rng.choice(["twice", "out", "noise", "behind"])
    new = {
        "twice": data[:b] + data[a:], "out": data[:a] + data[b:], "behind": data + rng.randbytes(100),
        "noise": data[:a] + rng.randbytes(rng.randrange(1, 300)) + data[a:],
    }[how]  # fmt: skip
    path.write_bytes(new)
    return f"spliced {how} at {a}:{b}"


def replace(rng: Random, path: Path) -> str:
    """Nothing there, a folder, a link to nowhere or to itself, noise, a pickle, or a neighbour's bytes."""
    how = rng.choice(["gone", "folder", "dangling", "loop", "noise", "pickle", "neighbour"])
    data = path.read_bytes()
    neighbours = [p for p in path.parent.iterdir() if p.is_file() and p != path]
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how in ("dangling", "loop"):
        path.symlink_to(path.name if how == "loop" else "nowhere")
    elif how == "noise":
        path.write_bytes(rng.randbytes(len(data)))
    elif how == "pickle":
        path.write_bytes(pickle.dumps(Touch(_outside(path))))
    elif how == "neighbour" and neighbours:
        shutil.copy(rng.choice(sorted(neighbours)), path)
    return f"replaced by {how}"


def _outside(path: Path) -> Path:
    """Beside the copy that may be damaged: nothing may be written there."""
    return next(p for p in path.parents if p.name == "box").parent / "outside" / "executed"


BYTES: list[Mutator] = [flip, flip, flip, overwrite, overwrite, cut, splice, replace]


def json_values(rng: Random, path: Path) -> str:
    """One or two values of a JSON file: replaced, dropped, or doubled; or its text as a whole."""
    if rng.random() < 0.15:
        text = rng.choice([
            "[" * 200_000, '{"a":' * 100_000, "1" * 100_000, "{}", "[]", "null", '"x"', 
            '{"format": "neglabel-candidates", "version": ' + "9" * 5_000 + "}", "\ufeff{}", '{"format": NaN}',
        ])  # fmt: skip
        path.write_text(text, encoding="utf-8")
        return f"text is {text[:40]!r}…"
    value = json.loads(path.read_text(encoding="utf-8"))
    done = []
    for _ in range(rng.choice([1, 1, 2])):
        places = list(_places(value))
        if not places:
            break
        holder, key = rng.choice(places)
        how = rng.choice(["trick", "trick", "trick", "drop", "swap"])
        if how == "drop":
            del holder[key]
        else:
            there, other = rng.choice(places)
            copy = json.loads(json.dumps(there.get(other) if isinstance(there, dict) else there))
            holder[key] = rng.choice(TRICKS) if how == "trick" else copy
        done.append(f"{how} {key!r} {str(holder.get(key))[:30]!r}" if isinstance(holder, dict) else f"{how} [{key}]")
    path.write_text(json.dumps(value), encoding="utf-8")
    return "; ".join(done)


def _places(value: Any) -> Any:
    """Every (container, key) of a JSON value."""
    for key, inner in list(value.items()) if isinstance(value, dict) else list(enumerate(value)):
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from _places(inner)


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
            "ARROW:extension:metadata": pickle.dumps(Touch(_outside(path))),
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
JSON: list[Mutator] = [json_values, json_values, json_values, json_values, flip, cut, replace]
