"""Words with Penn tags: the Kaggle list ``words_pos.csv`` that the paper samples, and any CSV of that shape."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Literal

from pydantic import Field

from neglabel import UsageError
from neglabel.corpora.candidate import Candidate, OnReject, Rejection
from neglabel.corpora.lines import DAMAGED, bare_name, damaged, lines, require_file
from neglabel.corpora.nltk_lookup import find, unreadable
from neglabel.corpora.spec import Names
from neglabel.corpora.spec import Options as _Options
from neglabel.corpora.uri import Location

LICENCE = "the list's own: see its page on Kaggle"
SOURCE = "Kaggle ruchi798/part-of-speech-tagging (words_pos.csv)"
TYPICAL_SIZE = "370,100 words (279,501 NN*, 39,572 JJ*)"
HOW_TO_GET = (
    "download words_pos.csv from kaggle.com/datasets/ruchi798/part-of-speech-tagging; for `tagger=nltk`: "
    "python -m nltk.downloader averaged_perceptron_tagger_eng"
)

#: Penn tags by their beginning → part of speech; other tags have none.
_POS = {"NN": "noun", "JJ": "adjective", "VB": "verb", "RB": "adverb"}
_TAGGER = "averaged_perceptron_tagger_eng"


class Options(_Options):
    """Options of the ``pos-tags`` corpus."""

    path: Location = Field(description="CSV (or .tsv) with a header; with a tagger also a plain list; .gz too")
    column: str = Field("word", description="column with the word")
    tag_column: str = Field("pos_tag", description="column with the Penn tag")
    tags: Names = Field(("NN*", "JJ*"), description="tags to keep, * for any ending: NN*+JJ*+VB; * alone for all")
    tagger: Literal["nltk"] | None = Field(None, description="nltk: tag the (English) words of a list without tags")
    language: str = Field("en", description="BCP 47 code of every word")


def check(options: Options) -> None:
    """Raises UsageError where the file, a column or the tagger's data is missing."""
    require_file(options.path)
    if options.tagger:
        _tagger()
    next(candidates(options, lambda rejection: None), None)


def expected(options: Options) -> int | None:
    """Not known without reading the file."""
    return None


def candidates(options: Options, on_reject: OnReject) -> Iterator[Candidate]:
    """Words whose tag is wanted; ``key`` is the line. Others are rejected as ``other-tag``."""
    source = options.path.name
    tag_of = _tagger() if options.tagger else None
    wanted: dict[str, bool] = {}
    try:
        for number, line, word, tag in _rows(options):
            if word is None or (tag is None and tag_of is None):
                on_reject(Rejection(line, "malformed-row", source, str(number)))
                continue
            if not word.strip():
                on_reject(Rejection(word, "empty", source, str(number)))
                continue
            tag = tag_of(word) if tag_of else str(tag).strip()
            if tag not in wanted:
                # Remembered: a list has few tags. A file of other things could have any number.
                wanted = wanted if len(wanted) < 1_000 else {}
                wanted[tag] = any(fnmatchcase(tag, pattern) for pattern in options.tags)
            if wanted[tag]:
                yield Candidate(word, _POS.get(tag[:2], ""), options.language, source, str(number))
            else:
                on_reject(Rejection(word, "other-tag", source, str(number)))
    except DAMAGED as error:
        raise damaged(options.path, error) from None


def _rows(options: Options) -> Iterator[tuple[int, str, str | None, str | None]]:
    """Line number, the line, its word and its tag; None where the line has none.

    A row is a line: words hold no line ends, so a stray quote can't swallow what follows it.
    """
    name = bare_name(options.path)
    if options.tagger and not name.endswith((".csv", ".tsv")):
        for number, line in enumerate(lines(options.path), 1):
            yield number, line, line, None
        return
    mark = "\t" if name.endswith(".tsv") else ","
    places: tuple[int, int | None] | None = None
    for number, line in enumerate(lines(options.path), 1):
        row = _fields(line, mark)
        if places is None:
            places = _places(options, row)
            continue
        word, tag = (row[at] if at is not None and at < len(row) else None for at in places)
        yield number, line, word, tag
    if places is None:
        _places(options, [])


def _fields(line: str, mark: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=mark), [])
    except csv.Error:
        return []


def _places(options: Options, header: list[str]) -> tuple[int, int | None]:
    names = [name.strip() for name in header]
    needed = [options.column] if options.tagger else [options.column, options.tag_column]
    for name in needed:
        if name not in names:
            shown = (there.encode("utf-8", "backslashreplace").decode()[:40] or "(unnamed)" for there in names[:20])
            remedy = "`column=NAME`"
            if name != options.column:
                remedy = "`tag_column=NAME`, or tag the words with `tagger=nltk`"
            raise UsageError(
                f"corpus file {options.path} has no `{name}` column (it has {', '.join(shown) or 'none'}); "
                f"say which with {remedy}"
            )
    return names.index(options.column), None if options.tagger else names.index(options.tag_column)


@cache
def _tagger() -> Callable[[str], str]:
    """nltk's tagger for one word (of several, the tag of the last). Raises where its data isn't there or is refused."""
    resource, _ = find([f"taggers/{_TAGGER}"], "pos-tags")
    try:
        from nltk.tag.perceptron import PerceptronTagger

        tagger: Any = PerceptronTagger()
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise unreadable(resource, "pos-tags", error) from None
    return lambda text: str(tagger.tag(text.split())[-1][1])
