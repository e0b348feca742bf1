"""Rows of a CSV file of which one bad row costs its own line, not those after it."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

#: Lines that a quoted field may go on for. A quote that isn't closed by then is taken for a stray one.
MAX_LINES = 100


def csv_rows(lines: Iterable[str]) -> Iterator[tuple[int, list[str] | str]]:
    """Number of a row's last line (from 1), and its fields; or, of a row that can't be read, its line.

    A quoted field may hold line ends. A quote that no later one closes as the format asks (followed by a comma or
    the line's end) is its own line's fault: that line is the bad row, and reading goes on with the next.

    Args:
        lines: without their ends.
    """
    ahead: deque[str] = deque()
    source = iter(lines)
    number = 0
    while ahead or _fill(ahead, source, 1):
        line = ahead.popleft()
        number += 1
        fields, ends = _one_line(line)
        if not ends:
            _fill(ahead, source, MAX_LINES)
            fields, more = _several(line, ahead)
            for _ in range(more):
                ahead.popleft()
            number += more
        yield number, line if fields is None else fields


def _fill(ahead: deque[str], source: Iterator[str], lines: int) -> bool:
    """Looks ``lines`` ahead, or as far as there are any. False: there is none."""
    ahead.extend(islice(source, lines - len(ahead)))
    return bool(ahead)


def _one_line(line: str) -> tuple[list[str] | None, bool]:
    """Fields of a row, None for one that can't be read; and whether it ends with this line."""
    if '"' not in line:
        return line.split(",") if line else [], True
    ends = True

    def feed() -> Iterator[str]:
        nonlocal ends
        yield line + "\n"
        ends = False

    try:
        return next(csv.reader(feed()), []), ends
    except csv.Error:
        return None, ends


def _several(line: str, ahead: Iterable[str]) -> tuple[list[str] | None, int]:
    """Fields of a row that begins with ``line``, None where its quote isn't closed; and how many more lines it has."""
    used = 0

    def feed() -> Iterator[str]:
        nonlocal used
        yield line + "\n"
        for used, more in enumerate(ahead, 1):  # noqa: B007
            yield more + "\n"

    try:
        return next(csv.reader(feed(), strict=True)), used
    except (csv.Error, StopIteration):
        return None, 0
