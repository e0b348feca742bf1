"""Titles for ``gpu.py``: as many distinct ones as asked for, from files of titles or from the packaged WordNet."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from neglabel.corpora import Candidate, open_corpus
from neglabel.corpora.text import defect, normalise

#: Words in a title: shares among Wikipedia's 49,946 English vital titles, the longest few put together.
WORDS = {1: 0.26, 2: 0.51, 3: 0.16, 4: 0.05, 5: 0.02}


def titles(count: int, files: Sequence[Path] = ()) -> tuple[list[str], str]:
    """``count`` distinct titles in a shuffled order, and a sentence that says how they were made.

    Files of titles are read first. What is missing is made of the words of those titles, or of WordNet's nouns: words
    drawn by their own frequencies, in as many as titles have, so that prompts begin alike as those of titles do.
    """
    distinct = {normalise(t): t for file in files for t in _read(file) if defect(t) is None}
    known = list(distinct.values())[:count]
    words = [w for title in known for w in title.split()]
    how = f"{len(known):,} titles of {', '.join(f.name for f in files)}" if known else ""
    if not words:
        nouns = (c.text for c in open_corpus("wordnet:pos=n") if isinstance(c, Candidate))
        words = [w.capitalize() for noun in nouns for w in noun.split() if defect(w) is None]
    dice, found = random.Random(0), {normalise(title): title for title in known}
    lengths, shares = list(WORDS), list(WORDS.values())
    while len(found) < count:
        # What is there already is no other title: the more are asked for, the fewer are of one word.
        title = " ".join(dice.choices(words, k=dice.choices(lengths, shares)[0]))
        found.setdefault(normalise(title), title)
    made = list(found.values())
    dice.shuffle(made)
    source = "words of these" if known else f"{len(set(words)):,} words of WordNet's nouns, by their frequencies"
    if len(known) < count:
        how += f"{' and ' if how else ''}{count - len(known):,} made of {source}"
    return made, how


def _read(file: Path) -> list[str]:
    return [line.strip().replace("_", " ") for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
