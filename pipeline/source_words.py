"""How many candidates a source of words has, and how many each source of a comparison gets. No model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from neglabel import UsageError
from neglabel.corpora import Candidate, Spec, open_corpus
from neglabel.corpora.dedupe import Deduplicator, Mode
from neglabel.corpora.text import normalise
from neglabel.pipeline.progress import Reporter

_BLOCK = 8_192


@dataclass(frozen=True)
class Words:
    """A source's words: ``distinct``, and how many of them mining drops (ID names, excluded words)."""

    distinct: int
    dropped: int

    @property
    def candidates(self) -> int:
        return self.distinct - self.dropped


def count_words(
    specs: Sequence[Spec], dedupe: Mode, never: frozenset[str], name: str, reporter: Reporter
) -> Words:
    """Stream a source's corpora and count its words; no model.

    Args:
        dedupe: what makes a word distinct.
        never: normalised words that mining drops.
        name: of the source, for the progress.
    """
    seen, distinct, dropped = Deduplicator(dedupe), 0, 0
    stream = chain.from_iterable(open_corpus(spec) for spec in specs)
    for block in reporter.track(_blocks(stream), f"count {name}", unit="words"):
        for word in block:
            if seen.is_new(word.text, word.pos):
                distinct += 1
                dropped += normalise(word.text) in never
    return Words(distinct, dropped)


def candidates_each(words: Mapping[str, Words], asked: int | None, top: int) -> int:
    """N: as asked, else as many as every source has.

    Raises:
        UsageError: a source has none, or fewer than asked; or N is below M, so that nothing would be chosen.
    """
    for name, each in words.items():
        if not each.candidates:
            why = f": all of its {each.distinct:,} words are labels or excluded" if each.distinct else ""
            raise UsageError(f"[sources] {name} gives no candidate{why}; name a corpus with words")
    least = min(words, key=lambda name: words[name].candidates)
    most = words[least].candidates
    if asked is not None and asked > most:
        raise UsageError(
            f"source_candidates = {asked}, but [sources] {least} has {most:,} candidates; give {most} or less"
        )
    n = asked or most
    if top > n:
        reason = "source_candidates" if asked else f"the smallest source, {least}"
        raise UsageError(
            f"{top:,} negative labels can't be chosen from {n:,} candidates ({reason}); give [mine] top = a smaller "
            "number"
        )
    return n


def _blocks(words: Iterator[Candidate]) -> Iterator[list[Candidate]]:
    while block := list(islice(words, _BLOCK)):
        yield block
