"""The flat inner-product index of the negative labels, products with its vectors, and the largest of them.

A score needs all M similarities of a picture, which a k-nearest search can't return (FAISS on a GPU stops at
k = 2,048, and a heap of size M is slower than a product). So the index holds the vectors, and the products are taken
with them block by block of pictures.
"""

from __future__ import annotations

import math
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Columns = NDArray[np.int64]
#: Similarities that a thread may hold at once: 16 MB in float32. Less and the product is slower: BLAS brings all M
#: vectors into its own layout once a block.
BLOCK_VALUES = 1 << 22


class NegativeIndex:
    """M unit vectors in a FAISS ``IndexFlatIP``; inner product = cosine.

    Vectors lie in the order of the groups, so that a group is a range of columns and nothing is gathered.

    Attributes:
        order: (M,) which negative a column is.
        groups: (n_g, m) columns of each group: 0, 1, 2, …; None without groups.
    """

    def __init__(self, vectors: Floats, groups: Columns | None = None) -> None:
        """Args: ``vectors`` (M, D) float32, L2-normalised, M may be 0; ``groups`` (n_g, m) indices of them."""
        self.order: Columns = np.arange(len(vectors))
        self.groups = groups
        if groups is not None:
            self.order = np.concatenate([groups.ravel(), np.setdiff1d(self.order, groups)])
            self.groups = np.arange(groups.size, dtype=np.int64).reshape(groups.shape)
            vectors = vectors[self.order]
        self.index = faiss.IndexFlatIP(vectors.shape[1])
        if len(vectors):
            self.index.add(np.ascontiguousarray(vectors, np.float32))

    def __len__(self) -> int:
        return int(self.index.ntotal)

    @property
    def dimension(self) -> int:
        return int(self.index.d)

    @property
    def vectors(self) -> Floats:
        """(M, D), by :attr:`order`: the index's own memory, valid as long as the index and not to be written."""
        if not len(self):
            return np.empty((0, self.dimension), np.float32)
        flat = faiss.rev_swig_ptr(self.index.get_xb(), len(self) * self.dimension)
        return np.asarray(flat.reshape(len(self), self.dimension))

    def rows_per_block(self, beside: int = 0, budget: int = BLOCK_VALUES) -> int:
        """How many pictures to take at once so that their similarities to M negatives and ``beside`` others fit."""
        return max(1, budget // max(1, len(self) + beside))

    def similarities(self, images: Floats) -> Floats:
        """Cosines of a block of pictures to all negatives, by :attr:`order`: (n, D) → (n, M) float32.

        The caller keeps n within :meth:`rows_per_block`.
        """
        return np.asarray(images @ self.vectors.T, np.float32)


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
    pieces, columns = math.isqrt(k * count), None
    if pieces >= 4 * k:
        # Piece j is every pieces-th column from j on: maxima along the rows of a matrix are the fast ones.
        high = count // pieces
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
