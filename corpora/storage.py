"""What pyarrow opens behind a URI: one file system a process and place, its errors as one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from neglabel import NeglabelError, UsageError

if TYPE_CHECKING:
    from pyarrow import fs  # at run time where a URI is opened: options are read without it

_DENIED = re.compile(r"ACCESS_DENIED|INVALID_ACCESS_KEY|INVALID_CLIENT_TOKEN|SIGNATURE|EXPIRED|AUTHENTIC|\b40[13]\b")
_LOST = re.compile(r"(?i)NETWORK_CONNECTION|curlCode|could ?n.t (?:connect|resolve)|timeout|timed out")
_STORAGE = re.compile(r"AWS Error|curlCode|google::cloud|Azure|HDFS|HTTP status")


class StorageError(NeglabelError):
    """The storage behind a URI can't be reached, or refuses."""


def opened(root: str, key: str, query: str) -> tuple[fs.FileSystem, str]:
    """The file system behind ``root`` and the path of ``key`` there.

    Raises:
        UsageError: nothing that pyarrow opens.
        StorageError: it can't be reached.
    """
    with asking(root + query):
        system, base = _system(root, query)
    return system, base + key if key else base.rstrip("/")


@lru_cache(64)
def _system(root: str, query: str) -> tuple[fs.FileSystem, str]:
    # The key is left out: keys may hold what a URI has to escape.
    import pyarrow as pa
    from pyarrow import fs

    try:
        system, path = fs.FileSystem.from_uri(f"{root}/x{query}")
    except pa.ArrowInvalid as error:
        raise UsageError(f"{root}{query} is nothing that pyarrow opens ({first_line(error)})") from None
    return system, path.removesuffix("x")


_buckets: set[tuple[str, str]] = set()


def need_bucket(root: str, query: str) -> None:
    """Raises UsageError where the bucket of ``root`` does not exist; a bucket that was there is not asked for again."""
    if (root, query) in _buckets:
        return
    system, path = opened(root, "", query)
    try:
        with asking(root + query):
            there = not path or system.get_file_info(path).type.name != "NotFound"
    except Denied:
        there = True  # who may not look at a bucket may still read and write its keys
    if not there:
        raise UsageError(_NO_BUCKET.format(root + query))
    _buckets.add((root, query))


@contextmanager
def asking(place: object) -> Iterator[None]:
    """What the storage raises → one sentence that names ``place``; FileNotFoundError stays what it is."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        import pyarrow as pa

        if not isinstance(error, (OSError, pa.ArrowException)):
            raise
        raise said(place, error) or StorageError(f"{place}: the storage refuses ({first_line(error)})") from None


def said(place: object, error: Exception) -> NeglabelError | None:
    """The sentence for an error of the storage; None where it is another one (a damaged file)."""
    text = str(error)
    if "NO_SUCH_BUCKET" in text:
        return UsageError(_NO_BUCKET.format(place))
    if _LOST.search(text):
        return StorageError(
            f"{place}: the storage can't be reached; check the network and the endpoint (AWS_ENDPOINT_URL, or "
            "?endpoint_override= in the URI)"
        )
    if _STORAGE.search(text) and _DENIED.search(text):
        return Denied(f"{place}: no access; check the credentials in the environment, and what they allow")
    return StorageError(f"{place}: the storage fails ({first_line(error)})") if _STORAGE.search(text) else None


class Denied(StorageError):
    """The storage knows the credentials and refuses, or doesn't know them."""


_NO_BUCKET = "{}: there is no such bucket; create it, or correct the URI"


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300].rstrip(".")
