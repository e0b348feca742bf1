"""Seeded damage to texts, lists, compressed files, arrays and pictures."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
from PIL import Image

from .mutate import BYTES, JSON, Mutator, Touch, outside
from .mutate_parquet import PARQUET

LINES = [
    "../outside/x", "/etc/passwd", "..", "a\0b", "\ud800", "x" * 3_000_000, '"', '"unclosed', "a,b,c,d", "\t\t\t", "{",
    "[" * 200_000, '{"text": ' + "[" * 5_000 + "}", '{"text": 1e999}', '{"text": null}', '{"text": "\\ud800"}',
    "\x1b[31m",
    '{"text": {"a": 1}}', "s3://bucket/x", "-1", "%s", "{}", "\u202e", "\x85", "INSERT INTO `page` VALUES (1,0,'",
    "INSERT INTO `page` VALUES (" + "9" * 10_000 + ",0,'a\\", "1" * 5_000,
    '{"text": ' + "1" * 5_000 + "}", '"a\n' * 300,
]  # fmt: skip


def lines(rng: Random, path: Path) -> str:
    """Lines put in, doubled, dropped, or ended otherwise."""
    there = path.read_bytes().split(b"\n")
    how = rng.choice(["in", "in", "in", "twice", "first", "ends", "none", "utf-16", "nul"])
    at = rng.randrange(len(there))
    if how == "in":
        there.insert(at, rng.choice(LINES).encode("utf-8", "surrogatepass"))
    elif how == "twice":
        there.insert(at, there[at])
    elif how == "first":
        del there[0]
    elif how == "nul":
        there[at] = b"\0" * 100_000
    data = {"ends": b"\r", "none": b""}.get(how, b"\n").join(there)
    path.write_bytes(data.decode("latin-1").encode("utf-16") if how == "utf-16" else data)
    return f"lines: {how} at {at}"


def packed(rng: Random, path: Path) -> str:
    """What is decompressed is far longer than the file, ends early, or is something else."""
    how = rng.choice(["zeros", "lines", "cut", "plain", "twice"])
    body = {"zeros": b"\0" * (64 << 20), "lines": b"x\n" * (1 << 20), "cut": b"word\n" * 9_999, "plain": b"word\n",
            "twice": b"word\n"}[how]  # fmt: skip
    pack = gzip.compress if path.suffix == ".gz" else lambda data, level=1: pa.compress(data, "zstd", asbytes=True)
    data = body if how == "plain" else pack(body, 1)
    path.write_bytes(data[: len(data) // 2] if how == "cut" else data * (1 + (how == "twice")))
    return f"packed: {how}"


def array(rng: Random, path: Path) -> str:
    """An ``.npy`` file: a header that claims much, objects, another type or shape."""
    kept = np.load(path)
    how = rng.choice(["claims", "objects", "type", "shape", "header", "fortran"])
    if how == "objects":
        body = io.BytesIO()
        np.lib.format.write_array_header_1_0(body, {"descr": "|O", "fortran_order": False, "shape": (1,)})
        path.write_bytes(body.getvalue() + pickle.dumps(Touch(outside(path))))
    elif how in ("claims", "header"):
        text = f"{{'descr': '<u8', 'fortran_order': False, 'shape': ({rng.choice([10**13, 10**9, 2**62, -1])}, 3), }}\n"
        if how == "header":
            text = rng.choice(["__import__('os').system('touch executed')", "{" * 9_000, "", "[]"])
        path.write_bytes(b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text.encode() + kept.tobytes())
    else:
        made = {"type": kept.astype(rng.choice(["<f4", "<i2", "S3"])), "shape": kept.reshape(-1),
                "fortran": kept[::-1].copy("F")}  # fmt: skip
        np.save(path, made[how])
    return f"array: {how}"


def picture(rng: Random, path: Path) -> str:
    """A picture that claims or is far too large, of another format than its name, of an odd mode, or no picture."""
    how = rng.choice(["claims", "large", "wide", "text", "eps", "frames", "mode", "nothing"])
    if how == "claims":
        size = rng.choice([(2**31 - 1, 2**31 - 1), (50_000, 50_000), (1, 2**31 - 1), (0, 0)])
        path.write_bytes(_png(size, b"\0" * 99))
    elif how in ("large", "wide"):
        wide, high = (12_000, 12_000) if how == "large" else (100_000_000, 1)
        path.write_bytes(_png((wide, high), b"\0" * (high * (1 + wide)), grey=True))
    elif how == "text":
        path.write_bytes(_png((4, 4), b"\0" * 52, [(b"zTXt", b"x\0\0" + zlib.compress(b"x" * (100 << 20)))]))
    elif how == "eps":
        path.write_text(f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({outside(path)}) (w) file closefile\n")
    elif how == "frames":
        frames = [Image.new("P", (500, 500), i % 9) for i in range(50)]
        frames[0].save(path, "GIF", save_all=True, append_images=frames[1:])
    elif how == "mode":
        mode = rng.choice(["1", "L", "LA", "P", "RGBA", "I;16", "CMYK", "F", "I", "YCbCr", "LAB"])
        kind = "PNG" if mode in ("1", "L", "LA", "P", "RGBA", "I;16", "I") else "TIFF"
        Image.new(mode, (rng.choice([1, 40]), rng.choice([1, 700]))).save(path, kind)
    else:
        path.write_bytes(b"")
    return f"picture: {how}"


def _png(size: tuple[int, int], body: bytes, more: Sequence[tuple[bytes, bytes]] = (), grey: bool = False) -> bytes:
    header = struct.pack(">IIBBBBB", *size, 8, 0 if grey else 2, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(body, 1)), (b"IEND", b"")]
    made = (struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


def name(rng: Random, path: Path) -> str:
    """The file under a name that means something to somebody."""
    stems = ["-rf", "a\nb", os_text(b"\xff"), "<b>&", "a#0", "x@y", "%s{0}", "s3:", "é" * 100, " ", path.stem]
    new = rng.choice(stems) + rng.choice([path.suffix, path.suffix, path.suffix.upper()])
    path.rename(path.with_name(new))
    return f"named {new!r}"


def os_text(raw: bytes) -> str:
    """A name of bytes that are no text, as Python has it."""
    return raw.decode("utf-8", "surrogateescape")


TEXT: list[Mutator] = [lines, lines, lines, lines, *BYTES[:5], BYTES[-1]]
PACKED: list[Mutator] = [packed, packed, *BYTES]
ARRAY: list[Mutator] = [array, array, array, *BYTES]
PICTURE: list[Mutator] = [picture, picture, picture, picture, name, *BYTES]
_BY_SUFFIX = {
    ".parquet": PARQUET, ".json": JSON, ".npy": ARRAY, ".gz": PACKED, ".zst": PACKED,
    **dict.fromkeys([".png", ".jpg", ".gif", ".tif", ".webp", ".bmp", ".ppm"], PICTURE),
}  # fmt: skip


def mutate(rng: Random, path: Path) -> str:
    """Damage ``path`` in one way that its kind knows. Returns what was done, in words."""
    return f"{path.name}: {rng.choice(_BY_SUFFIX.get(path.suffix, TEXT))(rng, path)}"
