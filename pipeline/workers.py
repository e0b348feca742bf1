"""Work in threads: reading ahead, and blocks spread over the cores. Memory is bounded by what is on its way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(items: Iterable[T], depth: int = 2) -> Iterator[T]:
    """Pass ``items`` through, the next ``depth`` of them already taken by a thread of its own."""
    queue: Queue[tuple[bool, T | BaseException | None]] = Queue(depth)
    stop = Event()

    def put(more: bool, item: T | BaseException | None) -> None:
        while not stop.is_set():
            try:
                return queue.put((more, item), timeout=0.1)
            except Full:
                continue

    def take() -> None:
        try:
            for item in items:
                put(True, item)
                if stop.is_set():
                    return
            put(False, None)
        except BaseException as error:
            put(False, error)

    thread = Thread(target=take, daemon=True, name="neglabel-reader")
    thread.start()
    try:
        while True:
            try:
                more, item = queue.get(timeout=1)
            except Empty:
                continue  # a wait without end would not be woken by Ctrl-C everywhere
            if isinstance(item, BaseException):
                raise item
            if not more:
                return
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()


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
