"""The shards of a run of `encode`: which are to do, and doing them in this process, its steps at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

from neglabel import UsageError
from neglabel.corpora.uri import Location
from neglabel.pipeline.clock import Clock
from neglabel.pipeline.encode_manifest import recorded, save
from neglabel.pipeline.overlap import ahead, behind, short_turns
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.shard_words import ShardWords
from neglabel.pipeline.shards import Computed, ShardRecord, compute, flaw, prepare, write
from neglabel.pipeline.text_encoder import TextEncoder

#: Takes the number of a finished shard and its record.
Record = Callable[[int, ShardRecord], None]


def to_do(
    words: Iterable[ShardWords], manifest: dict[str, Any], folder: Location, reporter: Reporter
) -> Iterator[tuple[int, ShardWords]]:
    """The shards that aren't finished, with their numbers: those of ``manifest`` that are whole are passed over.

    A part (``--shard-of``) takes its own alone; at the end it notes a digest of all words (``stream``), by which
    ``mine`` knows that the parts are of one stream. A store is not complete while one of its shards is to do.

    Raises:
        UsageError: the corpus gives other words than when a finished shard was encoded, or fewer.
    """
    done, number = dict(recorded(manifest)), -1
    first, step = manifest.get("part") or (0, 1)
    stream = hashlib.sha256()
    for number, shard in enumerate(words):
        stream.update(shard.digest.encode())
        if number % step != first:
            continue
        if number in done:
            if done[number]["words_sha256"] != shard.digest:
                raise UsageError(
                    f"--out {folder}: the corpus gives other words for shard {number} than when it was encoded; "
                    "name a new folder"
                )
            problem = flaw(done[number], folder)
            if problem is None:
                continue
            reporter.warn(f"{folder}: {problem}; encoding that shard again")
        if manifest.get("complete"):
            manifest["complete"] = False
            save(folder, manifest)
        yield number, shard
    if number < max(done, default=-1):
        raise UsageError(f"--out {folder}: the corpus has fewer words than when encoded; name a new folder")
    if manifest.get("part") and manifest.get("stream") != stream.hexdigest():
        manifest.update(stream=stream.hexdigest(), complete=False)


def encode_here(
    shards: Iterable[tuple[int, ShardWords]], folder: Location, encoder: TextEncoder, storage: str, record: Record,
    clock: Clock,
) -> Iterator[int]:
    """Reads and tokenises the next shard, computes this one, and writes the last, at once; yields rows as computed.

    Three shards are in memory at most. Stopped or failed, what was computed is still written and recorded.
    """

    def finish(computed: Computed) -> None:
        record(computed.prepared.number, write(computed, folder, clock))

    shards_ahead = ahead(prepare(number, shard, encoder, clock) for number, shard in shards)
    with short_turns(), closing(shards_ahead) as each:
        steps = (step for prepared in each for step in compute(prepared, encoder, storage, clock))
        yield from behind(finish, steps, Computed)
