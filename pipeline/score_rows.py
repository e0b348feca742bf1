"""A block of picture embeddings → rows of a scores file: the scores, and the labels that decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neglabel.corpora.text import normalise
from neglabel.indexes.flat import NegativeIndex, top
from neglabel.pipeline.images import Item
from neglabel.pipeline.score_plan import DataSet
from neglabel.pipeline.scores import Block, compute_all
from neglabel.pipeline.scores.neglabel import Groups
from neglabel.pipeline.scores.stable import Floats

#: Labels and negatives shown for each picture.
TOP = 5


def schema(scores: Sequence[str]) -> pa.Schema:
    """Columns of ``scores-NAME.parquet`` (docs/formats.md)."""
    texts = [pa.field(name, pa.string()) for name in ("id", "path", "dataset", "role", "label", "predicted_label")]
    numbers = [pa.field(name, pa.float64()) for score in scores for name in (score, f"{score}_logit")]
    tops = [
        pa.field(f"top_{kind}", pa.list_(part))
        for kind, part in (
            ("labels", pa.string()),
            ("label_shares", pa.float32()),
            ("negatives", pa.string()),
            ("negative_shares", pa.float32()),
        )
    ]
    return pa.schema([*texts, *numbers, *tops, pa.field("id_share", pa.float32())])


@dataclass(frozen=True)
class Scorer:
    """What every picture of a run is compared with.

    ``labels`` (K, D) float32 unit and ``names`` K; ``index`` and ``negatives`` M; ``temperatures`` by score;
    ``groups`` (n_g, m) or None; ``share_temperature``: of the softmax over all ID and negative labels.
    """

    names: Sequence[str]
    labels: NDArray[np.float32]
    index: NegativeIndex
    negatives: Sequence[str]
    temperatures: Mapping[str, float]
    groups: Groups | None
    share_temperature: float

    @cached_property
    def classes(self) -> ClassNames:
        return ClassNames(self.names)

    def rows(self, data: DataSet, items: Sequence[Item], embedding: NDArray[np.float32]) -> tuple[pa.Table, Floats]:
        """Score n pictures: (n, D) → a table of :func:`schema`, and the n ID shares (NaN without negatives)."""
        step = self.index.rows_per_block(beside=len(self.labels))
        parts = [
            self._block(data, items[i : i + step], embedding[i : i + step]) for i in range(0, len(items), step)
        ]
        if not parts:
            return schema(list(self.temperatures)).empty_table(), np.empty(0)
        return pa.concat_tables([table for table, _ in parts]), np.concatenate([share for _, share in parts])

    def _block(
        self, data: DataSet, items: Sequence[Item], embedding: NDArray[np.float32]
    ) -> tuple[pa.Table, Floats]:
        positive, negative = embedding @ self.labels.T, self.index.similarities(embedding)
        best, worst = top(positive, TOP), top(negative, TOP)
        block = Block(positive, negative, self.groups, embeddings=embedding, label_vectors=self.labels)
        shares = _Shares(block, self.share_temperature)
        columns: dict[str, Any] = {
            "id": [item.id for item in items],
            "path": [item.path for item in items],
            "dataset": [data.name] * len(items),
            "role": [data.role] * len(items),
            "label": [self.classes.of(item.label, data.role) for item in items],
            "predicted_label": [self.names[k] for k in best[:, 0]],
        }
        for name, (score, logit) in compute_all(self.temperatures, block).items():
            columns[name], columns[f"{name}_logit"] = score, logit
        columns["top_labels"] = [[self.names[k] for k in row] for row in best]
        columns["top_label_shares"] = list(shares.of(positive, best))
        columns["top_negatives"] = [[self.negatives[j] for j in row] for row in worst]
        columns["top_negative_shares"] = list(shares.of(negative, worst))
        columns["id_share"] = shares.id_share.astype(np.float32)
        return pa.table(columns, schema=schema(list(self.temperatures))), shares.id_share


class _Shares:
    """Softmax shares over all ID and negative labels: exp(c/T) / (Σ_k exp(a_k/T) + Σ_j exp(b_j/T))."""

    def __init__(self, block: Block, temperature: float) -> None:
        self.temperature = temperature
        ours = block.positive_lse(temperature)
        self.total = np.logaddexp(ours, block.negative_lse(temperature))
        # Without negatives the ID labels would share all of it, which says nothing.
        self.id_share = np.exp(ours - self.total) if block.negative.shape[1] else np.full(len(block), np.nan)

    def of(self, cosines: NDArray[np.float32], columns: NDArray[np.int64]) -> NDArray[np.float32]:
        chosen = np.take_along_axis(cosines, columns, axis=1).astype(np.float64) / self.temperature
        return np.exp(chosen - self.total[:, None]).astype(np.float32)


class ClassNames:
    """Labels of pictures → the names that the labels file has.

    An index of an ID picture is looked up there. A name is spelled as there: folders are often called
    ``golden_retriever`` for ``golden retriever``. What matches nothing stays as it is, a number as text.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        # First wins where two spellings meet, as the first of equal labels is the one predicted.
        self.spelled = {normalise(name): name for name in reversed(names)} | {name: name for name in names}

    def of(self, label: str | int | None, role: str) -> str:
        """The name of ``label``; empty where unknown. Pictures that are not ID keep their own."""
        if label is None:
            return ""
        if isinstance(label, int):
            return self.names[label] if role == "id" and label < len(self.names) else str(label)
        if role != "id":
            return label
        return self.spelled.get(label) or self.spelled.get(normalise(label)) or self._numbered(label.strip())

    def _numbered(self, label: str) -> str:
        """Digits that are no name are a class index, as in :func:`neglabel.pipeline.metrics.known_labels`."""
        index = int(label) if label.isdecimal() and len(label) < 10 else len(self.names)
        return self.names[index] if index < len(self.names) else label
