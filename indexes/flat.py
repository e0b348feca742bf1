"""The flat inner-product index of the negative labels, products with its vectors, and the largest of them.

A score needs all M similarities of a picture, which a k-nearest search can't return (FAISS on a GPU stops at
k = 2,048, and a heap of size M is slower than a product). So the index holds the vectors, and the products are taken
with them block by block of pictures.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from neglabel.indexes.flat_device import DeviceNegatives

Floats = NDArray[np.float32]
Columns = NDArray[np.int64]
#: Similarities that a thread may hold at once: 16 MB in float32. Less and the product is slower: BLAS brings all M
#: vectors into its own layout once a block.
BLOCK_VALUES = 1 << 22


class NegativeIndex:
    """M unit vectors in a FAISS ``IndexFlatIP``; inner product = cosine.

    Vectors lie in the order of the groups, so that a group is a range of columns and nothing is gathered; before them
    those of the K ID labels, if given, so that one product gives both.

    Attributes:
        order: (M,) which negative a column is.
        groups: (n_g, m) columns of each group: 0, 1, 2, …; None without groups.
    """

    def __init__(self, vectors: Floats, groups: Columns | None = None, labels: Floats | None = None) -> None:
        """Args: ``vectors`` (M, D) float32, L2-normalised, M may be 0; ``groups`` (n_g, m) indices of them;
        ``labels`` (K, D) as the vectors."""
        self.order: Columns = np.arange(len(vectors))
        self.groups = groups
        if groups is not None:
            self.order = np.concatenate([groups.ravel(), np.setdiff1d(self.order, groups)])
            self.groups = np.arange(groups.size, dtype=np.int64).reshape(groups.shape)
            vectors = vectors[self.order]
        self.index = faiss.IndexFlatIP(vectors.shape[1])
        self._labels = 0 if labels is None else len(labels)
        for some in (labels, vectors):
            if some is not None and len(some):
                self.index.add(np.ascontiguousarray(some, np.float32))

    def __len__(self) -> int:
        return int(self.index.ntotal) - self._labels

    @property
    def dimension(self) -> int:
        return int(self.index.d)

    @property
    def texts(self) -> Floats:
        """(K + M, D): the index's own memory, valid as long as the index and not to be written."""
        if not self.index.ntotal:
            return np.empty((0, self.dimension), np.float32)
        flat = faiss.rev_swig_ptr(self.index.get_xb(), self.index.ntotal * self.dimension)
        return np.asarray(flat.reshape(-1, self.dimension))

    @property
    def vectors(self) -> Floats:
        """(M, D), by :attr:`order`: a part of :attr:`texts`."""
        return self.texts[self._labels :]

    def rows_per_block(self, budget: int = BLOCK_VALUES) -> int:
        """How many pictures to take at once so that their similarities to all K + M texts fit."""
        return max(1, budget // max(1, int(self.index.ntotal)))

    def similarities(self, images: Floats) -> tuple[Floats, Floats]:
        """Cosines of a block of pictures (n, D): to the ID labels (n, K), to all negatives by :attr:`order` (n, M).

        float32, from one product. The caller keeps n within :meth:`rows_per_block`.
        """
        both = np.asarray(images @ self.texts.T, np.float32)
        return both[:, : self._labels], both[:, self._labels :]

    def largest(self, similarities: Floats, k: int, order: Columns | None = None) -> tuple[Columns, Floats]:
        """:func:`largest`, which an index on a device takes there."""
        return largest(similarities, k, order)


def index_on(device: str, vectors: Floats, groups: Columns | None, labels: Floats) -> NegativeIndex | DeviceNegatives:
    """A :class:`NegativeIndex`, or on a device that PyTorch finds what it is there: ``cuda``, ``cuda:1``, …"""
    index = NegativeIndex(vectors, groups, labels)
    if not device.startswith("cuda"):
        return index
    import torch

    from neglabel.indexes.flat_device import DeviceNegatives

    return DeviceNegatives(index, device) if torch.cuda.is_available() else index


def top(similarities: NDArray[np.floating[Any]], k: int, order: Columns | None = None) -> Columns:
    """Columns of the k largest of each row, best first: (n, M) finite numbers → (n, min(k, M)) int64.

    Equal ones go by ``order`` (M,), without it by column. The k largest lie in the k pieces of a row that have the
    largest maxima, so that only these are searched: a fifth of the time of a partition of the row.
    """
    n, count = similarities.shape
    k = min(k, count)
    if k == 0:
        return np.empty((n, 0), dtype=np.int64)
    rank = np.arange(count) if order is None else order
    high, columns = max(1, math.isqrt(count // k) // 2), None
    pieces = count // high
    if high > 1 and pieces >= 4 * k:
        # Piece j is every pieces-th column from j on: maxima along the rows of a matrix are the fast ones.
        maxima = similarities[:, : high * pieces].reshape(n, high, pieces).max(axis=1)
        best = np.argpartition(maxima, pieces - k, axis=1)[:, pieces - k :]
        inside = (best[:, None, :] + pieces * np.arange(high)[:, None]).reshape(n, -1)
        tail = np.broadcast_to(np.arange(high * pieces, count), (n, count - high * pieces))
        columns = np.concatenate([inside, tail], axis=1)
        values = np.take_along_axis(similarities, columns, axis=1)
    else:
        values = similarities
    place = values.shape[1] - k
    chosen = np.argpartition(values, place, axis=1)[:, place:]
    least = np.take_along_axis(values, chosen[:, :1], axis=1)
    tied = (values >= least).sum(axis=1) > k
    if columns is not None:
        chosen = np.take_along_axis(columns, chosen, axis=1)
        tied |= (maxima >= least).sum(axis=1) > (np.take_along_axis(maxima, best, axis=1) >= least).sum(axis=1)
    for row in np.flatnonzero(tied):
        among = np.flatnonzero(similarities[row] >= least[row])
        chosen[row] = among[np.lexsort((rank[among], -similarities[row, among]))[:k]]
    sort = np.lexsort((rank[chosen], -np.take_along_axis(similarities, chosen, axis=1)), axis=1)
    return np.asarray(np.take_along_axis(chosen, sort, axis=1), dtype=np.int64)


def largest(similarities: Floats, k: int, order: Columns | None = None) -> tuple[Columns, Floats]:
    """:func:`top` and the similarities there, (n, min(k, M)) each."""
    columns = top(similarities, k, order)
    return columns, np.take_along_axis(similarities, columns, axis=1)
