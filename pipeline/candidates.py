"""Candidates as ``mine`` reads them: stores of ``encode``, or Parquet from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neglabel import NeglabelError, UsageError
from neglabel.corpora.dedupe import Mode
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


def text_groups(
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
