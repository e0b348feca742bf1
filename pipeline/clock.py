"""Seconds spent in each step of a stage, so that a bottleneck is seen where steps run at once."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Clock:
    """Busy seconds by step, as their own threads count them; waiting for another step isn't busy.

    Steps that share an interpreter also wait for each other there, which counts: shares are upper bounds.

    Args:
        steps: their names, in the order in which they are shown; others are added as they are met.
    """

    def __init__(self, steps: Iterable[str] = ()) -> None:
        self.seconds = dict.fromkeys(steps, 0.0)

    @contextmanager
    def busy(self, step: str) -> Iterator[None]:
        """Counts the block's time under ``step``; also where it fails."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add({step: time.perf_counter() - start})

    def each(self, step: str, items: Iterable[T]) -> Generator[T, None, None]:
        """Passes ``items`` through and counts what it takes to make them, not what is done with them."""
        iterator = iter(items)
        while True:
            start = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self.add({step: time.perf_counter() - start})
            yield item

    def add(self, seconds: Mapping[str, float]) -> None:
        """More seconds of some steps, as another process counted them."""
        for step, more in seconds.items():
            self.seconds[step] = self.seconds.get(step, 0.0) + more

    def since(self, before: Mapping[str, float]) -> dict[str, float]:
        """Seconds by step since ``before``, a copy of ``seconds`` taken then; in milliseconds' precision."""
        return {step: round(seconds - before.get(step, 0.0), 3) for step, seconds in self.seconds.items()}


def shares(seconds: Mapping[str, float]) -> str:
    """``read 4 %, compute 93 %`` of ``seconds["wall"]``, or of their sum, as summaries and pages say it."""
    wall = max(seconds.get("wall") or sum(seconds.values()), 1e-9)
    return ", ".join(f"{step} {100 * busy / wall:.0f} %" for step, busy in seconds.items() if step != "wall")
