"""Opening and reading Parquet files that may be damaged, here or by URI: what Arrow raises is one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from neglabel import NeglabelError, UsageError
from neglabel.corpora.parquet_bounds import flaw
from neglabel.corpora.storage import said
from neglabel.corpora.uri import Location, Remote
from neglabel.pipeline.upload import mark_of

#: Of an object: bytes a request (and held, of each column); footers that are kept.
PIECE = 4 << 20
#: Of a file: bytes that are read ahead of each column.
PIECE_HERE = 1 << 20
FOOTERS = 1_024
_footers: dict[tuple[Remote, str], pq.FileMetaData] = {}
#: Files (with size and time of change) that were looked at.
_sound: set[tuple[Path, int, int]] = set()


def open_parquet(path: Location, **how: Any) -> pq.ParquetFile:
    """Raises UsageError where ``path`` is missing, NeglabelError where it is not a whole Parquet file, or can't hold
    what it claims to.

    Args:
        how: more that :class:`pyarrow.parquet.ParquetFile` takes.
    """
    try:
        if isinstance(path, Remote):
            return _fetched(path, how)
        # Not memory-mapped: a file that is cut meanwhile would end the process. Reading is as fast.
        opened = pq.ParquetFile(
            path, memory_map=False, pre_buffer=False, buffer_size=PIECE_HERE, page_checksum_verification=True, **how
        )
        about = path.stat()
        mark = (path, about.st_size, about.st_mtime_ns)
        if mark not in _sound:
            _check(opened, about.st_size)
            if len(_sound) >= FOOTERS:
                _sound.clear()
            _sound.add(mark)
        return opened
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist; name a Parquet file") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder; name a Parquet file") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        _refuse_storage(path, error)
        raise NeglabelError(
            f"{path} is not a whole Parquet file ({_first_line(error)}); run the stage that wrote it again"
        ) from None


def _check(file: pq.ParquetFile, size: int) -> None:
    """Raises ValueError where ``file`` can't hold what it claims to, or names a column twice. Once a content."""
    names = file.schema_arrow.names
    if len(set(names)) < len(names):
        raise ValueError("it has two columns of one name")
    if problem := flaw(file.metadata, size):
        raise ValueError(problem)


def _fetched(path: Remote, how: Mapping[str, Any]) -> pq.ParquetFile:
    """An object read in pieces: its footer once a process, of a column :data:`PIECE` bytes at a time.

    Not pyarrow's ``pre_buffer``, which holds all row groups that are asked for at once.
    """
    file = path.open()
    mark = (path, mark_of(file))
    opened = pq.ParquetFile(
        file, metadata=_footers.get(mark), pre_buffer=False, buffer_size=PIECE, page_checksum_verification=True, **how
    )
    if mark not in _footers:
        _check(opened, file.size())
    if mark[1] and mark not in _footers:
        if len(_footers) >= FOOTERS:
            _footers.clear()
        _footers[mark] = opened.metadata
    return opened


@contextmanager
def reading(path: Location) -> Iterator[None]:
    """What Arrow raises on a damaged file → one sentence."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError) as error:
        _refuse_storage(path, error)
        raise NeglabelError(
            f"{path} is damaged ({_first_line(error)}); run the stage that wrote it again, or get it again"
        ) from None


def _refuse_storage(path: Location, error: Exception) -> None:
    """A connection that fails is no damage of the file."""
    if isinstance(path, Remote) and (refusal := said(path, error)):
        raise refusal from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
