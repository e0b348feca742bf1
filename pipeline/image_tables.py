"""Pictures, or their embeddings, in tables: of the ``datasets`` library, and Parquet files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from neglabel import NeglabelError, UsageError
from neglabel.corpora.uri import Location, Remote, is_uri
from neglabel.pipeline import store
from neglabel.pipeline.image_remote import RemoteTable, remote_table
from neglabel.pipeline.images import HF, Item, decode, known_label
from neglabel.pipeline.item_columns import ItemColumns, columns_of


@dataclass(frozen=True)
class EmbeddingSource:
    """Rows of a Parquet file with an ``embedding`` column; there is nothing to decode."""

    spec: str
    items: Sequence[Item]
    embeddings: Location | None

    def places(self) -> Sequence[str]:
        """The pictures' files where the ``path`` column names them, else file and row."""
        here = str(self.embeddings.absolute()) if self.embeddings else self.spec
        paths = columns_of(self.items).path.to_pylist()
        named = [path if os.path.isabs(path) or is_uri(path) else "" for path in paths]
        return [path or f"{here}#{row}" for row, path in enumerate(named)]

    def open(self, row: int) -> Image.Image:
        """Raises NeglabelError: the pictures themselves are not here."""
        raise NeglabelError(f"{self.spec} holds embeddings, not pictures")

    def signature(self, row: int) -> str:
        """File and row; embeddings are not cached, so nothing asks when they change."""
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

    def places(self) -> Sequence[str]:
        """The files, where rows name files (an ``imagefolder``); else table and row."""
        pictures = self.rows.select_columns([self.column]).with_format("arrow")[:][self.column]
        if pc.struct_field(pictures, "bytes").null_count < len(pictures):
            return [item.path for item in self.items]
        files = pc.struct_field(pictures, "path").to_pylist()
        return [file or item.path for file, item in zip(files, self.items, strict=True)]

    def open(self, row: int) -> Image.Image:
        """Decode the picture of ``row``. Raises ValueError where it has none, and what Pillow raises."""
        image = self.rows[row][self.column]
        if image is None or (image["bytes"] is None and not image["path"]):
            raise ValueError("no picture in this row")
        return decode(image["bytes"] if image["bytes"] is not None else Path(image["path"]))

    def signature(self, row: int) -> str:
        """The row and what marks the table's content (its fingerprint, or the file's size and time of change)."""
        return f"{self.mark}#{row}"


def parquet(path: Location) -> EmbeddingSource | TableSource | RemoteTable:
    """A Parquet file with ``embedding`` (and where known ``id``, ``path``, ``label``), or with pictures in ``image``.

    A relative ``path`` is looked for below the file's own folder, then below the working directory; one that is
    neither stays as it is.

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
    if isinstance(path, Remote):
        return remote_table(path)
    from datasets import load_dataset

    from neglabel.pipeline.image_hub import loaded

    rows = loaded(str(path), lambda: load_dataset("parquet", data_files=str(path.resolve()), split="train"))
    stat = os.stat(path)
    return table(str(path), rows, str(path.absolute()), f"{path.name}\t{stat.st_size}\t{stat.st_mtime_ns}")


def _items_of(path: Location, file: pq.ParquetFile) -> ItemColumns:
    there = [name for name in ("id", "path", "label") if name in file.schema_arrow.names]
    with store.reading(path):
        table = file.read(columns=there)
    if "label" in there and not _is_label(table.schema.field("label").type):
        raise UsageError(f"{path}: `label` is {table.schema.field('label').type}; it holds class names or indices")
    folder = path.absolute().parent
    if isinstance(folder, Remote):
        if "path" in there:
            named = _listed_below(folder, [str(value or "") for value in table["path"].to_pylist()])
            table = table.set_column(table.column_names.index("path"), "path", pa.array(named, pa.string()))
        folder = Path.cwd()
    return ItemColumns(table, file.metadata.num_rows, folder)


def _listed_below(folder: Remote, paths: Sequence[str]) -> list[str]:
    """As :func:`_opens`, below a folder by URI: by one listing, where any is relative."""
    relative = {path for path in paths if path and not (path.startswith(HF) or is_uri(path) or os.path.isabs(path))}
    there = relative & folder.tree().keys() if relative else set()
    return [str(folder / path) if path in there else path for path in paths]


def _is_label(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind))


def table(spec: str, rows: Any, place: str, mark: str | None = None) -> TableSource:
    """A data set with an image column → a source.

    Args:
        place: what opens it again; row i is ``place#i``.
        mark: what changes when its pictures do; None takes the library's fingerprint.

    Raises:
        UsageError: no image column, or no rows.
    """
    import datasets

    kinds = dict(rows.features)
    images = [name for name, kind in kinds.items() if isinstance(kind, datasets.Image)]
    column = images[0] if images else "image" if "image" in kinds else None
    if column is None:
        raise UsageError(f"{spec} has no image column (it has {', '.join(kinds) or 'none'})")
    if not len(rows):
        raise UsageError(f"{spec} has no rows; name another split")
    items = [Item(str(row), f"{place}#{row}", label) for row, label in enumerate(_labels(rows, kinds))]
    undecoded = rows.cast_column(column, datasets.Image(decode=False))
    return TableSource(spec, items, undecoded, column, mark or f"{place}\t{rows._fingerprint}")


def _labels(rows: Any, kinds: dict[str, Any]) -> list[str | int | None]:
    import datasets

    classes = [name for name, kind in kinds.items() if isinstance(kind, datasets.ClassLabel)]
    label = "label" if "label" in kinds else classes[0] if len(classes) == 1 else None
    labels: list[Any] = list(rows[label]) if label else [None] * len(rows)
    names = kinds[label].names if label in classes else None
    if label and not names and not isinstance(next((v for v in labels if v is not None), ""), (int, str)):
        labels = [None] * len(rows)
    return [names[v] if names and v is not None and v >= 0 else known_label(v) for v in labels]
