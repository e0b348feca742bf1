"""Pictures in a Parquet file by URI (a column ``image``, as the Hugging Face hub has them), a row group at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock

import numpy as np
import pyarrow as pa
from PIL import Image

from neglabel import UsageError
from neglabel.corpora.uri import Remote
from neglabel.pipeline import store
from neglabel.pipeline.images import Item, decode, known_label


@dataclass(frozen=True)
class RemoteTable:
    """Rows of ``file``; ``starts`` are the first rows of its row groups, and how many rows there are."""

    spec: str
    items: Sequence[Item]
    file: Remote
    starts: Sequence[int]
    mark: str
    embeddings: None = None
    _one: Lock = field(default_factory=Lock, repr=False, compare=False)

    def places(self) -> Sequence[str]:
        """File and row."""
        return [item.path for item in self.items]

    def open(self, row: int) -> Image.Image:
        """Decode the picture of ``row``. Raises ValueError where it has none, and what Pillow raises."""
        group = int(np.searchsorted(self.starts, row, "right")) - 1
        # Decoding threads ask for rows in order: one fetches the group that the others wait for.
        with self._one:
            pictures = _group(self.file, group, self.mark)
        picture = pictures[row - self.starts[group]].as_py()
        if not picture or not picture.get("bytes"):
            raise ValueError("no picture in this row")
        return decode(picture["bytes"])

    def signature(self, row: int) -> str:
        """The row, and the file's name, size and time of change."""
        return f"{self.mark}#{row}"


@lru_cache(2)
def _group(file: Remote, group: int, mark: str) -> pa.ChunkedArray:
    """Of two row groups, for threads are between two of them now and then. ``mark`` tells one content from another."""
    with store.reading(file):
        return store.open_parquet(file).read_row_group(group, ["image"])["image"]


def remote_table(path: Remote) -> RemoteTable:
    """The rows of ``path``, labels from its column ``label`` (names by ``datasets``'s own schema, or as they are).

    Raises:
        UsageError: a column ``image`` that holds no pictures' bytes.
    """
    import datasets

    file = store.open_parquet(path)
    kind = file.schema_arrow.field("image").type
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        raise UsageError(f"{path}: `image` is {kind}, not pictures with their bytes; copy the file to this machine")
    count = file.metadata.num_rows
    labels: list[str | int | None] = [None] * count
    if "label" in file.schema_arrow.names:
        with store.reading(path):
            labels = [known_label(value) for value in file.read(["label"])["label"].to_pylist()]
        known = datasets.Features.from_arrow_schema(file.schema_arrow).get("label")
        names = known.names if isinstance(known, datasets.ClassLabel) else None
        labels = [names[value] if names and isinstance(value, int) else value for value in labels]
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    stat = path.stat()
    items = [Item(str(row), f"{path}#{row}", label) for row, label in enumerate(labels)]
    mark = f"{path.name}\t{stat.st_size}\t{stat.st_mtime_ns}"
    return RemoteTable(str(path), items, path, np.cumsum([0, *sizes]).tolist(), mark)
