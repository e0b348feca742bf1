"""Candidates as ``mine`` reads them: stores of ``encode``, or Parquet from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from neglabel import NeglabelError, UsageError
from neglabel.corpora.dedupe import Mode
from neglabel.corpora.parquet_bounds import BATCH
from neglabel.corpora.uri import Location, resolved
from neglabel.pipeline import store
from neglabel.pipeline.files import read_json
from neglabel.pipeline.models import same_model
from neglabel.pipeline.presets import PresetName
from neglabel.pipeline.store_parts import continues, parts_of, shards_of

TEXT_COLUMNS = ("text", "pos", "language", "source", "key", "gloss")


@dataclass(frozen=True)
class Stores:
    """Files of candidates in order, and what their manifests say (None where there is none).

    ``keys`` tell one content of a file from another; ``distinct`` is the mode under which no word occurs twice in them,
    None where that isn't known.
    """

    files: tuple[Location, ...]
    dimension: int
    model: Mapping[str, Any] | None = None
    preset: str | None = None
    prompts: Mapping[str, str] | None = None
    dedupe: Mode = "text"
    keys: tuple[str, ...] = ()
    distinct: Mode | None = None


def open_stores(paths: Sequence[Location]) -> Stores:
    """Find the files and check that they fit each other.

    Raises:
        UsageError: nothing there, no ``text`` or ``embedding``, another model or dimension, an unfinished store.
    """
    found: list[tuple[Location, str]] = []
    manifests: list[tuple[Location, dict[str, Any]]] = []
    for path in paths:
        if path.is_dir():
            manifest = read_json(path / "manifest.json", "neglabel-candidates")
            if not manifest.get("complete"):
                raise UsageError(f"{path} is not finished; run the same `neglabel encode` again to finish it")
            _check_about(manifest, path)
            if manifest.get("part") is None:
                found += shards_of(path, manifest)
            elif not continues(manifests, manifest):
                found += parts_of(path, manifest, paths)
            manifests.append((path, manifest))
        else:
            store.require_columns(path, ["text", "embedding"])
            about_file = path.stat()
            found.append((path, f"{resolved(path)} {about_file.st_size} {about_file.st_mtime_ns}"))
    files = [path for path, _ in found]
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
    # Parts of one encode are one store.
    whole = len(manifests) == len(paths) and all(continues(manifests[:1], other) for _, other in manifests[1:])
    return Stores(
        tuple(files), dimension, about.get("model"), about.get("preset"), about.get("prompts"),
        modes[0] if len(set(modes)) == 1 else "text",
        tuple(key for _, key in found), about.get("dedupe") if whole else None,
    )  # fmt: skip


class _About(TypedDict, total=False):
    """What a store's manifest says that mining goes by."""

    model: dict[str, Any] | None
    preset: PresetName | None
    prompts: dict[str, str] | None
    dedupe: Mode


_ABOUT = TypeAdapter(_About)


def _check_about(manifest: Mapping[str, Any], folder: Location) -> None:
    try:
        _ABOUT.validate_python(manifest)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise NeglabelError(f"{folder / 'manifest.json'} is damaged ({where}); encode into a new folder") from None


def text_groups(path: Location, names: Sequence[str]) -> Iterator[pa.Table]:
    """The string columns of each row group, of a large one in pieces; missing columns and nulls are empty."""
    file = store.open_parquet(path)
    there = [name for name in names if name in file.schema_arrow.names]
    for number in range(file.num_row_groups):
        rows = file.metadata.row_group(number).num_rows
        if rows <= BATCH:
            with store.reading(path):
                yield _strings(file.read_row_group(number, columns=there), names, rows)
            continue
        batches = file.iter_batches(BATCH, row_groups=[number], columns=there)
        while True:
            with store.reading(path):
                batch = next(batches, None)
                if batch is None:
                    break
                yield _strings(pa.table(batch), names, batch.num_rows)


def text_rows(
    path: Location, names: Sequence[str], rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
    """Of each row group with any of ``rows`` (numbers in the file, ascending): those rows, their string columns."""
    plain = store.open_parquet(path)
    there = [name for name in names if name in plain.schema_arrow.names]
    # As dictionaries, so that only the rows that are wanted become strings.
    file = store.open_parquet(path, read_dictionary=there)
    start = 0
    for number in range(file.num_row_groups):
        end = start + file.metadata.row_group(number).num_rows
        inside = rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)]
        if len(inside):
            with store.reading(path):
                group = file.read_row_group(number, columns=there).take(pa.array(inside - start))
                yield inside, _strings(group, names, len(inside))
        start = end


def _strings(table: pa.Table, names: Sequence[str], count: int) -> pa.Table:
    empty = pa.chunked_array([pa.array([""] * count, pa.string())])
    there = set(table.column_names)
    text = pa.table({name: table[name].cast(pa.string()).fill_null("") if name in there else empty for name in names})
    text.validate(full=True)  # text that is no UTF-8
    return text
