"""Progress and notices on stderr: a live line on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")
#: Seconds between two plain lines where stderr is not a terminal.
PLAIN_INTERVAL = 10.0
#: Work shorter than this (seconds) gets no closing line.
SHORT = 1.0


class Reporter:
    """Where a stage says what it does. ``quiet`` silences everything but warnings."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.warnings: list[str] = []

    def say(self, text: str) -> None:
        if not self.quiet:
            self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """A warning is shown even when quiet, and kept for the stage's summary."""
        self.warnings.append(text)
        self.console.print(f"warning: {text}", markup=False)

    def track(
        self,
        blocks: Iterable[T],
        stage: str,
        total: int | None = None,
        unit: str = "rows",
        done: int = 0,
        size: Callable[[T], int] = len,  # type: ignore[assignment]
    ) -> Iterator[T]:
        """Pass ``blocks`` through, counting ``size(block)`` units of each towards ``total``.

        Args:
            done: units finished before this run, which count towards the total but not towards the rate.
        """
        start, counted, last = time.monotonic(), 0, time.monotonic()
        live = self.console.is_terminal and not self.quiet
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not live,
            transient=True,
        )
        with bar:
            task = bar.add_task(stage, total=total, completed=done, rate="")
            for block in blocks:
                yield block
                counted += size(block)
                elapsed = time.monotonic() - start
                rate = counted / max(elapsed, 1e-9)
                bar.update(task, completed=done + counted, rate=f"{rate:,.0f} {unit}/s")
                if not live and time.monotonic() - last > PLAIN_INTERVAL:
                    last = time.monotonic()
                    of = f" of {total:,}" if total else ""
                    eta = f", {max(total - done - counted, 0) / rate:.0f} s left" if total and rate else ""
                    self.say(f"{stage}: {done + counted:,}{of} {unit}, {rate:,.0f} {unit}/s{eta}")
        elapsed = time.monotonic() - start
        if elapsed < SHORT:
            return
        self.say(f"{stage}: {counted:,} {unit} in {elapsed:.1f} s ({counted / max(elapsed, 1e-9):,.0f} {unit}/s)")
