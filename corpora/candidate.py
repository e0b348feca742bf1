"""What a corpus gives: candidates, and words it could not make one of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

#: Parts of speech as one letter (WordNet's) and as written in files.
POS_NAMES = {"n": "noun", "a": "adjective", "v": "verb", "r": "adverb"}
POS = tuple(POS_NAMES.values())


class Candidate(NamedTuple):
    """A word that may become a negative label.

    Attributes:
        text: the word as its source has it.
        pos: one of :data:`POS`, or empty.
        language: BCP 47 code, or empty.
        source: the corpus it comes from.
        key: where in the source: a synset, a line number.
        gloss: what the word means, where its source says; it is kept beside the word and never encoded.
    """

    text: str
    pos: str = ""
    language: str = ""
    source: str = ""
    key: str = ""
    gloss: str = ""


class Rejection(NamedTuple):
    """A word that did not become a candidate, and why."""

    text: str
    reason: str
    source: str = ""
    key: str = ""


#: An adapter calls this for what it can't turn into a candidate.
OnReject = Callable[[Rejection], None]
