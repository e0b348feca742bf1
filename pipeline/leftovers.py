"""Names of temporary files, and which of them a killed process left: only this machine's own dead are told."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from glob import escape
from pathlib import Path
from secrets import token_hex


def _here() -> str:
    """This machine, or container: its name and, on Linux, the numbering of its processes."""
    try:
        numbering = os.readlink("/proc/self/ns/pid")
    except OSError:
        numbering = ""
    return hashlib.sha256(f"{platform.node()} {numbering}".encode()).hexdigest()[:8]


_HERE = _here()
_NAME = re.compile(r"([0-9a-f]{8})-(\d+)-")


def temporary_name(name: str) -> str:
    """Of a file that becomes ``name``: hidden, and no other process's on any machine that shares the folder."""
    return f".{name}.{owner()}{token_hex(4)}.part"


def owner() -> str:
    """How a temporary name says whose it is."""
    return f"{_HERE}-{os.getpid()}-"


def is_left(said: str) -> bool:
    """Whether a name that goes on with :func:`owner` is of a process of this machine that is gone."""
    match = _NAME.match(said)
    return match is not None and match[1] == _HERE and not _is_alive(int(match[2]))


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove the temporary files that killed processes left in ``folder``; with ``name``, those of that file."""
    for path in folder.glob(f".{'*' if name is None else escape(name)}.*.part"):
        if is_left(path.name.split(".")[-2]):
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # another user's
    return True
