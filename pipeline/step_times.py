"""Seconds by step of a stage, so that a bottleneck is seen."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class StepTimes:
    """Adds up wall seconds of the thread that the results wait for; what other threads do meanwhile isn't counted.

    Args:
        steps: their names, in the order in which they are shown; a step that isn't met stays 0.
    """

    def __init__(self, steps: Iterable[str]) -> None:
        self.seconds = dict.fromkeys(steps, 0.0)

    @contextmanager
    def spent_on(self, step: str) -> Iterator[None]:
        """What the block takes belongs to ``step``; also where it fails."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] += time.perf_counter() - start

    def since(self, before: dict[str, float]) -> dict[str, float]:
        """Seconds by step since ``before``, a copy of ``seconds`` taken then; in milliseconds' precision."""
        return {step: round(seconds - before[step], 3) for step, seconds in self.seconds.items()}
