"""Corpora → shards of words. Pure planning: no model, no files written."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import Any

from neglabel import UsageError
from neglabel.corpora import Candidate, Rejection
from neglabel.corpora.draw import Draw
from neglabel.corpora.mixture import Mixture, spec_name
from neglabel.pipeline.spill import Spill

#: Rejections at which a shard ends.
MAX_REJECTED = 500_000
_pos, _source = (itemgetter(Candidate._fields.index(name)) for name in ("pos", "source"))
_reason = itemgetter(Rejection._fields.index("reason"))
_without_gloss = itemgetter(slice(Candidate._fields.index("gloss")))


@dataclass
class ShardPlan:
    """The words of one shard, in order, and what was met on the way that did not become a candidate."""

    words: list[Candidate] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)

    def digest(self) -> str:
        """SHA-256 over every field of words and rejections: two runs met the same corpus where it agrees.

        Glosses are left out: nothing that is encoded depends on them, and stores older than they are go on.
        """
        rows = map("\0".join, chain(map(_without_gloss, self.words), self.rejected))
        return hashlib.sha256("".join(f"{row}\n" for row in rows).encode("utf-8", "surrogatepass")).hexdigest()

    def counts(self) -> dict[str, Any]:
        return {
            "candidates": len(self.words),
            "by_pos": {pos or "unknown": n for pos, n in Counter(map(_pos, self.words)).items()},
            "by_source": dict(Counter(map(_source, self.words))),
            "rejected": dict(Counter(map(_reason, self.rejected))),
        }


def plan_shards(
    mixture: Mixture,
    shard_rows: int = 65_536,
    draw: Draw | None = None,
    watch: Callable[[Iterator[int]], Iterable[int]] = iter,
) -> Iterator[ShardPlan]:
    """The new words of ``mixture``, in order, cut into shards of ``shard_rows`` words; with ``draw`` those it draws.

    A shard also ends at :data:`MAX_REJECTED` rejections, whatever words it has, so that memory is bounded. A sample is
    known only when the stream has ended: ``watch`` is passed the numbers of words met until then, for progress.

    Raises:
        UsageError: the corpora hold no candidate at all.
    """
    rejected = Spill(MAX_REJECTED)
    if draw is None:
        stream = mixture.words(rejected.append)
    else:
        for _ in watch(draw.run(rejected.append)):
            pass
        stream = iter(draw.result())
    words: list[Candidate] = []
    total = 0
    for word in stream:
        if rejected.has_blocks:
            for block in rejected.blocks():
                yield ShardPlan(words, block)
                words = []
        elif len(words) == shard_rows:
            yield ShardPlan(words, rejected.rest())
            words = []
        words.append(word)
        total += 1
    if draw is None:
        mixture.all_drawn()
    if not total:
        raise no_words(mixture)
    for block in rejected.blocks():
        yield ShardPlan(words, block)
        words = []
    rest = rejected.rest()
    if words or rest:
        yield ShardPlan(words, rest)


def no_words(mixture: Mixture) -> UsageError:
    """What is raised where nothing came of the corpora, with the reasons."""
    reasons: Counter[str] = sum((tally.rejected for tally in mixture.tallies), Counter())
    why = f" ({', '.join(f'{n:,} {reason}' for reason, n in reasons.items())})" if reasons else ""
    return UsageError(f"no candidates in {spec_name(mixture.specs)}{why}; name a corpus with words")


def merge_counts(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts of shards → counts of the store."""
    total: dict[str, Any] = {"candidates": 0, "truncated": 0, "by_pos": {}, "by_source": {}, "rejected": {}}
    for part in parts:
        for key, value in part.items():
            if isinstance(value, dict):
                for name, n in value.items():
                    total[key][name] = total[key].get(name, 0) + n
            else:
                total[key] += value
    return total
