"""Candidates as ``mine`` sees them: stores of ``encode`` or Parquet from elsewhere, and which rows count here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neglabel import NeglabelError, UsageError
from neglabel.corpora.dedupe import Deduplicator, Mode
from neglabel.corpora.text import normalise
from neglabel.pipeline import store
from neglabel.pipeline.files import read_json
from neglabel.pipeline.models import same_model
from neglabel.pipeline.shards import records_of

TEXT_COLUMNS = ("text", "pos", "language", "source", "key", "gloss")


@dataclass(frozen=True)
class Stores:
    """Files of candidates in order, and what their manifests say (None where there is none)."""

    files: tuple[Path, ...]
    dimension: int
    model: Mapping[str, Any] | None = None
    preset: str | None = None
    prompts: Mapping[str, str] | None = None
    dedupe: Mode = "text"


@dataclass
class Selection:
    """Which rows of the stores are candidates here.

    Attributes:
        keep: a mask a file.
        groups: a group number a kept row where parts of speech are ranked apart, else all zero; a file each.
        names: the groups, in ranking order.
        counts: ``candidates``, ``duplicates``, ``id_names``, ``excluded``.
    """

    keep: list[NDArray[np.bool_]] = field(default_factory=list)
    groups: list[NDArray[np.uint8]] = field(default_factory=list)
    names: tuple[str, ...] = ("",)
    counts: Counter[str] = field(default_factory=Counter)

    def size(self, group: int) -> int:
        """Candidates of a group."""
        return sum(int((mask & (numbers == group)).sum()) for mask, numbers in zip(self.keep, self.groups, strict=True))


def open_stores(paths: Sequence[Path]) -> Stores:
    """Find the files and check that they fit each other.

    Raises:
        UsageError: nothing there, no ``text`` or ``embedding``, another model or dimension, an unfinished store.
    """
    files: list[Path] = []
    manifests: list[tuple[Path, dict[str, Any]]] = []
    for path in paths:
        if path.is_dir():
            manifest = read_json(path / "manifest.json", "neglabel-candidates")
            if not manifest.get("complete"):
                raise UsageError(f"{path} is not finished; run the same `neglabel encode` again to finish it")
            files += _shards(path, manifest)
            manifests.append((path, manifest))
        else:
            store.require_columns(path, ["text", "embedding"])
            files.append(path)
    dimensions = {path: d for path in files if (d := store.dimension(path)) is not None}
    if not dimensions:
        raise UsageError(f"no candidates in {', '.join(map(str, paths))}; encode some words first")
    first, dimension = next(iter(dimensions.items()))
    for path, other in dimensions.items():
        if other != dimension:
            raise UsageError(f"{path} has embeddings of {other} dimensions, {first} of {dimension}; use one model")
    for path, manifest in manifests[1:]:
        if difference := same_model(manifests[0][1].get("model"), manifest.get("model")):
            raise UsageError(f"{manifests[0][0]} and {path} are of different models: {difference}")
        if manifest.get("preset") != manifests[0][1].get("preset"):
            raise UsageError(
                f"{manifests[0][0]} was encoded with preset {manifests[0][1].get('preset')}, {path} with "
                f"{manifest.get('preset')}; mine stores of one preset together"
            )
    about = manifests[0][1] if manifests else {}
    modes: list[Mode] = [manifest.get("dedupe", "text") for _, manifest in manifests]
    return Stores(
        tuple(files), dimension, about.get("model"), about.get("preset"), about.get("prompts"),
        modes[0] if len(set(modes)) == 1 else "text",
    )  # fmt: skip


def _shards(folder: Path, manifest: Mapping[str, Any]) -> Iterator[Path]:
    for record in records_of(manifest, folder / "manifest.json"):
        if not record["rows"]:
            continue
        path = folder / record["file"]
        if not path.is_file() or store.open_parquet(path).metadata.num_rows != record["rows"]:
            raise NeglabelError(f"{path} is missing or cut; run the same `neglabel encode` again to mend it")
        yield path


def choose_rows(
    stores: Stores, dedupe: Mode, id_names: Sequence[str], excluded: Sequence[str], per_pos: bool
) -> Selection:
    """The first pass: text and part of speech only.

    Args:
        id_names: ID labels whose equals (normalised) are dropped; empty to keep them.
        excluded: words to drop, compared in the same way.
        per_pos: rank parts of speech apart: noun, adjective, verb, adverb, then unknown.
    """
    seen = Deduplicator(dedupe)
    ids, out = {normalise(name) for name in id_names}, {normalise(word) for word in excluded}
    selection = Selection(names=("noun", "adjective", "verb", "adverb", "") if per_pos else ("",))
    for path in stores.files:
        rows = store.open_parquet(path).metadata.num_rows
        keep, group = np.zeros(rows, bool), np.zeros(rows, np.uint8)
        for row, (text, pos) in enumerate(_texts(path)):
            normal = normalise(text or "")
            reason = (
                "duplicates" if not seen.is_new(text or "", pos) else
                "id_names" if normal in ids else
                "excluded" if normal in out else
                "candidates"
            )  # fmt: skip
            selection.counts[reason] += 1
            keep[row] = reason == "candidates"
            if per_pos:
                group[row] = selection.names.index(pos if pos in selection.names else "")
        selection.keep.append(keep)
        selection.groups.append(group)
    return selection


def stream_rows(
    stores: Stores, selection: Selection
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.floating[Any]]]]:
    """The second pass: blocks of kept rows as (position in all files, group, embedding as stored)."""
    offset = 0
    for path, keep, group in zip(stores.files, selection.keep, selection.groups, strict=True):
        for block in store.stream(path):
            rows = slice(block.start, block.start + len(block.embedding))
            inside = np.flatnonzero(keep[rows])
            yield offset + block.start + inside, group[rows][inside], block.embedding[inside]
        offset += len(keep)


def take_text(stores: Stores, selection: Selection, positions: NDArray[np.int64]) -> pa.Table:
    """:data:`TEXT_COLUMNS` of the rows at ``positions`` (of all files), in the order given."""
    parts: list[pa.Table] = []
    found: list[NDArray[np.intp]] = []
    offset = 0
    for path, keep in zip(stores.files, selection.keep, strict=True):
        inside = np.flatnonzero((positions >= offset) & (positions < offset + len(keep)))
        if len(inside):
            rows = positions[inside] - offset
            # Row groups hold consecutive rows, so only those with a row that is wanted are read, one at a time.
            for start, table in _text_groups(path, TEXT_COLUMNS, rows):
                here = np.flatnonzero((rows >= start) & (rows < start + table.num_rows))
                parts.append(table.take(pa.array(rows[here] - start)))
                found.append(inside[here])
        offset += len(keep)
    if not parts:
        return pa.table({name: pa.array([], pa.string()) for name in TEXT_COLUMNS})
    back = np.argsort(np.concatenate(found), kind="stable")
    return pa.concat_tables(parts).take(pa.array(back))


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    for _, table in _text_groups(path, ("text", "pos")):
        yield from zip(table["text"].to_pylist(), table["pos"].to_pylist(), strict=True)


def _text_groups(
    path: Path, names: Sequence[str], rows: NDArray[np.int64] | None = None
) -> Iterator[tuple[int, pa.Table]]:
    """Row groups as (first row, string columns): those with any of ``rows``; missing columns and nulls are empty."""
    file = store.open_parquet(path)
    there = [name for name in names if name in file.schema_arrow.names]
    start = 0
    for number in range(file.num_row_groups):
        count = file.metadata.row_group(number).num_rows
        if rows is None or ((rows >= start) & (rows < start + count)).any():
            empty = pa.chunked_array([pa.array([""] * count, pa.string())])
            with store.reading(path):
                group = file.read_row_group(number, columns=there)
                table = pa.table(
                    {name: group[name].cast(pa.string()).fill_null("") if name in there else empty for name in names}
                )
                table.validate(full=True)  # text that is no UTF-8
            yield start, table
        start += count
