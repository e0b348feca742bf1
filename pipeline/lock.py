"""One process writes one output: an operating system's lock on a file beside it, which a dead process doesn't hold.

Only for paths of this machine: object stores offer no such lock. A file that nobody has locked means nothing.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

from filelock import FileLock, Timeout

from neglabel import NeglabelError
from neglabel.corpora.uri import Location

#: Seconds to wait for another process to write a small file.
PATIENCE = 300.0
Stage = TypeVar("Stage", bound=Callable[..., dict[str, Any]])


def one_writer(outputs: Callable[..., Iterable[tuple[str, Location | None]]]) -> Callable[[Stage], Stage]:
    """Of a stage: refuse to run while another process writes one of its outputs.

    Args:
        outputs: the stage's own arguments → what it writes: how an error names it (``--out``), and where.
    """

    def decorate(stage: Stage) -> Stage:
        @functools.wraps(stage)
        def alone(*given: Any, **named: Any) -> dict[str, Any]:
            with ExitStack() as held:
                mine = set[Path]()  # that two options name one place is for the stage to refuse
                for option, place in outputs(*given, **named):
                    if isinstance(place, Path) and place.absolute() not in mine:
                        mine.add(place.absolute())
                        held.enter_context(writing(place, option))
                return stage(*given, **named)

        return cast(Stage, alone)

    return decorate


@contextmanager
def writing(place: Path, option: str) -> Iterator[None]:
    """Hold the lock of ``place``. Raises NeglabelError where another process has it, as ``option``."""
    try:
        with _held(place, 0):
            yield
    except Timeout:
        raise NeglabelError(
            f"{option} {place} is being written by another process; wait until it ends, or name another"
        ) from None


@contextmanager
def waiting(place: Location) -> Iterator[None]:
    """Hold the lock of ``place`` as soon as no other process does; of a URI there is none to hold.

    Raises NeglabelError after :data:`PATIENCE` seconds.
    """
    if not isinstance(place, Path):
        yield
        return
    try:
        with _held(place, PATIENCE):
            yield
    except Timeout:
        raise NeglabelError(f"{place} has been locked for {PATIENCE:g} s; end the process that holds it") from None


@contextmanager
def _held(place: Path, patience: float) -> Iterator[None]:
    path = place.absolute()
    made = [folder for folder in path.parents if not folder.exists()]
    file = path.with_name(f".{path.name}.lock")
    if not _can_make(file):
        yield  # beside an output in a folder that is not ours no file can be made; the stage says what else is wrong
        return
    lock = FileLock(file, timeout=patience)
    try:
        lock.acquire()
    except (OSError, NotImplementedError) as error:  # a file system without locks
        if isinstance(error, Timeout):
            raise
        yield
        return
    try:
        yield
    finally:
        # While it is held: who opened it before us and locks it after finds it without a name, and tries again.
        if os.name == "posix":
            file.unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):
            for folder in made:  # a stage that failed leaves no empty folders
                folder.rmdir()


def _can_make(file: Path) -> bool:
    # Asked here, for filelock takes a file that can't be made for one that is locked.
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o666))
    except OSError:
        return False
    return True
