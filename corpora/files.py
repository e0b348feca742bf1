"""Words of a file: text (one a line), CSV, TSV, JSON Lines, Parquet; also gzip or zstd."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from neglabel import UsageError
from neglabel.corpora.candidate import POS, POS_NAMES, Candidate, OnReject, Rejection
from neglabel.corpora.csv_rows import csv_rows
from neglabel.corpora.lines import DAMAGED, REQUEST, bare_name, damaged, lines, require_file
from neglabel.corpora.parquet_bounds import flaw
from neglabel.corpora.spec import Options as _Options
from neglabel.corpora.uri import Location, Remote

LICENCE = "the file's own"
SOURCE = "a file of yours"
TYPICAL_SIZE = "any; streamed"
HOW_TO_GET = "name the file's path"

FORMATS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


class Options(_Options):
    """Options of the ``file`` corpus."""

    path: Location = Field(description="the file; `.gz` and `.zst` are read as they are")
    format: Literal["text", "csv", "tsv", "jsonl", "parquet"] | None = Field(
        None, description="by the file's ending where not given; anything unknown is read as text"
    )
    column: str = Field("text", description="column (CSV, TSV, Parquet) or key (JSON Lines) with the word")
    pos: Literal["", "noun", "adjective", "verb", "adverb"] = Field(
        "", description="part of speech of every word, where the file has no `pos` column"
    )
    language: str = Field("", description="BCP 47 code of every word, where the file has no `language` column")


#: Rows of a Parquet file that are objects at once.
BATCH = 4_096


def check(options: Options) -> None:
    """Raises UsageError where the file is missing or lacks the column."""
    require_file(options.path)
    if _format(options) != "text":
        next(candidates(options, lambda rejection: None), None)


def expected(options: Options) -> int | None:
    """Rows of a Parquet file; other files would have to be read."""
    return _opened(options.path).metadata.num_rows if _format(options) == "parquet" else None


def candidates(options: Options, on_reject: OnReject) -> Iterator[Candidate]:
    """One candidate a line or row; ``key`` is the line (from 1) or the row's own ``key``."""
    source = options.path.name
    if _format(options) == "text":
        yield from _lines(options, source)
        return
    rows = {"csv": _csv, "tsv": _tsv, "jsonl": _jsonl, "parquet": _parquet}[_format(options)]
    try:
        for number, row in rows(options):
            key = str(row.get("key") or number)
            text = row.get(options.column)
            if not isinstance(text, str):
                on_reject(Rejection(str(row.get("", "")), "malformed-row", source, key))
                continue
            pos = str(row.get("pos") or options.pos)
            pos = POS_NAMES.get(pos, pos)
            yield Candidate(
                text, pos if pos in POS else "", str(row.get("language") or options.language), source, key
            )
    except DAMAGED as error:
        raise damaged(options.path, error) from None


def _format(options: Options) -> str:
    if options.format:
        return options.format
    return FORMATS.get(PurePath(bare_name(options.path)).suffix, "text")


def _lines(options: Options, source: str) -> Iterator[Candidate]:
    pos, language = options.pos, options.language
    try:
        for number, line in enumerate(lines(options.path), 1):
            yield Candidate(line, pos, language, source, str(number))
    except DAMAGED as error:
        raise damaged(options.path, error) from None


def _csv(options: Options) -> Iterator[tuple[int, dict[str, Any]]]:
    names: list[str] = []
    for number, fields in csv_rows(lines(options.path)):
        if not names:
            names = [fields] if isinstance(fields, str) else fields
            if names:
                _need(options, names)
        elif isinstance(fields, str):
            yield number, {"": fields}
        elif fields:
            yield number, dict(zip(names, fields, strict=False))
    if not names:
        _need(options, ())


def _tsv(options: Options) -> Iterator[tuple[int, dict[str, Any]]]:
    """A row a line: a quote that is never closed costs its own field, not the rows that follow."""
    names: list[str] = []
    for number, line in enumerate(lines(options.path), 1):
        fields = [
            f[1:-1].replace('""', '"') if len(f) > 1 and f[0] == f[-1] == '"' else f for f in line.split("\t")
        ]
        if names:
            yield number, dict(zip(names, fields, strict=False)) if line else {options.column: ""}
        else:
            _need(options, names := fields)
    if not names:
        _need(options, ())


def _jsonl(options: Options) -> Iterator[tuple[int, dict[str, Any]]]:
    found = False
    for number, line in enumerate(lines(options.path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            row = {"": line}
        elif not found:
            _need(options, row)
            found = True
        yield number, row


def _parquet(options: Options) -> Iterator[tuple[int, dict[str, Any]]]:
    file = _opened(options.path)
    names = file.schema_arrow.names
    _need(options, names)
    columns = [name for name in (options.column, "pos", "language", "key") if name in names]
    number = 0
    for batch in file.iter_batches(BATCH, columns=columns):
        for row in batch.to_pylist():
            number += 1
            yield number, row


def _opened(path: Location) -> pq.ParquetFile:
    # Not pre-buffered, which would hold all of it; nor mapped: a file that is cut meanwhile would end the process.
    file = path.open() if isinstance(path, Remote) else pa.OSFile(str(path))
    opened = pq.ParquetFile(file, pre_buffer=False, buffer_size=REQUEST)
    if problem := flaw(opened.metadata, file.size()):
        raise pa.ArrowInvalid(problem)
    return opened


def _need(options: Options, names: Iterable[str]) -> None:
    names = list(names)
    if options.column not in names:
        raise UsageError(
            f"corpus file {options.path} has no `{options.column}` column (it has {', '.join(names) or 'none'}); "
            f"say which with `{options.path}:column=NAME`"
        )
