"""Places by URI (``s3://bucket/key``, and what else pyarrow opens) beside paths, under the same few names.

A :class:`Remote` is the URI's text and no more, so it can be hashed, pickled and written down; the file system behind
it is opened once a process, and finds its credentials in the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from errno import ENOENT
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar, cast
from urllib.parse import unquote
from urllib.request import url2pathname

from pydantic import PlainSerializer, PlainValidator, SerializationInfo

from neglabel import UsageError
from neglabel.corpora.storage import StorageError, asking, need_bucket, opened

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import fs

#: Two letters at least: one is a drive of Windows.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_ESCAPED = re.compile(r"[%?#\s\x00-\x1f]")
#: Of these a user's name is the container (``abfs://container@account…``), and no secret.
_CONTAINER = ("abfs", "abfss")
_SECRET = re.compile(r"(?i)(?:^|[?&])[^=&]*(?:key|secret|token|password|credential|sas|sig)[^=&]*=")


class Stat(NamedTuple):
    """Size in bytes and time of change in nanoseconds."""

    st_size: int
    st_mtime_ns: int


@dataclass(frozen=True, order=True)
class Remote:
    """A place by URI, with the part of :class:`pathlib.Path` that the stages use; nothing is looked up to make one.

    ``root`` is ``scheme://bucket``; ``key`` what follows, without slashes at its ends, unescaped; ``query`` begins
    with ``?`` or is empty, and stays behind the path when names are joined.
    """

    root: str
    key: str
    query: str = ""

    def __str__(self) -> str:
        key = _ESCAPED.sub(lambda c: "".join(f"%{byte:02X}" for byte in c[0].encode()), self.key)
        return f"{self.root}{'/' * bool(key)}{key}{self.query}"

    def __truediv__(self, name: str) -> Remote:
        return Remote(self.root, "/".join(filter(None, (self.key, *str(name).split("/")))), self.query)

    def __rtruediv__(self, folder: Path | str) -> Remote:
        return self  # absolute, as ``folder / "/absolute"`` is

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.root, *filter(None, self.key.split("/")))

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix

    @property
    def stem(self) -> str:
        return Path(self.name).stem

    @property
    def parent(self) -> Remote:
        return Remote(self.root, self.key.rpartition("/")[0], self.query)

    @property
    def parents(self) -> tuple[Remote, ...]:
        return () if not self.key else (self.parent, *self.parent.parents)

    def with_name(self, name: str) -> Remote:
        return self.parent / name

    def absolute(self) -> Remote:
        return self

    def resolve(self) -> Remote:
        return self

    def exists(self) -> bool:
        return bool(self._info().type.name != "NotFound")

    def is_file(self) -> bool:
        return bool(self._info().type.name == "File")

    def is_dir(self) -> bool:
        return bool(self._info().type.name == "Directory")

    def stat(self) -> Stat:
        """Raises FileNotFoundError; StorageError where the storage knows no time of change."""
        info = self._info()
        if info.type.name != "File":
            raise FileNotFoundError(ENOENT, "No such file", str(self))
        return _stat(self, info)

    def iterdir(self) -> Iterator[Remote]:
        """What lies right below; nothing where there is no such folder."""
        return iter([self / path for path in self._list(False)])

    def glob(self, pattern: str) -> Iterator[Remote]:
        """Files and folders right below whose name fits ``pattern``."""
        return (place for place in self.iterdir() if fnmatchcase(place.name, pattern))

    def tree(self) -> dict[str, Stat]:
        """Every file below by its path from here, listed at once."""
        found = self._list(True).items()
        return {path: _stat(self / path, info) for path, info in found if info.type.name == "File"}

    def open(self) -> pa.NativeFile:
        """The bytes, for random reading. Raises FileNotFoundError."""
        system, path = opened(self.root, self.key, self.query)
        try:
            with asking(self):
                return system.open_input_file(path)
        except FileNotFoundError:
            need_bucket(self.root, self.query)
            raise FileNotFoundError(ENOENT, "No such file", str(self)) from None

    def read_bytes(self) -> bytes:
        with self.open() as file, asking(self):
            return bytes(file.read())

    def read_text(self, encoding: str = "utf-8") -> str:
        # As pathlib reads text: \r\n and \r are line ends.
        return self.read_bytes().decode(encoding).replace("\r\n", "\n").replace("\r", "\n")

    def unlink(self, missing_ok: bool = False) -> None:
        system, path = opened(self.root, self.key, self.query)
        try:
            with asking(self):
                system.delete_file(path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """A key needs no folder, only its bucket. Raises UsageError where there is none."""
        need_bucket(self.root, self.query)

    def rmdir(self) -> None:
        """A folder is there as long as its keys."""

    def _info(self) -> fs.FileInfo:
        system, path = opened(self.root, self.key, self.query)
        with asking(self):
            info = system.get_file_info(path)
        if info.type.name == "NotFound":
            need_bucket(self.root, self.query)
        return info

    def _list(self, recursive: bool) -> dict[str, fs.FileInfo]:
        from pyarrow import fs

        system, path = opened(self.root, self.key, self.query)
        with asking(self):
            found = system.get_file_info(fs.FileSelector(path, allow_not_found=True, recursive=recursive))
        if not found:
            need_bucket(self.root, self.query)
        base = path.rstrip("/") + "/"
        return {info.path.removeprefix(base).strip("/"): info for info in found}


def _validated(value: Any) -> Path | Remote:
    if not isinstance(value, (str, Path, Remote)):
        raise ValueError(f"is a path or a URI, got {value!r}")
    if isinstance(value, str) and not value.strip():
        raise ValueError("is empty; name a file or a folder (`.` is the current one)")
    return location(value)


def _written(value: Path | Remote, info: SerializationInfo) -> Path | str:
    return value if isinstance(value, Path) and info.mode == "python" else str(value)


Place = TypeVar("Place")
#: A path of this machine, or a URI; written down as its text.
Location = Annotated[Path | Remote, PlainValidator(_validated), PlainSerializer(_written)]


def resolved(path: Place) -> Place:
    """A path, URI or anything else with ``resolve``: absolute, without links; a loop of links stays as it is."""
    # Before Python 3.13 `Path.resolve` raises RuntimeError for a loop.
    found: Any = Path(os.path.realpath(path)) if isinstance(path, Path) else cast(Any, path).resolve()
    return cast(Place, found)


def location(text: str | Path | Remote) -> Path | Remote:
    """``scheme://…`` → :class:`Remote` (``file://`` → a path), anything else → a path.

    Raises:
        UsageError: credentials in the URI, or ``.`` or ``..`` in it.
    """
    if not isinstance(text, str):
        return text
    scheme = _SCHEME.match(text)
    if scheme is None:
        return Path(text)
    rest, mark, query = text[scheme.end() :].partition("?")
    host, _, key = rest.partition("/")
    kind = scheme[1].lower()
    if kind == "file":
        return Path(url2pathname(f"/{key}"))
    user, at, _ = host.rpartition("@")
    if (at and (kind not in _CONTAINER or ":" in user)) or _SECRET.search(query):
        shown = f"{kind}://{host.rpartition('@')[2]}/{key}"
        raise UsageError(f"{shown}: no credentials in a URI, for it is written down; give them by the environment")
    parts = [part for part in unquote(key).split("/") if part]
    if {".", ".."} & set(parts):
        raise UsageError(f"{text}: a URI is taken as it is; write it without `.` and `..`")
    return Remote(f"{kind}://{host}", "/".join(parts), mark + query if query else "")


def is_uri(text: str) -> bool:
    return _SCHEME.match(text) is not None


def join(folder: Path | Remote, text: str) -> Path | Remote:
    """``text`` as a place: a URI or an absolute path as it is, anything else below ``folder``."""
    place = location(text)
    return place if isinstance(place, Remote) or place.is_absolute() else folder / text


def _stat(place: Remote, info: fs.FileInfo) -> Stat:
    if info.mtime_ns is None:
        raise StorageError(f"{place}: the storage doesn't say when it was changed; copy it to this machine")
    return Stat(info.size, info.mtime_ns)
