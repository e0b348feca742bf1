"""Corpora → shards of words. Pure planning: no model, no files written."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from neglabel import UsageError
from neglabel.corpora import Candidate, Rejection, Spec, open_corpus
from neglabel.corpora.dedupe import Deduplicator, Mode

#: Rejections that a shard holds before it ends.
MAX_REJECTED = 500_000
_GLOSS = Candidate._fields.index("gloss")


@dataclass
class ShardPlan:
    """The words of one shard, in order, and what was met on the way that did not become a candidate."""

    words: list[Candidate] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)

    def digest(self) -> str:
        """SHA-256 over every field of words and rejections: two runs met the same corpus where it agrees.

        Glosses are left out: nothing that is encoded depends on them, and stores older than they are go on.
        """
        result = hashlib.sha256()
        for row in (*(word[:_GLOSS] for word in self.words), *self.rejected):
            result.update("\0".join(row).encode("utf-8", "surrogatepass") + b"\n")
        return result.hexdigest()

    def counts(self) -> dict[str, Any]:
        return {
            "candidates": len(self.words),
            "by_pos": dict(Counter(word.pos or "unknown" for word in self.words)),
            "by_source": dict(Counter(word.source for word in self.words)),
            "rejected": dict(Counter(rejection.reason for rejection in self.rejected)),
        }


def plan_shards(
    specs: Sequence[Spec], dedupe: Mode = "text", shard_rows: int = 65_536, limit: int | None = None
) -> Iterator[ShardPlan]:
    """The stream of candidates of ``specs``, in order, cut into shards of ``shard_rows`` words.

    A shard also ends at :data:`MAX_REJECTED` rejections, whatever words it has, so that memory is bounded.
    A word met again (first seen wins, across corpora) is rejected as ``duplicate``.

    Raises:
        UsageError: the corpora hold no candidate at all.
    """
    seen = Deduplicator(dedupe)
    plan = ShardPlan()
    total = 0
    for spec in specs:
        # Late binding is meant: a rejection goes to the plan that is being filled when it is met.
        for word in open_corpus(spec, lambda rejection: plan.rejected.append(rejection)):  # noqa: B023
            if not seen.is_new(word.text, word.pos):
                plan.rejected.append(Rejection(word.text, "duplicate", word.source, word.key))
                if len(plan.rejected) >= MAX_REJECTED and total:
                    yield plan
                    plan = ShardPlan()
                continue
            if len(plan.words) == shard_rows or len(plan.rejected) >= MAX_REJECTED:
                yield plan
                plan = ShardPlan()
            plan.words.append(word)
            total += 1
            if total == limit:
                yield plan
                return
    if not total:
        reasons = Counter(rejection.reason for rejection in plan.rejected)
        why = f" ({', '.join(f'{n:,} {reason}' for reason, n in reasons.items())})" if reasons else ""
        raise UsageError(f"no candidates in {', '.join(map(str, specs))}{why}; name a corpus with words")
    yield plan


def merge_counts(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
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
