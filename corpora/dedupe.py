"""First seen wins."""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

from neglabel.corpora.text import normalise

Mode = Literal["text", "text+pos", "none"]


#: Buckets by the first 18 bits of a digest: at 20 million words each holds 76 digests, found by one search of bytes.
_BUCKETS = 1 << 18
_WIDTH = 16


def identity(text: str, pos: str, mode: Mode) -> str:
    """What makes a word distinct: its normalised text, under ``text+pos`` with its part of speech."""
    return f"{normalise(text)}\0{pos}" if mode == "text+pos" else normalise(text)


class Deduplicator:
    """Remembers normalised texts as 16-byte digests, 22 bytes a text (20 million: 0.44 GB).

    Two of 20 million different words share a 128-bit digest with probability below 1e-24.
    """

    def __init__(self, mode: Mode = "text") -> None:
        self.mode = mode
        self._buckets: list[bytearray | None] = [None] * _BUCKETS

    def is_new(self, text: str, pos: str = "") -> bool:
        """True the first time a text (with its part of speech, where the mode says so) is met."""
        return self.mode == "none" or self.add(identity(text, pos, self.mode))

    def add(self, key: str) -> bool:
        """True the first time ``key`` (an :func:`identity`) is met."""
        digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_WIDTH).digest()
        number = int.from_bytes(digest[:4], "little") % _BUCKETS
        bucket = self._buckets[number]
        if bucket is None:
            self._buckets[number] = bytearray(digest)
            return True
        place = bucket.find(digest)
        while place > 0 and place % _WIDTH:  # bytes of two neighbours, not a digest
            place = bucket.find(digest, place + 1)
        if place >= 0:
            return False
        bucket += digest
        return True
