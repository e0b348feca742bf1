"""What a store's tables will take on disk: embeddings by arithmetic, texts as a part of them compresses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from neglabel.corpora import Candidate, Rejection
from neglabel.pipeline.store import write_table


class Rejections:
    """A part of the rejections, by which the size of their files is measured: every n-th, n growing as they come."""

    def __init__(self) -> None:
        self._step, self._seen = 1, 0
        self.kept: list[Rejection] = []

    def see(self, rejection: Rejection) -> None:
        if self._seen % self._step == 0:
            self.kept.append(rejection)
            if len(self.kept) == 20_000:
                self.kept, self._step = self.kept[::2], self._step * 2
        self._seen += 1


def store_bytes(counts: dict[str, Any], words: Sequence[Candidate], rejected: Rejections, embedding: int) -> int:
    """Bytes of the store's tables: embeddings, which don't compress, and texts as they did in a part."""
    text = _bytes_a_row([(*word, False) for word in words], (*Candidate._fields, "truncated"))
    rows = [tuple(f.encode("utf-8", "backslashreplace").decode() for f in row) for row in rejected.kept]
    line = _bytes_a_row(rows, Rejection._fields)
    size: float = counts["candidates"] * (embedding + text) + sum(counts["rejected"].values()) * line
    return round(size)


def _bytes_a_row(rows: Sequence[tuple[Any, ...]], names: Sequence[str]) -> float:
    if not rows:
        return 0.0
    columns = zip(*rows, strict=True)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        write_table(path, pa.table({name: pa.array(c) for name, c in zip(names, columns, strict=True)}))
        return path.stat().st_size / len(rows)
