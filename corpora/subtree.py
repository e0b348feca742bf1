"""Which synsets of WordNet an option keeps: a subtree (``domain``), a range of depths (``depth``)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator

from neglabel import UsageError


class Range(NamedTuple):
    """From ``low`` to ``high``, both included; no end where ``high`` is None."""

    low: int = 0
    high: int | None = None

    @property
    def limits(self) -> bool:
        """Whether anything is outside."""
        return self.low > 0 or self.high is not None

    def __str__(self) -> str:
        return f"{self.low}-{'' if self.high is None else self.high}"


def _range(value: Any) -> Any:
    """``3-7``, ``3-``, ``-7``, ``5``; a number or a list of two in TOML."""
    if isinstance(value, Range):
        return value
    parts = value if isinstance(value, (list, tuple)) and len(value) == 2 else re.split("-", str(value).strip())
    ends = [str(part).strip() for part in parts]
    if len(ends) > 2 or not all(re.fullmatch(r"\d{0,4}", end, re.ASCII) for end in ends) or not any(ends):
        raise ValueError("is MIN-MAX, MIN-, -MAX or one number")
    low, high = (ends[0], ends[-1]) if len(ends) == 2 else (ends[0], ends[0])
    found = Range(int(low or 0), int(high) if high else None)
    if found.high is not None and found.high < found.low:
        raise ValueError(f"ends before it begins ({found})")
    return found


Depth = Annotated[Range, BeforeValidator(_range)]


class Lineage:
    """Decides by the hypernyms of a synset whether it is kept.

    The depth of a synset is the length of the shortest way up to a synset without hypernyms, which has 0 (nltk's
    ``min_depth``); adjectives and adverbs have no hypernyms. WordNet's verbs hold a circle, so what was seen on the
    way up isn't gone through again.

    Raises:
        UsageError: there is no such synset.
    """

    def __init__(self, wordnet: Any, domain: Sequence[str], depth: Range) -> None:
        self._depth = depth
        self._domain = {_key(_synset(wordnet, name)) for name in domain}
        #: Of synsets asked about before: inside the domain, depth. Some ten megabytes for all of WordNet.
        self._known: dict[_Key, tuple[bool, int | None]] = {}

    def holds(self, synset: Any) -> bool:
        if not self._domain and not self._depth.limits:
            return True
        inside, steps = self._known[_key(synset)] = self._about(synset)
        if not self._depth.limits:
            return inside
        low, high = self._depth
        return (inside or not self._domain) and steps is not None and low <= steps and (high is None or steps <= high)

    def _about(self, synset: Any) -> tuple[bool, int | None]:
        """Level by level upwards; what is known of an ancestor isn't walked again."""
        inside, ways = False, []
        level, seen, up = [synset], {_key(synset)}, 0
        while level:
            above = []
            for one in level:
                inside = inside or _key(one) in self._domain
                if known := self._known.get(_key(one)):
                    inside = inside or known[0]
                    ways += [] if known[1] is None else [up + known[1]]
                    continue
                parents = one.hypernyms() + one.instance_hypernyms()
                ways += [] if parents else [up]
                above += [parent for parent in parents if _key(parent) not in seen]
                seen.update(map(_key, parents))
            level, up = above, up + 1
        return inside, min(ways, default=None)


_Key = tuple[str, int]


def _key(synset: Any) -> _Key:
    return synset.pos(), synset.offset()


def _synset(wordnet: Any, name: str) -> Any:
    from nltk.corpus.reader.wordnet import WordNetError

    try:
        return wordnet.synset(name)
    except (WordNetError, ValueError, KeyError, IndexError):
        raise UsageError(f"corpus wordnet: no synset `{name}`; write it as WordNet names it: artifact.n.01") from None
