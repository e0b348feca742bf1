"""Words of a file: text (one a line), CSV, TSV, JSON Lines, Parquet; also gzip or zstd."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from neglabel import NeglabelError, UsageError
from neglabel.corpora.candidate import POS, POS_NAMES, Candidate, OnReject, Rejection
from neglabel.corpora.spec import Options as _Options

COMPRESSION = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
FORMATS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
#: A line longer than this is no word; it is cut off unread, so a file without line ends can't fill the memory.
MAX_LINE = 100_000


class Options(_Options):
    """Options of the ``file`` corpus."""

    path: Path
    #: By the file's ending where not given; anything unknown is read as text.
    format: Literal["text", "csv", "tsv", "jsonl", "parquet"] | None = None
    #: The column (CSV, TSV, Parquet) or key (JSON Lines) with the word.
    column: str = "text"
    #: For every word, where the file has no ``pos`` or ``language`` column.
    pos: Literal["", "noun", "adjective", "verb", "adverb"] = ""
    language: str = ""


def check(options: Options) -> None:
    """Raises UsageError where the file is missing or lacks the column."""
    if not options.path.is_file():
        what = "is a folder, not a file of words" if options.path.is_dir() else "does not exist"
        raise UsageError(f"corpus file {options.path} {what}")
    if _format(options) != "text":
        next(candidates(options, lambda rejection: None), None)


def expected(options: Options) -> int | None:
    """Rows of a Parquet file; other files would have to be read."""
    return pq.ParquetFile(options.path).metadata.num_rows if _format(options) == "parquet" else None


def candidates(options: Options, on_reject: OnReject) -> Iterator[Candidate]:
    """One candidate a line or row; ``key`` is the line (from 1) or the row's own ``key``."""
    source = options.path.name
    rows = {"text": _text, "csv": _csv, "tsv": _csv, "jsonl": _jsonl, "parquet": _parquet}[_format(options)]
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
    except (OSError, EOFError, pa.ArrowInvalid) as error:
        raise NeglabelError(
            f"corpus file {options.path} is damaged or cut short ({str(error).splitlines()[0]}); get it again"
        ) from None


def _format(options: Options) -> str:
    if options.format:
        return options.format
    name = options.path.name.lower()
    for ending in COMPRESSION:
        name = name.removesuffix(ending)
    return FORMATS.get(Path(name).suffix, "text")


def _lines(options: Options) -> Iterator[str]:
    """Lines without their ends. Bytes that are no UTF-8 become surrogates, which cleaning rejects by name."""
    compression = COMPRESSION.get(options.path.suffix.lower())
    with pa.input_stream(str(options.path), compression=compression) as stream:
        text = io.TextIOWrapper(
            io.BufferedReader(stream, 1 << 20), encoding="utf-8-sig", errors="surrogateescape", newline="\n"
        )
        while line := text.readline(MAX_LINE):
            yield line.rstrip("\r\n")


def _text(options: Options) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_lines(options), 1):
        yield number, {options.column: line}


def _csv(options: Options) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(
        (line + "\n" for line in _lines(options)), delimiter="\t" if _format(options) == "tsv" else ","
    )
    try:
        _need(options, reader.fieldnames or ())
        for row in reader:
            row.pop(None, None)  # type: ignore[call-overload]  # fields beyond the header
            yield reader.line_num, row
    except csv.Error as error:
        raise NeglabelError(f"corpus file {options.path}, line {reader.line_num}: {error}; mend that line") from None


def _jsonl(options: Options) -> Iterator[tuple[int, dict[str, Any]]]:
    found = False
    for number, line in enumerate(_lines(options), 1):
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
    file = pq.ParquetFile(options.path, memory_map=True)
    names = file.schema_arrow.names
    _need(options, names)
    columns = [name for name in (options.column, "pos", "language", "key") if name in names]
    number = 0
    for batch in file.iter_batches(columns=columns):
        for row in batch.to_pylist():
            number += 1
            yield number, row


def _need(options: Options, names: Iterable[str]) -> None:
    names = list(names)
    if options.column not in names:
        raise UsageError(
            f"corpus file {options.path} has no `{options.column}` column (it has {', '.join(names) or 'none'}); "
            f"say which with `{options.path}:column=NAME`"
        )
