"""Folders of ``score`` → plain, checked objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neglabel import NeglabelError, UsageError
from neglabel.corpora.uri import Location, resolved
from neglabel.pipeline import files, store
from neglabel.pipeline.report.shapes import check_manifest, check_mined

ROLES = ("id", "ood", "unknown")
_TEXT = ("id", "path", "label", "predicted_label")
_TOP = ("top_labels", "top_label_shares", "top_negatives", "top_negative_shares", "id_share")


@dataclass(frozen=True)
class DataSet:
    """One data set of a run; ``table`` as in ``scores-NAME.parquet``."""

    name: str
    role: str
    table: pa.Table
    unreadable: int = 0

    @property
    def rows(self) -> int:
        return int(self.table.num_rows)

    def logit(self, score: str) -> NDArray[np.float64]:
        """(rows,) log-odds; high = ID; all NaN where the score has no evidence."""
        return np.asarray(self.table.column(f"{score}_logit").to_numpy(), dtype=np.float64)

    def texts(self, column: str) -> list[str]:
        return [value or "" for value in self.table.column(column).to_pylist()]


@dataclass(frozen=True)
class Negatives:
    """The negative labels used: ``table`` without embeddings, ``metadata`` as mined (empty for a plain list)."""

    table: pa.Table
    metadata: dict[str, Any]
    random: bool
    count: int

    def column(self, name: str) -> list[Any] | None:
        return self.table.column(name).to_pylist() if name in self.table.column_names else None


@dataclass(frozen=True)
class Run:
    """One folder of ``score``, checked."""

    name: str
    folder: Location
    manifest: dict[str, Any]
    labels: tuple[str, ...]
    scores: tuple[str, ...]
    sets: tuple[DataSet, ...]
    negatives: Negatives

    @property
    def random(self) -> bool:
        return self.negatives.random

    @property
    def main_score(self) -> str:
        """The score that chooses the case pictures: NegLabel, or the first, among those with evidence."""
        heard = [score for score in self.scores if self.has_evidence(score)] or self.scores
        return "neglabel" if "neglabel" in heard else heard[0]

    @property
    def streaming(self) -> dict[str, str]:
        """The scores of a stream, by name: ``mixed`` or ``separate``."""
        entries = ((entry["name"], entry.get("stream")) for entry in self.manifest["scores"])
        return {str(name): str(stream["protocol"]) for name, stream in entries if stream}

    def of_role(self, role: str) -> tuple[DataSet, ...]:
        return tuple(data for data in self.sets if data.role == role)

    def has_evidence(self, score: str) -> bool:
        """False where every picture's score is NaN: there was nothing to compare with."""
        return any(not np.isnan(data.logit(score)).all() for data in self.sets)


def read_runs(folders: Sequence[Location], names: Sequence[str] = ()) -> list[Run]:
    """Every folder as a :class:`Run` with a name of its own.

    Args:
        names: of the folders, in their order; none: the folders' own.

    Raises:
        UsageError: no folder, one given twice, one that is not the output of ``score`` or of a newer neglabel's, a
            missing file or column.
        NeglabelError: something in it is damaged.
    """
    if not folders:
        raise UsageError("report needs at least one folder of `score`")
    real = [resolved(folder) for folder in folders]
    for folder, place in zip(folders, real, strict=True):
        if real.count(place) > 1:
            raise UsageError(f"{folder} is given twice; name each folder of scores once")
    if names and (len(names) != len(folders) or len(set(names)) < len(names)):
        raise UsageError(f"--names gives {len(set(names))} names for {len(folders)} folders; give one for each")
    return [_read_run(folder, name) for folder, name in zip(folders, names or folder_names(real), strict=True)]


def folder_names(folders: Sequence[Location]) -> list[str]:
    """Folder names, with as many parents as tell them apart."""
    names = [folder.name or str(folder) for folder in folders]
    depth = 2
    while len(set(names)) < len(names):
        longer = ["/".join(folder.parts[-depth:]) for folder in folders]
        names = [long if names.count(name) > 1 else name for name, long in zip(names, longer, strict=True)]
        depth += 1
    return names


def _read_run(folder: Location, name: str) -> Run:
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; name a folder that `score` wrote")
    path = folder / "manifest.json"
    manifest = files.read_json(path, "neglabel-scores")
    if not manifest.get("complete", True):
        raise NeglabelError(f"{folder} is unfinished: `score` was interrupted; run it again")
    check_manifest(manifest, path)
    try:
        labels = tuple(str(label) for label in manifest["labels"])
        scores = tuple(str(entry["name"]) for entry in manifest["scores"])
        entries = [(str(e["name"]), str(e["role"]), int(e["rows"]), _count(e)) for e in manifest["datasets"]]
        used = dict(manifest.get("negatives") or {})
        count, random = int(used.get("count") or 0), bool(used.get("random"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NeglabelError(f"{path} is damaged ({type(error).__name__}: {error}); run `score` again") from None
    if not scores:
        raise NeglabelError(f"{path} names no score; run `score` again")
    sets = tuple(_read_set(folder, *entry, scores) for entry in entries)
    return Run(name, folder, manifest, labels, scores, sets, _read_negatives(folder, count, random))


def _count(entry: dict[str, Any]) -> int:
    """Unreadable pictures: a number, or the list of them."""
    value = entry.get("unreadable") or 0
    return len(value) if isinstance(value, list) else int(value)


def _read_set(folder: Location, name: str, role: str, rows: int, unreadable: int, scores: Sequence[str]) -> DataSet:
    if role not in ROLES or Path(name).name != name:
        raise NeglabelError(f"{folder / 'manifest.json'}: bad data set {name!r} of role {role!r}; run `score` again")
    path = folder / f"scores-{name}.parquet"
    numbers = [column for score in scores for column in (score, f"{score}_logit")]
    columns = [*_TEXT, *numbers, *_TOP]
    store.require_columns(path, columns)
    with store.reading(path):
        table = store.open_parquet(path).read(columns=columns)
    if table.num_rows != rows:
        there = f"{table.num_rows:,} row{'s' * (table.num_rows != 1)}"
        raise NeglabelError(f"{path} has {there}, the manifest says {rows:,}; run `score` again")
    for column in numbers:
        if not pa.types.is_floating(table.schema.field(column).type):
            raise UsageError(f"{path}: `{column}` is {table.schema.field(column).type}, not floats")
        _refuse_some_nan(path, column, table)
    return DataSet(name, role, table, unreadable)


def _refuse_some_nan(path: Location, column: str, table: pa.Table) -> None:
    """All NaN is "no evidence"; some NaN is a mistake that would bend every metric. Rows are named from 1."""
    nan = np.isnan(np.asarray(table.column(column).to_numpy(), dtype=np.float64))
    if nan.any() and not nan.all():
        raise NeglabelError(f"{path}, row {int(nan.argmax()) + 1:,}: `{column}` is NaN; run `score` again")


def _read_negatives(folder: Location, count: int, random: bool) -> Negatives:
    path = folder / "negatives.parquet"
    if not count and not path.exists():
        return Negatives(pa.table({"text": pa.array([], pa.string())}), {}, random, 0)
    store.require_columns(path, ["text"])
    file = store.open_parquet(path)
    names = [name for name in file.schema_arrow.names if name != "embedding"]
    with store.reading(path):
        table = file.read(columns=names)
    metadata = store.read_metadata(path)
    check_mined(table, metadata, path)
    return Negatives(table, metadata, random, table.num_rows)
