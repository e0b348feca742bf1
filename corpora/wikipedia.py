"""Titles of Wikipedia articles: a dump of titles, the SQL dump of the ``page`` table, or the hub's data set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from neglabel import NeglabelError, UsageError
from neglabel.corpora import hub
from neglabel.corpora.candidate import Candidate, OnReject, Rejection
from neglabel.corpora.languages import of_dump, of_wikipedia
from neglabel.corpora.lines import DAMAGED, bare_name, damaged, lines, open_bytes, require_file
from neglabel.corpora.spec import Options as _Options
from neglabel.corpora.sql_dump import CutShort, NoPages, pages
from neglabel.corpora.titles import is_date, is_list, is_number, without_suffix
from neglabel.corpora.uri import Location, Remote

LICENCE = "CC BY-SA 4.0 (Wikipedia's text)"
SOURCE = "Wikipedia, https://dumps.wikimedia.org; https://huggingface.co/datasets/wikimedia/wikipedia"
TYPICAL_SIZE = "English: 18 million titles with redirects (100 MB gz), 7 million articles; French: 2.7 million articles"
HOW_TO_GET = (
    "dumps.wikimedia.org/LANGwiki/latest/LANGwiki-latest-all-titles-in-ns0.gz, or …-page.sql.gz (no redirects); "
    "without `path` the hub's data set is streamed"
)

DATASET = "wikimedia/wikipedia"
Keep = Literal["keep", "drop"]


class Options(_Options):
    """Options of the ``wikipedia`` corpus."""

    path: Location | None = Field(
        None, description="dump (titles, or page.sql; .gz too), or folder of the data set; else the hub's is streamed"
    )
    format: Literal["titles", "sql"] | None = Field(
        None, description="of the dump; by default sql where it is named *.sql, else titles"
    )
    language: str = Field(
        "", description="BCP 47 code of every title; by default as the dump is named; for the hub: the edition, fr"
    )
    date: str = Field("20231101", description="dump date of the hub's data set")
    revision: str | None = Field(None, description="commit or tag of the hub's data set; recorded as resolved")
    disambiguation: Literal["keep", "drop", "strip"] = Field(
        "keep", description="titles like `Mercury (planet)`: keep, drop, or strip the parenthesis"
    )
    lists: Keep = Field("keep", description="keep or drop titles like `List of birds`")
    numbers: Keep = Field("keep", description="keep or drop pure numbers")
    dates: Keep = Field("keep", description="keep or drop dates, years with an era, decades, centuries")
    max_chars: int | None = Field(None, ge=1, description="drop titles of more characters")
    max_words: int | None = Field(None, ge=1, description="drop titles of more words (parts between spaces)")


def check(options: Options) -> None:
    """Raises UsageError for a missing file or edition, NeglabelError for one that can't be read."""
    if options.path is None or options.path.is_dir():
        if options.path is None and not options.language:
            raise UsageError("corpus wikipedia needs `path` of a dump, or the `language` of an edition on the hub")
        hub.require_column(_hub(options), "title")
        return
    require_file(options.path)
    next(candidates(options, lambda rejection: None), None)


def expected(options: Options) -> int | None:
    """Not known without reading the dump."""
    return None


def provenance(options: Options) -> dict[str, Any]:
    """The dump's name, or the hub's data set with its revision."""
    if options.path is None or options.path.is_dir():
        return hub.provenance(_hub(options))
    return {"dump": options.path.name}


def candidates(options: Options, on_reject: OnReject) -> Iterator[Candidate]:
    """A candidate a title, underscores as spaces; ``key`` is the line or row, from 1.

    Reasons of rejections: ``disambiguation``, ``list``, ``number``, ``date``, ``too-long``, ``header`` (the first line
    of a dump of titles) and ``malformed-row``. Of a SQL dump, pages of other namespaces and redirects are passed over:
    they are no articles. (A dump of titles holds redirects too, and doesn't say which they are.)
    """
    if options.path is None or options.path.is_dir():
        found = _of_hub(options)
        language = of_wikipedia(options.language)
        source = f"wikipedia-{options.date}.{options.language}" if options.path is None else options.path.name
    else:
        name = bare_name(options.path)
        sql = options.format == "sql" or (options.format is None and name.endswith(".sql"))
        found = _of_sql(options.path) if sql else _of_titles(options.path)
        language, source = options.language or of_dump(name), options.path.name
    for key, title, row in found:
        if title is None or (key == "1" and row == "page_title"):
            on_reject(Rejection(row, "malformed-row" if title is None else "header", source, key))
            continue
        title = title.replace("_", " ")
        text = title if options.disambiguation == "keep" else without_suffix(title)
        reason = _unwanted(options, title, text)
        if reason:
            on_reject(Rejection(title, reason, source, key))
        else:
            yield Candidate(text, "", language, source, key)


def _unwanted(options: Options, title: str, text: str) -> str | None:
    if options.disambiguation == "drop" and text != title:
        return "disambiguation"
    if options.lists == "drop" and is_list(text):
        return "list"
    if options.numbers == "drop" and is_number(text):
        return "number"
    if options.dates == "drop" and is_date(text):
        return "date"
    if options.max_chars is not None and len(text) > options.max_chars:
        return "too-long"
    return "too-long" if options.max_words is not None and len(text.split()) > options.max_words else None


#: Key; title, None where the row has none; the row as a rejection shows it.
_Found = Iterator[tuple[str, str | None, str]]


def _of_titles(path: Location) -> _Found:
    try:
        for number, line in enumerate(lines(path), 1):
            yield str(number), line, line
    except DAMAGED as error:
        raise damaged(path, error) from None


def _of_sql(path: Location) -> _Found:
    try:
        with open_bytes(path) as stream:
            for page in pages(stream):
                if page.title is None:
                    yield str(page.number), None, page.row[:200].decode("utf-8", "surrogateescape")
                elif page.namespace == 0 and not page.redirect:
                    yield str(page.number), page.title.decode("utf-8", "surrogateescape"), ""
    except (CutShort, NoPages) as error:
        remedy = "get it again" if isinstance(error, CutShort) else "name the …-page.sql dump"
        raise NeglabelError(f"corpus file {path} can't be read to its end: {error}; {remedy}") from None
    except DAMAGED as error:
        raise damaged(path, error) from None


def _hub(options: Options) -> hub.DataSet:
    if isinstance(options.path, Remote):
        raise UsageError(f"{options.path} is a folder; `datasets` reads those of this machine: copy it, or name a dump")
    if options.path is not None:
        return hub.DataSet("wikipedia", None, options.path, None, "train", None)
    return hub.DataSet("wikipedia", DATASET, None, f"{options.date}.{options.language}", "train", options.revision)


def _of_hub(options: Options) -> _Found:
    for number, row in enumerate(hub.rows(_hub(options), ("title",), "title"), 1):
        title = row.get("title")
        yield str(number), title if isinstance(title, str) else None, "" if title is None else str(title)[:200]
