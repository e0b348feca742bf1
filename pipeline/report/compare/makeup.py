"""What kinds of words the negatives are: part of speech, WordNet's field, language, length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neglabel.corpora.wordnet_data import reader
from neglabel.pipeline.report.read import Run

_LETTERS = {"noun": "n", "adjective": "a", "verb": "v", "adverb": "r"}
OTHER_LANGUAGE, NOT_THERE = "other language", "not in WordNet"
#: Synsets after which nltk's cache is emptied; it would grow to all of WordNet.
_FORGET = 1_024


@dataclass(frozen=True)
class Makeup:
    """Shares in percent of a run's negatives, largest first, and lengths (median, 90th percentile)."""

    run: str
    pos: dict[str, float]
    field: dict[str, float]
    language: dict[str, float]
    characters: tuple[float, float]
    #: Words between spaces; scripts without spaces count as one.
    words: tuple[float, float]
    #: Percent of negatives of more than one word.
    phrases: float


def makeup(run: Run) -> Makeup:
    """From the columns of ``negatives.parquet``; unknown where a column is missing or empty."""
    texts = _column(run, "text")
    poses, languages = _column(run, "pos"), _column(run, "language")
    fields = lexicographer_files(texts, poses, languages, _column(run, "source"), _column(run, "key"))
    characters, words = np.array([len(text) for text in texts]), np.array([len(text.split()) for text in texts])
    return Makeup(
        run.name, _shares(poses), _shares(fields), _shares(languages), _spread(characters), _spread(words),
        100 * float(np.mean(words > 1)),
    )  # fmt: skip


def lexicographer_files(
    texts: Sequence[str], poses: Sequence[str], languages: Sequence[str], sources: Sequence[str], keys: Sequence[str]
) -> list[str]:
    """WordNet's lexicographer file (``noun.artifact``) of each word.

    Words of WordNet: their own synset's, named in ``key``. Other words of English or of no known language: the first
    (most frequent) sense of the word, or of its base form, in that part of speech, else in any.
    """
    known: dict[tuple[str, str], str] = {}
    found = []
    for number, (text, pos, language, source, key) in enumerate(
        zip(texts, poses, languages, sources, keys, strict=True)
    ):
        name = _of_synset(key) if source.startswith("wordnet") and key else None
        if name is None and language.split("-")[0] not in ("", "en"):
            name = OTHER_LANGUAGE
        if name is None:
            word = text.strip().lower().replace(" ", "_")
            if (word, pos) not in known:
                known[word, pos] = _of_word(word, pos)
            name = known[word, pos]
        found.append(name)
        if known and number % _FORGET == 0:
            for synsets in getattr(reader(), "_synset_offset_cache", {}).values():
                synsets.clear()
    return found


def _of_synset(key: str) -> str | None:
    from nltk.corpus.reader.wordnet import WordNetError

    try:
        return str(reader().synset(key).lexname())
    except (WordNetError, ValueError, KeyError):
        return None  # of another version


def _of_word(word: str, pos: str) -> str:
    wordnet, letter = reader(), _LETTERS.get(pos)
    senses = (wordnet.synsets(word, letter) if letter else []) or wordnet.synsets(word)
    return str(senses[0].lexname()) if senses else NOT_THERE


def _column(run: Run, name: str) -> list[str]:
    values = run.negatives.column(name)
    return [""] * run.negatives.count if values is None else [str(value or "") for value in values]


def _shares(values: Sequence[str]) -> dict[str, float]:
    counts = Counter(value or "unknown" for value in values)
    return {value: 100 * count / len(values) for value, count in counts.most_common()}


def _spread(values: Any) -> tuple[float, float]:
    return float(np.median(values)), float(np.quantile(values, 0.9))
