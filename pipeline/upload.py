"""A finished local file → an object by URI: written, read back, compared; nothing is renamed.

An object store shows an object when its upload is complete, and not before. So a process that dies leaves what was
there. What is shown is then fetched once and its checksum compared; only after that may a manifest name it.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from neglabel import NeglabelError
from neglabel.corpora.storage import StorageError, asking, opened
from neglabel.corpora.uri import Remote
from neglabel.pipeline.leftovers import is_left, owner

#: Bytes a read or write: of an object each read is a request.
BLOCK = 8 << 20
#: Blocks on their way at once.
IN_FLIGHT = 4
#: SHA-256 of objects whose bytes went through here, with the mark (see :func:`mark_of`) that they had.
_known: dict[Remote, tuple[str, str]] = {}


@contextmanager
def spare(name: str) -> Iterator[Path]:
    """A path for a file called ``name`` where the system puts temporary files (``TMPDIR``); gone with the block."""
    _sweep()
    with tempfile.TemporaryDirectory(prefix=f"neglabel-{owner()}", ignore_cleanup_errors=True) as folder:
        yield Path(folder) / name


@lru_cache(1)
def _sweep() -> None:
    """Once a process: what killed ones left there."""
    for folder in Path(tempfile.gettempdir()).glob("neglabel-*-*-*"):
        if is_left(folder.name.removeprefix("neglabel-")):
            shutil.rmtree(folder, ignore_errors=True)


def publish(file: Path, to: Remote) -> None:
    """Upload ``file`` and read it back.

    Raises:
        UsageError: there is no such bucket.
        NeglabelError: the storage refuses, or doesn't give back what it got; then nothing is published.
        OSError: ``file`` can't be read.
    """
    # Ctrl-C is raised in the main thread alone: there it could end an upload halfway, and pyarrow can't abort one.
    with ThreadPoolExecutor(1) as apart:
        apart.submit(_publish, file, to).result()


def _publish(file: Path, to: Remote) -> None:
    system, path = opened(to.root, to.key, to.query)
    digest, size = hashlib.sha256(), 0
    _known.pop(to, None)
    with open(file, "rb") as source:
        with asking(to):
            stream = system.open_output_stream(path, compression=None)  # else by the name's ending
        try:
            while block := source.read(BLOCK):
                with asking(to):
                    stream.write(block)
                digest.update(block)
                size += len(block)
                if size % (IN_FLIGHT * BLOCK) == 0:
                    with asking(to):
                        stream.flush()  # waits for the parts that go in the background, or all are soon in memory
        except BaseException:
            _drop(stream, system, path)
            raise
        with asking(to):
            stream.close()
    found, mark, length = _read(to)
    if (found, length) != (digest.hexdigest(), size):
        with suppress(OSError, pa.ArrowException):
            system.delete_file(path)
        raise StorageError(f"{to}: the storage gives back other bytes than it got; is another process writing there?")
    _known[to] = found, mark


def _drop(stream: Any, system: Any, path: str) -> None:
    """End a failed upload: its stream can only be completed, and the cut object deleted."""
    try:
        stream.close()
    except (OSError, pa.ArrowException):
        return  # never completed: what was there before is there still
    with suppress(OSError, pa.ArrowException):
        system.delete_file(path)


def digest_of(place: Remote) -> str:
    """SHA-256 of an object; of one that was uploaded here and is unchanged without fetching it again."""
    if place in _known:
        with place.open() as file, asking(place):
            if _known[place][1] and _known[place][1] == mark_of(file):
                return _known[place][0]
    return _read(place)[0]


def _read(place: Remote) -> tuple[str, str, int]:
    digest, size = hashlib.sha256(), 0
    try:
        with place.open() as file, asking(place):
            mark = mark_of(file)
            while block := file.read(BLOCK):
                digest.update(block)
                size += len(block)
    except FileNotFoundError as error:
        raise NeglabelError(f"{place} is gone; is another process writing there?") from error
    return digest.hexdigest(), mark, size


def mark_of(file: pa.NativeFile) -> str:
    """What changes when the object does (its ``ETag``, size and time of change); empty where the storage has none."""
    about = {str(key): value for key, value in (file.metadata() or {}).items()}
    return repr(sorted(about.items())) if about.get("ETag") else ""
