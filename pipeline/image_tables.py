"""Pictures, or their embeddings, in tables: Hugging Face data sets and Parquet files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from neglabel import NeglabelError, UsageError
from neglabel.pipeline import store
from neglabel.pipeline.images import HF, Item, decode


@dataclass(frozen=True)
class EmbeddingSource:
    """Rows of a Parquet file with an ``embedding`` column; there is nothing to decode."""

    spec: str
    items: Sequence[Item]
    embeddings: Path | None

    def open(self, row: int) -> Image.Image:
        raise NeglabelError(f"{self.spec} holds embeddings, not pictures")

    def signature(self, row: int) -> str:
        return f"{self.spec}#{row}"


@dataclass(frozen=True)
class TableSource:
    """Rows of a data set of ``datasets`` whose ``image`` column is left undecoded (``{bytes, path}``)."""

    spec: str
    items: Sequence[Item]
    rows: Any
    column: str
    mark: str
    embeddings: Path | None = None

    def open(self, row: int) -> Image.Image:
        image = self.rows[row][self.column]
        if image is None or (image["bytes"] is None and not image["path"]):
            raise ValueError("no picture in this row")
        return decode(image["bytes"] if image["bytes"] is not None else Path(image["path"]))

    def signature(self, row: int) -> str:
        return f"{self.mark}#{row}"


def parquet(path: Path) -> EmbeddingSource | TableSource:
    """A Parquet file with ``embedding`` (and where known ``id``, ``path``, ``label``), or with pictures in ``image``.

    Raises:
        UsageError: neither column.
        NeglabelError: not a whole Parquet file.
    """
    file = store.open_parquet(path)
    names = file.schema_arrow.names
    if file.metadata.num_rows == 0:
        raise UsageError(f"{path} has no rows; name a file with pictures or embeddings")
    if "embedding" in names:
        return EmbeddingSource(str(path), _items_of(path, file), path)
    if "image" not in names:
        raise UsageError(f"{path} has neither an `embedding` nor an `image` column (it has {', '.join(names)})")
    from datasets import load_dataset

    rows = _loaded(str(path), lambda: load_dataset("parquet", data_files=str(path.resolve()), split="train"))
    stat = os.stat(path)
    return _table(str(path), rows, f"{path.name}\t{stat.st_size}\t{stat.st_mtime_ns}")


def _items_of(path: Path, file: pq.ParquetFile) -> list[Item]:
    there = [name for name in ("id", "path", "label") if name in file.schema_arrow.names]
    table = file.read(columns=there)
    n = file.metadata.num_rows
    values = {name: table[name].to_pylist() for name in there}
    paths = [str(v or "") for v in values.get("path", [""] * n)]
    ids = [str(v) if v is not None else str(i) for i, v in enumerate(values.get("id", [None] * n))]
    if "label" in there and not _is_label(table.schema.field("label").type):
        raise UsageError(f"{path}: `label` is {table.schema.field('label').type}; it holds class names or indices")
    return [Item(*row) for row in zip(ids, paths, map(_known, values.get("label", [None] * n)), strict=True)]


def _is_label(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _known(label: Any) -> str | int | None:
    """A negative index or an empty name means unknown."""
    if isinstance(label, int):
        return label if label >= 0 else None
    return label or None


def hugging_face(spec: str) -> TableSource:
    """``hf:NAME[:CONFIG][@SPLIT]`` or ``hf:imagefolder:DIR[@SPLIT]`` through ``datasets``.

    A folder written by ``save_to_disk`` may stand for NAME. The image column is found by its type, the label is the
    column ``label`` or the only one that is a ``ClassLabel``.

    Raises:
        UsageError: an unknown data set or split, several splits and none named, no image column.
        NeglabelError: the hub can't be reached, or the data set can't be read.
    """
    import datasets

    name, at, split = spec.removeprefix(HF).rpartition("@")
    if not at or "/" in split:  # an @ in a folder's name
        name, split = spec.removeprefix(HF), ""
    name, _, rest = name.partition(":")
    if not name or (name == "imagefolder" and not rest):
        raise UsageError(f"{spec!r} names no data set; write hf:NAME[:CONFIG][@SPLIT] or hf:imagefolder:DIR[@SPLIT]")
    where = {"data_dir": rest} if name == "imagefolder" else {}
    config = rest if rest and not where else None
    if where and not Path(rest).is_dir():
        raise UsageError(f"{spec}: the folder {rest} does not exist")
    saved = Path(name).is_dir() and any((Path(name) / f).exists() for f in ("state.json", "dataset_dict.json"))
    if saved:
        there = _loaded(spec, lambda: datasets.load_from_disk(name))
        if isinstance(there, datasets.DatasetDict):
            there = there[_split(spec, split, list(there))]
        return _table(spec, there, f"{spec}\t{there._fingerprint}")
    splits = _loaded(spec, lambda: datasets.get_dataset_split_names(name, config, **where))
    chosen = _split(spec, split, splits)
    rows = _loaded(spec, lambda: datasets.load_dataset(name, config, split=chosen, **where))
    return _table(spec, rows, f"{spec}\t{rows._fingerprint}")


def _split(spec: str, asked: str, there: list[str]) -> str:
    if asked in there:
        return asked
    if not asked and len(there) == 1:
        return there[0]
    what = f"has no split {asked!r}" if asked else "has several splits"
    raise UsageError(f"{spec} {what}; write hf:…@SPLIT with one of {', '.join(there)}")


def _loaded(spec: str, load: Callable[[], Any]) -> Any:
    """Run ``load`` and say in one sentence what went wrong; its own messages name addresses and stack upon stack."""
    import datasets

    bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        return load()
    except datasets.exceptions.DatasetNotFoundError:
        raise UsageError(f"{spec}: there is no such data set (or it needs an account); check the name") from None
    except datasets.data_files.EmptyDatasetError:
        raise UsageError(f"{spec} holds no image files") from None
    except ConnectionError:
        raise NeglabelError(
            f"{spec}: the Hugging Face hub can't be reached; download the pictures and name their folder instead"
        ) from None
    except Exception as error:
        first = (str(error).splitlines() or [""])[0][:200]
        raise NeglabelError(f"{spec} can't be read by `datasets`: {type(error).__name__}: {first}") from None
    finally:
        if not bars:
            datasets.enable_progress_bars()


def _table(spec: str, rows: Any, mark: str) -> TableSource:
    import datasets

    kinds = dict(rows.features)
    images = [name for name, kind in kinds.items() if isinstance(kind, datasets.Image)]
    column = images[0] if images else "image" if "image" in kinds else None
    if column is None:
        raise UsageError(f"{spec} has no image column (it has {', '.join(kinds) or 'none'})")
    if not len(rows):
        raise UsageError(f"{spec} has no rows; name another split")
    classes = [name for name, kind in kinds.items() if isinstance(kind, datasets.ClassLabel)]
    label = "label" if "label" in kinds else classes[0] if len(classes) == 1 else None
    labels: list[Any] = list(rows[label]) if label else [None] * len(rows)
    names = kinds[label].names if label in classes else None
    if label and not names and not isinstance(next((v for v in labels if v is not None), ""), (int, str)):
        labels = [None] * len(rows)
    known = [names[v] if names and v is not None and v >= 0 else _known(v) for v in labels]
    items = [Item(str(row), f"{spec}#{row}", v) for row, v in enumerate(known)]
    return TableSource(spec, items, rows.cast_column(column, datasets.Image(decode=False)), column, mark)
