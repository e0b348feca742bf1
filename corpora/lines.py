"""Lines and bytes of a corpus file, also gzip or zstd, streamed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from neglabel import NeglabelError, UsageError
from neglabel.corpora.storage import said
from neglabel.corpora.uri import Location, Remote

COMPRESSION = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
#: Of a longer line only this much is kept (which cleaning rejects as too long), so a file without line ends can't
#: fill the memory.
MAX_LINE = 100_000
#: Bytes that are asked for at once of a file by URI.
REQUEST = 4 << 20
#: What reading raises where a file is damaged or cut short; pyarrow also where names or texts in it are no UTF-8.
DAMAGED = (OSError, EOFError, pa.ArrowInvalid, UnicodeDecodeError)


def require_file(path: Location) -> None:
    """Raises UsageError where ``path`` is missing or a folder."""
    if not path.is_file():
        what = "is a folder, not a file of words" if path.is_dir() else "does not exist"
        raise UsageError(f"corpus file {path} {what}")


def damaged(path: Location, error: Exception) -> NeglabelError:
    """The one sentence for a file that can't be read to its end."""
    if isinstance(path, Remote) and (refusal := said(path, error)):
        return refusal
    why = (str(error).splitlines() or [type(error).__name__])[0]
    return NeglabelError(f"corpus file {path} is damaged or cut short ({why}); get it again")


def open_bytes(path: Location) -> Any:
    """The bytes of ``path``, decompressed by its ending: a context manager with ``read(n)``."""
    compression = COMPRESSION.get(path.suffix.lower())
    # An object is read a buffer at a time as well: each is a request.
    return (
        pa.input_stream(path.open(), compression=compression, buffer_size=REQUEST)
        if isinstance(path, Remote) else pa.input_stream(str(path), compression=compression)
    )  # fmt: skip


def lines(path: Location) -> Iterator[str]:
    """Lines without their ends. Bytes that are no UTF-8 become surrogates, which cleaning rejects by name."""
    with open_bytes(path) as stream:
        text = io.TextIOWrapper(
            io.BufferedReader(stream, 1 << 20), encoding="utf-8-sig", errors="surrogateescape", newline="\n"
        )
        while line := text.readline(MAX_LINE):
            rest = line
            while len(rest) == MAX_LINE and not rest.endswith("\n"):
                rest = text.readline(MAX_LINE)
            yield line.rstrip("\r\n")


def bare_name(path: Location) -> str:
    """The file's name in lower case without the ending of its compression."""
    name = path.name.lower()
    for ending in COMPRESSION:
        name = name.removesuffix(ending)
    return name
