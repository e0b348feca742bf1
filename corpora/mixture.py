"""Several corpora as one stream of words: first seen wins, and everything is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from neglabel.corpora import Candidate, OnReject, Rejection, Spec, open_corpus
from neglabel.corpora.dedupe import Deduplicator, Mode, identity

#: Part of speech of words whose source has none.
UNKNOWN = "unknown"


@dataclass
class Tally:
    """What became of one corpus's words: ``met`` = rejected + duplicate + new; ``drawn`` of the new ones.

    Attributes:
        rejected: by reason, without duplicates.
        duplicate: words met before, here or in a corpus named earlier.
        new, drawn: words by part of speech (``unknown`` where a source has none); all new words are drawn where
            there is no sample.
    """

    rejected: Counter[str] = field(default_factory=Counter)
    duplicate: int = 0
    new: Counter[str] = field(default_factory=Counter)
    drawn: Counter[str] = field(default_factory=Counter)

    @property
    def met(self) -> int:
        return self.rejected.total() + self.duplicate + self.new.total()

    def record(self) -> dict[str, Any]:
        """The tally as files and summaries have it."""
        return {
            "met": self.met,
            "rejected": dict(self.rejected),
            "duplicate": self.duplicate,
            "new": self.new.total(),
            "drawn": self.drawn.total(),
            "new_by_pos": dict(self.new),
            "drawn_by_pos": dict(self.drawn),
        }


class Mixture:
    """The union of corpora in the order given.

    Args:
        dedupe: what makes a word distinct.
        unfit: a reason not to take a word, beside those of the corpora; or None.
        limit: stop after so many new words.
    """

    def __init__(
        self,
        specs: Sequence[Spec],
        dedupe: Mode = "text",
        unfit: Callable[[Candidate], str | None] | None = None,
        limit: int | None = None,
    ) -> None:
        self.specs = list(specs)
        self.dedupe: Mode = dedupe
        self.unfit = unfit
        self.limit = limit
        self.tallies = [Tally() for _ in self.specs]
        #: Number of the corpus that the last word came from.
        self.at = 0
        #: What made the last word distinct.
        self.key = ""

    def words(self, on_reject: OnReject) -> Iterator[Candidate]:
        """The new words in order; ``on_reject`` gets what else is met, words met before as ``duplicate``."""
        seen, every = Deduplicator(), self.dedupe == "none"
        left = self.limit
        for number, spec in enumerate(self.specs):
            self.at = number
            tally = self.tallies[number]
            reject = _counting(tally.rejected, on_reject)
            new = tally.new
            for word in open_corpus(spec, reject):
                reason = self.unfit(word) if self.unfit else None
                if reason:
                    reject(Rejection(word.text, reason, word.source, word.key))
                    continue
                self.key = key = identity(word.text, word.pos, self.dedupe)
                if every or seen.add(key):
                    new[word.pos or UNKNOWN] += 1
                    yield word
                    if left is not None:
                        left -= 1
                        if not left:
                            return
                else:
                    tally.duplicate += 1
                    on_reject(Rejection(word.text, "duplicate", word.source, word.key))

    def met(self) -> int:
        """Words met so far."""
        return sum(tally.met for tally in self.tallies)

    def all_drawn(self) -> None:
        """Without a sample, every new word is one of the result."""
        for tally in self.tallies:
            tally.drawn = Counter(tally.new)


def spec_name(specs: Sequence[Spec]) -> str:
    """Specs as people write them."""
    return ", ".join(
        spec if isinstance(spec, str)
        else f"{spec.get('name', 'file')}:" + ",".join(f"{k}={_written(v)}" for k, v in spec.items() if k != "name")
        for spec in specs
    )  # fmt: skip


def _written(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _counting(counter: Counter[str], on_reject: OnReject) -> OnReject:
    def reject(rejection: Rejection) -> None:
        counter[rejection.reason] += 1
        on_reject(rejection)

    return reject
