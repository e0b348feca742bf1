"""A block of picture embeddings → rows of a scores file: the scores, and the labels that decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from neglabel.corpora.text import normalise
from neglabel.indexes.cores import cores
from neglabel.indexes.cosines import one_blas_thread
from neglabel.indexes.flat import NegativeIndex
from neglabel.pipeline.images import Item
from neglabel.pipeline.item_columns import columns_of
from neglabel.pipeline.overlap import spread
from neglabel.pipeline.score_plan import DataSet
from neglabel.pipeline.scores import SCORES, Block, compute_all
from neglabel.pipeline.scores.bank import Fitted
from neglabel.pipeline.scores.stable import Floats

if TYPE_CHECKING:
    from neglabel.indexes.flat_device import DeviceNegatives

#: Labels and negatives shown for each picture.
TOP = 5
#: Threads that make tables of what a device gives; more of them would only hold more of its memory.
DEVICE_THREADS = 6


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

    ``labels`` (K, D) float32 unit and ``names`` K; ``index``: of both, with the groups, here or on a device;
    ``negatives`` M; ``temperatures`` by score; ``share_temperature``: of the softmax over all ID and negative labels;
    ``fitted``: by name, those scores that were fitted to a bank.
    """

    names: Sequence[str]
    labels: NDArray[np.float32]
    index: NegativeIndex | DeviceNegatives
    negatives: Sequence[str]
    temperatures: Mapping[str, float]
    share_temperature: float
    fitted: Mapping[str, Fitted] = field(default_factory=dict)

    @cached_property
    def _vectors(self) -> NDArray[np.float32] | None:
        """(M, D) by column of the index, where a score compares pictures with the negatives' own vectors."""
        wanted = any({"negatives", "embeddings"} <= SCORES[name].needs for name in self.temperatures)
        return self.index.vectors if wanted else None

    @cached_property
    def classes(self) -> ClassNames:
        return ClassNames(self.names)

    @cached_property
    def _texts(self) -> tuple[pa.Array, pa.Array]:
        """Names of the labels, and of the negatives by column of the index."""
        words = pa.array(self.negatives, pa.string())
        return pa.array(self.names, pa.string()), words.take(pa.array(self.index.order))

    @cached_property
    def schema(self) -> pa.Schema:
        return schema(list(self.temperatures))

    def rows(self, data: DataSet, items: Sequence[Item], embedding: NDArray[np.float32]) -> tuple[pa.Table, Floats]:
        """Score n pictures: (n, D) → a table of :func:`schema`, and the n ID shares (NaN without negatives).

        Memory is a block of similarities a thread, however many pictures and negatives there are.
        """
        step = self.index.rows_per_block()
        if len(items) <= step:
            # One block, such as a batch that a tower gives: BLAS has all threads.
            return self._block(data, items, embedding)
        parts = [slice(start, start + step) for start in range(0, len(items), step)]
        threads = cores() if isinstance(self.index, NegativeIndex) else min(cores(), DEVICE_THREADS)
        with one_blas_thread():
            found = [
                block
                for _, block in spread(lambda part: self._block(data, items[part], embedding[part]), parts, threads)
            ]
        return pa.concat_tables([table for table, _ in found]), np.concatenate([share for _, share in found])

    def _block(
        self, data: DataSet, items: Sequence[Item], embedding: NDArray[np.float32]
    ) -> tuple[pa.Table, Floats]:
        if not len(items):
            return self.schema.empty_table(), np.empty(0)
        cosines: Any = self.index.similarities(embedding)
        positive, negative = cosines
        best, best_cosines = self.index.largest(positive, TOP)
        worst, worst_cosines = self.index.largest(negative, TOP, self.index.order)
        block = _block_of(positive, negative, self.index.groups, embedding, self.labels, self._vectors)
        shares = _Shares(block, self.share_temperature)
        names, words = self._texts
        given = columns_of(items)
        columns: dict[str, Any] = {
            "id": given.id,
            "path": given.path,
            "dataset": pa.repeat(data.name, len(items)),
            "role": pa.repeat(data.role, len(items)),
            "label": self.classes.of_all(given.label, data.role),
            "predicted_label": names.take(pa.array(best[:, 0])),
        }
        for name, (score, logit) in compute_all(self.temperatures, block, self.fitted).items():
            columns[name], columns[f"{name}_logit"] = score, logit
        columns["top_labels"] = _lists(names.take(pa.array(best.ravel())), best.shape)
        columns["top_label_shares"] = _lists(pa.array(shares.of(best_cosines).ravel()), best.shape)
        columns["top_negatives"] = _lists(words.take(pa.array(worst.ravel())), worst.shape)
        columns["top_negative_shares"] = _lists(pa.array(shares.of(worst_cosines).ravel()), worst.shape)
        columns["id_share"] = shares.id_share.astype(np.float32)
        return pa.table(columns, schema=self.schema), shares.id_share


def _block_of(
    positive: Any, negative: Any, groups: NDArray[np.int64] | None, images: NDArray[np.float32],
    labels: NDArray[np.float32], negatives: NDArray[np.float32] | None,
) -> Block:  # fmt: skip
    if isinstance(positive, np.ndarray):
        return Block(positive, negative, groups, images, labels, negatives, single=True)
    from neglabel.pipeline.scores.device_block import DeviceBlock

    return DeviceBlock(positive, negative, groups, images, labels, negatives)


def _lists(values: pa.Array, shape: tuple[int, ...]) -> pa.ListArray:
    """The values of an array of ``shape`` (n, k), flat → n lists of k."""
    n, each = shape
    return pa.ListArray.from_arrays(pa.array(np.arange(n + 1, dtype=np.int32) * np.int32(each)), values)


class _Shares:
    """Softmax shares over all ID and negative labels: exp(c/T) / (Σ_k exp(a_k/T) + Σ_j exp(b_j/T))."""

    def __init__(self, block: Block, temperature: float) -> None:
        self.temperature = temperature
        ours = block.positive_lse(temperature)
        self.total = np.logaddexp(ours, block.negative_lse(temperature))
        # Without negatives the ID labels would share all of it, which says nothing.
        self.id_share = np.exp(ours - self.total) if block.negative.shape[1] else np.full(len(block), np.nan)

    def of(self, cosines: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of the labels with these cosines (n, k)."""
        return np.exp(cosines.astype(np.float64) / self.temperature - self.total[:, None]).astype(np.float32)


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

    def of_all(self, labels: pa.Array, role: str) -> pa.Array:
        """:meth:`of` of (n,) labels, strings or integers, null where unknown: each distinct one is looked up once."""
        coded = labels.dictionary_encode()
        names = pa.array([self.of(label, role) for label in coded.dictionary.to_pylist()], pa.string())
        return pc.fill_null(names.take(coded.indices), "")

    def _numbered(self, label: str) -> str:
        """Digits that are no name are a class index, as in :func:`neglabel.pipeline.metrics.known_labels`."""
        index = int(label) if label.isdecimal() and len(label) < 10 else len(self.names)
        return self.names[index] if index < len(self.names) else label
