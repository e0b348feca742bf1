"""First seen wins."""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

from neglabel.corpora.text import normalise

Mode = Literal["text", "text+pos", "none"]


class Deduplicator:
    """Remembers normalised texts, as 16-byte digests.

    Two of 20 million different words share a 128-bit digest with probability below 1e-24.
    """

    def __init__(self, mode: Mode = "text") -> None:
        self.mode = mode
        self._seen: set[bytes] = set()

    def is_new(self, text: str, pos: str = "") -> bool:
        """True the first time a text (with its part of speech, where the mode says so) is met."""
        if self.mode == "none":
            return True
        key = normalise(text) + (f"\0{pos}" if self.mode == "text+pos" else "")
        digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if digest in self._seen:
            return False
        self._seen.add(digest)
        return True
