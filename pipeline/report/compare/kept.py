"""The embeddings that ``score --keep-embeddings`` left in a run's folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neglabel import NeglabelError
from neglabel.corpora.text import normalise
from neglabel.corpora.uri import Location
from neglabel.pipeline import store
from neglabel.pipeline.report.read import DataSet, Run

Floats32 = NDArray[np.float32]
#: Similarities held at once: 16 MB in float32.
BLOCK_VALUES = 1 << 22


@dataclass(frozen=True)
class Kept:
    """A run with its embeddings: ``labels`` (K, D) and ``negatives`` (M, D), float32 unit vectors."""

    run: Run
    labels: Floats32
    negatives: Floats32

    @property
    def words(self) -> list[str]:
        return [str(text or "") for text in self.run.negatives.column("text") or []]

    @property
    def temperature(self) -> float:
        """Of the softmax that shares are taken of: the NegLabel score's."""
        entries = {str(entry["name"]): entry.get("temperature") for entry in self.run.manifest["scores"]}
        return float(entries.get("neglabel") or entries.get("neglabel-ungrouped") or 0.01)

    def pictures(self, data: DataSet, columns: int) -> Iterator[tuple[int, Floats32]]:
        """Blocks of (first row, (n, D) unit vectors), n so that n × ``columns`` similarities fit.

        Raises:
            NeglabelError: missing, damaged, or not one row a picture.
        """
        path = self.run.folder / f"embeddings-{data.name}.parquet"
        _there(path)
        step, rows = max(1, BLOCK_VALUES // max(1, columns)), 0
        for block in store.stream(path):
            embedding = store.unit(block.embedding)
            if embedding.shape[1] != self.labels.shape[1]:
                raise NeglabelError(f"{path} has other dimensions than the labels; {_AGAIN}")
            for start in range(0, len(embedding), step):
                yield block.start + start, embedding[start : start + step]
            rows += len(embedding)
        if rows != data.rows:
            raise NeglabelError(f"{path} has {rows:,} rows, the scores {data.rows:,}; {_AGAIN}")


_AGAIN = "run `score --keep-embeddings` again"


def has_kept(run: Run) -> bool:
    return bool(run.manifest.get("embeddings"))


def read_kept(run: Run) -> Kept:
    """Raises NeglabelError where a file is missing, damaged, or of other rows than the run."""
    labels = _matrix(run.folder / "labels.parquet", len(run.labels))
    negatives = _matrix(run.folder / "negatives.parquet", run.negatives.count)
    if labels.shape[1] != negatives.shape[1]:
        raise NeglabelError(f"{run.folder}: labels and negatives have other dimensions; {_AGAIN}")
    return Kept(run, labels, negatives)


def _matrix(path: Location, rows: int) -> Floats32:
    _there(path)
    if "embedding" not in store.open_parquet(path).schema_arrow.names:
        raise NeglabelError(f"{path} has no `embedding` column; {_AGAIN}")
    found = np.concatenate([store.unit(block.embedding) for block in store.stream(path)])
    if len(found) != rows:
        raise NeglabelError(f"{path} has {len(found):,} rows, not {rows:,}; {_AGAIN}")
    return np.ascontiguousarray(found)


def _there(path: Location) -> None:
    if not path.is_file():
        raise NeglabelError(f"{path} is missing, though the manifest says that embeddings were kept; {_AGAIN}")


def same_words(words: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Distinct normalised words in order of appearance, and which of them each of ``words`` is: (n,) int64."""
    index: dict[str, int] = {}
    which = [index.setdefault(normalise(word), len(index)) for word in words]
    return list(index), np.asarray(which, dtype=np.int64)
