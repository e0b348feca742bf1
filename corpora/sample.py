"""A uniform sample of a stream of words, of unknown length, that depends on the words alone.

Every word has a priority: a keyed hash of what makes it distinct. The sample of n words is the n of lowest priority
(bottom-k sampling, a reservoir whose draws are the hash's: Cohen & Kaplan, "Summarizing Data using Bottom-k Sketches",
PODC 2007). So it is the same whatever the order or the chunks in which the words come; the sample of n is part of that
of n + 1; and where a few words are taken out of the stream, the others of the sample stay.
"""

from __future__ import annotations

import heapq
from hashlib import blake2b
from typing import Generic, Protocol, TypeVar

from neglabel.corpora.dedupe import Deduplicator, Mode, identity

#: Bytes of a priority: two of 20 million words share one with probability below 1e-24, so no tie is ever decided.
_WIDTH = 16


class Word(Protocol):
    """What can be drawn: a Candidate, or any tuple with a text and a part of speech."""

    @property
    def text(self) -> str: ...
    @property
    def pos(self) -> str: ...


W = TypeVar("W", bound=Word)


def priority(text: str, pos: str, seed: int, mode: Mode, occurrence: int = 0) -> int:
    """A word's place in the draw, a whole number of 128 bits; the n lowest of a stream are its sample.

    Args:
        text, pos: the word; texts that are equal when normalised are one word.
        seed: key of the hash, 0 or more.
        mode: what makes a word distinct (as in de-duplication): its text; with ``text+pos`` its part of speech too;
            with ``none`` every occurrence is one.
        occurrence: how often the text was met before, read under ``none`` only.
    """
    key = identity(text, pos, mode)
    return _hash(f"{key}\0{occurrence}" if mode == "none" else key, _key(seed))


def _key(seed: int) -> bytes:
    # blake2b takes keys of up to 64 bytes; every seed of 64 digits or fewer is its own key.
    return b"%d" % seed


def _hash(key: str, seed: bytes) -> int:
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_WIDTH, key=seed).digest()
    return int.from_bytes(digest, "big")


class Sample(Generic[W]):
    """Draws n of the words offered; memory for n words, about 0.5 kB each.

    Words must be distinct in the sense of ``mode``: put a Deduplicator before it. Under ``none`` the sample counts
    occurrences by itself (22 bytes for each distinct word offered, about 0.2 kB for each that came again).
    """

    def __init__(self, n: int, seed: int, mode: Mode = "text") -> None:
        if n < 0:
            raise ValueError("a sample holds no fewer than 0 words")
        self.n = n
        self.seed = seed
        self.mode: Mode = mode
        self.offered = 0
        self._seed = _key(seed)
        #: The n lowest priorities as a heap with the highest first: negated priority, place in the stream, word.
        self._kept: list[tuple[int, int, W]] = []
        self._met = Deduplicator()
        self._again: dict[str, int] = {}

    def offer(self, word: W, key: str | None = None) -> None:
        """Let ``word`` take part in the draw; ``key`` is its :func:`~neglabel.corpora.dedupe.identity`, where known."""
        if key is None:
            key = identity(word.text, word.pos, self.mode)
        if self.mode == "none":
            key = f"{key}\0{self._occurrence(key)}"
        low = -_hash(key, self._seed)
        if len(self._kept) < self.n:
            heapq.heappush(self._kept, (low, self.offered, word))
        elif self._kept and low > self._kept[0][0]:
            heapq.heapreplace(self._kept, (low, self.offered, word))
        self.offered += 1

    def result(self) -> list[W]:
        """The words drawn, in the order in which they were offered; all of them where fewer than n were."""
        return [word for _, word in self.drawn()]

    def drawn(self) -> list[tuple[int, W]]:
        """As :meth:`result`, each with its number (from 0) among the words offered."""
        return [(place, word) for _, place, word in sorted(self._kept, key=lambda kept: kept[1])]

    def _occurrence(self, key: str) -> int:
        """How often this word was met before."""
        if self._met.add(key):
            return 0
        self._again[key] = self._again.get(key, 0) + 1
        return self._again[key]
