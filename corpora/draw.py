"""A sample of several corpora: of their union, or of each by its weight."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

from neglabel.corpora import Candidate, OnReject
from neglabel.corpora.mixture import UNKNOWN, Mixture, spec_name
from neglabel.corpora.sample import Sample

#: New words between two signs of progress.
STEP = 10_000


class Draw:
    """A sample of a mixture: of the union, or of each corpus by its weight.

    With weights, corpus *i* gives its share of ``n`` (:func:`shares`) of the words that are new there; where it has
    fewer it gives what it has, and the others give no more.
    """

    def __init__(self, mixture: Mixture, n: int, seed: int, weights: Sequence[float] | None = None) -> None:
        self.mixture = mixture
        self.n = n
        self.asked = shares(n, weights) if weights else None
        sizes = self.asked or [n]
        self._samples: list[Sample[Candidate]] = [Sample(size, seed, mixture.dedupe) for size in sizes]

    def run(self, on_reject: OnReject, each: Callable[[Candidate], None] | None = None) -> Iterator[int]:
        """Stream the words through the draw; yields how many were met since the last time.

        Args:
            each: called for every new word, drawn or not.
        """
        mixture, met = self.mixture, 0
        samples = self._samples if self.asked else self._samples * len(mixture.specs)
        for number, word in enumerate(mixture.words(on_reject), 1):
            samples[mixture.at].offer(word, mixture.key)
            if each:
                each(word)
            if number % STEP == 0:
                now = mixture.met()
                yield now - met
                met = now
        yield mixture.met() - met
        if self.asked:
            for tally, sample in zip(mixture.tallies, self._samples, strict=True):
                tally.drawn = Counter(word.pos or UNKNOWN for word in sample.result())
            return
        # A word's place in the stream says which corpus it was new in.
        ends, end = [], 0
        for tally in mixture.tallies:
            end += tally.new.total()
            ends.append(end)
        for place, word in self._samples[0].drawn():
            mixture.tallies[bisect.bisect_right(ends, place)].drawn[word.pos or UNKNOWN] += 1

    def result(self) -> list[Candidate]:
        """The words drawn, in the order of the stream."""
        return [word for sample in self._samples for word in sample.result()]

    def warnings(self) -> list[str]:
        """A sentence for each corpus, or for all of them, with fewer words than asked."""
        tallies = self.mixture.tallies
        if self.asked is None:
            there = sum(tally.new.total() for tally in tallies)
            if there >= self.n:
                return []
            name = spec_name(self.mixture.specs)
            return [f"{name} has {there:,} words, not the {self.n:,} of --sample; all are taken"]
        return [
            f"{spec_name([spec])} has {tally.new.total():,} new words, not the {asked:,} of its weight; all are taken"
            for spec, tally, asked in zip(self.mixture.specs, tallies, self.asked, strict=True)
            if tally.new.total() < asked
        ]


def shares(n: int, weights: Sequence[float]) -> list[int]:
    """``n`` split by ``weights`` into whole numbers that sum to ``n``: the method of largest remainders.

    Exact (fractions, no rounding); equal remainders go to the corpus named first.
    """
    exact = [Fraction(weight) for weight in weights]
    ideal = [n * weight / sum(exact) for weight in exact]
    whole = [int(part) for part in ideal]
    order = sorted(range(len(whole)), key=lambda i: (whole[i] - ideal[i], i))
    for i in order[: n - sum(whole)]:
        whole[i] += 1
    return whole


def silent(words: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A sentence for each corpus of :func:`records` that gave nothing, which a mistyped option may mean."""
    for record in words:
        if not record["new"]:
            rejected = sum(record["rejected"].values())
            yield (
                f"{record['corpus']} gives no new word ({record['met']:,} met, {rejected:,} rejected, "
                f"{record['duplicate']:,} duplicates); leave it out, or look at its options"
            )


def records(mixture: Mixture, draw: Draw | None = None) -> list[dict[str, Any]]:
    """The tallies, one a corpus, with its name and how many words its weight asks for (None without weights)."""
    asked: Sequence[int | None] = (draw.asked if draw else None) or [None] * len(mixture.specs)
    return [
        {"corpus": spec_name([spec]), "asked": part, **tally.record()}
        for spec, part, tally in zip(mixture.specs, asked, mixture.tallies, strict=True)
    ]
