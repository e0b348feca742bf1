"""The shards of a run of `encode`: which are to do, and doing them in this process, its steps at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from neglabel import UsageError
from neglabel.pipeline.clock import Clock
from neglabel.pipeline.overlap import ahead, behind, short_turns
from neglabel.pipeline.plan import ShardPlan
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.prompts import Prompts
from neglabel.pipeline.shards import Computed, ShardRecord, compute, flaw, prepare, write
from neglabel.pipeline.text_encoder import TextEncoder

#: Takes the number of a finished shard and its record.
Record = Callable[[int, ShardRecord], None]


def to_do(
    plans: Iterable[ShardPlan], done: Sequence[ShardRecord], folder: Path, reporter: Reporter
) -> Iterator[tuple[int, ShardPlan]]:
    """The shards that aren't finished, with their numbers: those of ``done`` that are whole are passed over.

    Raises:
        UsageError: the corpus gives other words than when a finished shard was encoded, or fewer.
    """
    done, number = list(done), -1
    for number, plan in enumerate(plans):
        if number < len(done):
            if done[number]["words_sha256"] != plan.digest():
                raise UsageError(
                    f"--out {folder}: the corpus gives other words for shard {number} than when it was encoded; "
                    "name a new folder"
                )
            problem = flaw(done[number], folder)
            if problem is None:
                continue
            reporter.warn(f"{folder}: {problem}; encoding that shard again")
        yield number, plan
    if number + 1 < len(done):
        raise UsageError(f"--out {folder}: the corpus has fewer words than when encoded; name a new folder")


def encode_here(
    shards: Iterable[tuple[int, ShardPlan]], folder: Path, encoder: TextEncoder, prompts: Prompts, storage: str,
    record: Record, clock: Clock,
) -> Iterator[int]:
    """Reads and tokenises the next shard, computes this one, and writes the last, at once; yields rows as computed.

    Three shards are in memory at most. Stopped or failed, what was computed is still written and recorded.
    """

    def finish(computed: Computed) -> None:
        record(computed.shard.number, write(computed, folder, clock))

    shards_ahead = ahead(prepare(number, plan, encoder, prompts, clock) for number, plan in shards)
    with short_turns(), closing(shards_ahead) as prepared:
        steps = (step for shard in prepared for step in compute(shard, encoder, storage, clock))
        yield from behind(finish, steps, Computed)
