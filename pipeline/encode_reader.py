"""The words of a run of `encode`, shard by shard: read in this process, or in one of its own where a GPU computes.

A GPU is through with a word before an interpreter has read it, and threads share one interpreter.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from neglabel import NeglabelError
from neglabel.corpora import Candidate, Spec
from neglabel.corpora.dedupe import Mode
from neglabel.corpora.draw import Draw, records
from neglabel.corpora.mixture import Mixture
from neglabel.pipeline.clock import Clock
from neglabel.pipeline.overlap import end_with
from neglabel.pipeline.plan import plan_shards
from neglabel.pipeline.prompts import Prompts
from neglabel.pipeline.shard_words import ShardWords, pack


@dataclass(frozen=True)
class Reading:
    """What is read, and into what shards: all that a process needs to read the same."""

    specs: tuple[Spec, ...]
    dedupe: Mode
    limit: int | None
    shard_rows: int
    templates: Mapping[str, str]


class Words:
    """The words of a run: iterated once, shard by shard; :meth:`records` when that has ended.

    Args:
        unfit: a reason not to take a word, beside those of the corpora; or None.
        sample: draw so many (with ``seed`` and ``weights``); ``watch`` is passed the numbers of words met meanwhile.
        apart: read in a process of its own. It can't be asked for with ``unfit`` or ``sample``: those are read here.
        clock: gets the seconds of ``read``.
    """

    def __init__(
        self, reading: Reading, clock: Clock, unfit: Callable[[Candidate], str | None] | None = None,
        sample: tuple[int, int, Sequence[float]] | None = None,
        watch: Callable[[Iterator[int]], Iterable[int]] = iter, apart: bool = False,
    ) -> None:  # fmt: skip
        self.reading, self.clock, self.watch = reading, clock, watch
        self.apart = apart and not unfit and not sample
        self._mixture = Mixture(list(reading.specs), reading.dedupe, unfit, reading.limit)
        self._draw = Draw(self._mixture, *sample) if sample else None
        self._records: list[dict[str, Any]] = []

    def __iter__(self) -> Generator[ShardWords, None, None]:
        if self.apart:
            return read_apart(self.reading, self._records, self.clock)
        plans = plan_shards(self._mixture, self.reading.shard_rows, self._draw, self.watch)
        prompts = Prompts(self.reading.templates)
        return self.clock.each("read", (pack(plan, prompts) for plan in plans))

    def warnings(self) -> list[str]:
        """A sentence for each corpus with fewer words than the sample asks for; known with the first shard."""
        return self._draw.warnings() if self._draw else []

    def records(self) -> list[dict[str, Any]]:
        """What became of each corpus's words."""
        return self._records if self.apart else records(self._mixture, self._draw)


def read_apart(reading: Reading, tallies: list[dict[str, Any]], clock: Clock) -> Generator[ShardWords, None, None]:
    """The shards of ``reading``, read one ahead in a process of its own.

    Args:
        tallies: at the end it holds the record of each corpus (:meth:`Tally.record`).
        clock: gets the seconds of reading, as the process counts them.

    Raises:
        UsageError, NeglabelError: what reading raises there, or that the process was killed.
    """
    from loky.backend import get_context  # starts processes without the caller's `__main__`

    context = get_context("loky")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(reading, theirs, os.getpid()), daemon=True)
    process.start()
    theirs.close()
    try:
        while True:
            try:
                sent, seconds = ours.recv()
            except EOFError:
                process.join()
                raise NeglabelError(
                    f"the process that reads the words ended (exit code {process.exitcode}); run it again to go on"
                ) from None
            clock.add(seconds)
            if isinstance(sent, Exception):
                raise sent
            if not isinstance(sent, ShardWords):
                tallies.extend(sent)
                return
            yield sent
    finally:
        process.terminate()
        process.join()
        ours.close()


def _serve(reading: Reading, pipe: Connection, parent: int) -> None:
    """The process: sends each shard, then the records of the corpora or what was raised; waits while one is unread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this process
    end_with(parent)
    words, before = Words(reading, Clock()), dict[str, float]()
    try:
        for shard in words:
            seconds, before = words.clock.since(before), dict(words.clock.seconds)
            pipe.send((shard, seconds))
        pipe.send((words.records(), {}))
    except Exception as error:
        pipe.send((error, {}))
