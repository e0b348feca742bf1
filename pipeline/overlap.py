"""Steps that run at once: an iterator worked ahead in a thread, work left to one behind, and short turns for all."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_END = object()
#: Seconds a thread may keep the interpreter while others wait for it.
TURN = 2e-4


def ahead(items: Iterable[T], depth: int = 1) -> Generator[T, None, None]:
    """The same items, made in a thread of their own: at most ``depth`` are ready or in the making.

    What the iterator raises is raised here, in its place. Closed early, the thread stops after the item it is at.
    """
    made: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
    room, stop = threading.Semaphore(depth), threading.Event()

    def work() -> None:
        try:
            iterator = iter(items)
            while True:
                room.acquire()
                if stop.is_set():
                    return
                made.put((next(iterator, _END), None))
        except BaseException as error:
            made.put((None, error))

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item, error = made.get(timeout=1)
            except Empty:
                continue  # a wait without end would not be woken by Ctrl-C everywhere
            if error is not None:
                raise error
            if item is _END:
                return
            room.release()
            yield item
    finally:
        stop.set()
        room.release()
        # A read that hangs (a pipe, a network drive) must not hold up Ctrl-C.
        thread.join(timeout=5)


def behind(work: Callable[[T], object], items: Iterable[Any], kind: type[T]) -> Iterator[Any]:
    """Passes items through, but those of ``kind``: with them ``work`` is done, one after the other, in a thread behind.

    The next of them waits until the last is done. However this ends, what was handed over is finished; what ``work``
    raises is raised here, and nothing is worked on after that.
    """
    last: Future[object] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="behind") as pool:
        for item in items:
            if isinstance(item, kind):
                if last:
                    last.result()
                last = pool.submit(work, item)
            else:
                yield item
            if last and last.done():
                last.result()
        if last:
            last.result()


def spread(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[tuple[T, R]]:
    """``work`` on each of ``items`` in ``threads`` threads; pairs in the order of ``items``, one a thread waiting."""
    pending: deque[tuple[T, Future[R]]] = deque()
    with ThreadPoolExecutor(threads, "neglabel-worker") as pool:
        try:
            for item in items:
                pending.append((item, pool.submit(work, item)))
                if len(pending) > threads:
                    done, future = pending.popleft()
                    yield done, future.result()
            while pending:
                done, future = pending.popleft()
                yield done, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def short_turns() -> Iterator[None]:
    """Threads take turns of :data:`TURN` seconds, not of 5 ms.

    A thread that feeds a device gives the interpreter away at every launch, and would get it back only when a thread
    that reads or tokenises has used up its turn: a thousand launches then take seconds.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, TURN))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def end_with(parent: int) -> None:
    """End this process when ``parent``, its parent's id, is gone, killed: it would work on beside the next run."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent").start()
