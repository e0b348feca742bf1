"""Rows of MediaWiki's ``page`` table in a SQL dump, parsed as a stream.

A dump is what mysqldump writes: ``CREATE TABLE `page` (…)`` names the columns, and ``INSERT INTO `page` VALUES
(…),(…),…;`` lines of about a megabyte hold the rows. Only a window of the file is ever in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

CHUNK = 1 << 20
#: A row of ``page`` has some 150 bytes; one that hasn't ended after this many is no row.
MAX_ROW = 1 << 16

_COLUMN = re.compile(rb"\s+`(\w+)` ")
_INSERT = re.compile(rb"INSERT (?:IGNORE )?INTO `page` (?:\(([^()]*)\) )?VALUES\s*")
# Unrolled, so that text that is no row is given up in linear time.
_ROW = re.compile(rb"\(([^'()]*(?:'[^'\\]*(?:\\.[^'\\]*)*'[^'()]*)*)\)", re.DOTALL)
_FIELD = re.compile(rb"([^',]*(?:'[^'\\]*(?:\\.[^'\\]*)*'[^',]*)*)(?:,|\Z)", re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPED = {b"0": b"\0", b"b": b"\b", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"Z": b"\x1a"}


class Page(NamedTuple):
    """A row: ``title`` as stored (underscores), or None and the row itself where it can't be understood."""

    number: int
    title: bytes | None
    namespace: int = 0
    redirect: bool = False
    row: bytes = b""


class CutShort(ValueError):
    """The dump ends before its end; the message says where."""


class NoPages(ValueError):
    """The dump isn't one of the ``page`` table."""


def pages(stream: Any) -> Iterator[Page]:
    """The rows in order, numbered from 1.

    Raises:
        CutShort: the last statement has no end, or a dump with mysqldump's head lacks its last line.
        NoPages: no row, and no table ``page`` either.
    """
    window = _Window(stream)
    columns: list[bytes] = []
    number, table, has_head, last = 0, b"", False, b""
    while window.fill():
        if insert := window.match(_INSERT):
            names = [name.strip(b" `") for name in insert[1].split(b",")] if insert[1] else columns
            places = _places(names)
            for row in _values(window, number):
                number += 1
                yield _page(number, row, places)
            last = b""
            continue
        line = window.line()
        if line.startswith(b"CREATE TABLE "):
            table = line.partition(b"`")[2].partition(b"`")[0]
        elif table == b"page" and (column := _COLUMN.match(line)):
            columns.append(column[1])
        elif line.startswith(b")"):
            table = b""
        has_head = has_head or bool(re.match(rb"-- (?:MySQL|MariaDB) dump", line))
        last = line if line.strip() else last
    if has_head and not last.startswith(b"-- Dump completed"):
        raise CutShort(f"it lacks mysqldump's last line, after {number:,} rows")
    if not number and not columns:
        raise NoPages("it holds no table `page`")


def _places(names: list[bytes]) -> tuple[int, int, int]:
    try:
        return tuple(names.index(b"page_" + name) for name in (b"namespace", b"title", b"is_redirect"))  # type: ignore[return-value]
    except ValueError:
        raise NoPages("it names no columns page_namespace, page_title, page_is_redirect") from None


def _values(window: _Window, number: int) -> Iterator[bytes]:
    """What is between the parentheses of each row of a statement; of what is no row, its text up to the next."""
    while True:
        window.fill()
        if row := window.match(_ROW):
            number += 1
            yield row[1]
            continue
        ahead = window.ahead()
        if ahead[:1] in (b",", b"\n", b"\r", b" ", b";") and ahead:
            window.skip(1)
            if ahead[:1] == b";":
                return
        elif window.ended and b"\n" not in ahead and len(ahead) < MAX_ROW:
            raise CutShort(f"it is cut mid-statement, after {number:,} rows")
        else:
            # No row. On to the next one on this line, or to the next line, where a row may follow.
            ends = [at for at in (ahead.find(b"),(", 1), ahead.find(b"\n", 1)) if at >= 0]
            end = min(ends, default=len(ahead))
            number += 1
            yield ahead[:end]
            window.skip(end + ahead.startswith(b"),(", end))
            if ahead[end : end + 1] == b"\n":
                window.skip(1)
                if window.fill() and not window.ahead().startswith(b"("):
                    return


def _page(number: int, row: bytes, places: tuple[int, int, int]) -> Page:
    fields = [field[1].strip() for field in islice(_FIELD.finditer(row), max(places) + 1)]
    try:
        namespace, title, redirect = (fields[place] for place in places)
        if not (len(title) >= 2 and title.startswith(b"'") and title.endswith(b"'")):
            raise ValueError
        return Page(number, _unescape(title[1:-1]), int(namespace), int(redirect.strip(b"'")) != 0)
    except (ValueError, IndexError):
        return Page(number, None, row=row)


def _unescape(text: bytes) -> bytes:
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), text) if b"\\" in text else text


class _Window:
    """The next bytes of a stream: :data:`MAX_ROW` of them, fewer only at its end."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._buffer = b""
        self._at = 0
        self.ended = False

    def fill(self) -> bool:
        """Read on where less than a row is left; False at the end."""
        while len(self._buffer) - self._at < MAX_ROW and not self.ended:
            more = self._stream.read(CHUNK)
            self.ended = not more
            self._buffer, self._at = self._buffer[self._at :] + more, 0
        return self._at < len(self._buffer)

    def match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """``pattern`` at the window's start; what matches is gone past."""
        found = pattern.match(self._buffer, self._at, self._at + MAX_ROW)
        if found:
            self._at = found.end()
        return found

    def ahead(self) -> bytes:
        return self._buffer[self._at : self._at + MAX_ROW]

    def skip(self, size: int) -> None:
        self._at += size

    def line(self) -> bytes:
        """The line ahead, of a long one its first :data:`MAX_ROW` bytes; goes to the next line, however far it is."""
        end = self._buffer.find(b"\n", self._at, self._at + MAX_ROW)
        start = self._buffer[self._at : end] if end >= 0 else self.ahead()
        while end < 0:
            self._at = min(self._at + MAX_ROW, len(self._buffer))
            if not self.fill():
                return start
            end = self._buffer.find(b"\n", self._at, self._at + MAX_ROW)
        self._at = end + 1
        return start
