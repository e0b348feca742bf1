"""Seeded damage to files of any kind, and JSON: each function changes one file and says what it did."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

Mutator = Callable[[Random, Path], str]
#: What a name or number may be replaced by; ``outside`` is watched.
TRICKS: list[Any] = [
    "../outside/x", "..", ".", "", "/", "a/b", "a\\b", "C:\\x", "x\0y", "\ud800", "s3://bucket/x", "CON", "x" * 5_000,
    "-", "../../../../etc/passwd", None, True, -1, 0, 10**13, 2**63, 10**400, -(2**31), 1e308, float("nan"),
    float("inf"), [], {}, [[]], {"x": 1}, "1", "shard-00000.parquet", "manifest.json", "̈", "\n",
]  # fmt: skip


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
        path.write_bytes(pickle.dumps(Touch(outside(path))))
    elif how == "neighbour" and neighbours:
        shutil.copy(rng.choice(sorted(neighbours)), path)
    return f"replaced by {how}"


def outside(path: Path) -> Path:
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


JSON: list[Mutator] = [json_values, json_values, json_values, json_values, flip, cut, replace]
