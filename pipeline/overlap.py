"""Steps that run at once: an iterator worked ahead in a thread, through a bounded queue."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, Full, Queue
from typing import Any, TypeVar

T = TypeVar("T")
_END = object()


def ahead(items: Iterable[T], depth: int = 1) -> Generator[T, None, None]:
    """The same items, made in a thread of their own, at most ``depth`` waiting and one in the making.

    What the iterator raises is raised here, in its place. Closed early, the thread stops after the item it is at.
    """
    queue: Queue[tuple[Any, BaseException | None]] = Queue(depth)
    stop = threading.Event()

    def put(item: Any, error: BaseException | None = None) -> None:
        while not stop.is_set():
            try:
                queue.put((item, error), timeout=0.1)
                return
            except Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    return
            put(_END)
        except BaseException as error:
            put(None, error)

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = queue.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stop.set()
        while True:
            try:
                queue.get_nowait()
            except Empty:
                break
        # A read that hangs (a pipe, a network drive) must not hold up Ctrl-C.
        thread.join(timeout=5)


def behind(work: Callable[[T], object], items: Iterable[Any], kind: type[T], depth: int = 1) -> Iterator[Any]:
    """Passes items through, but those of ``kind``: with them ``work`` is done, in order, in one thread behind.

    At most ``depth`` wait for that thread. However this ends, what was handed over is finished; what ``work`` raises is
    raised here.
    """
    pending: deque[Future[object]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="behind") as pool:
        for item in items:
            if isinstance(item, kind):
                pending.append(pool.submit(work, item))
            else:
                yield item
            while pending and (len(pending) > depth or pending[0].done()):
                pending.popleft().result()
        for future in pending:
            future.result()
