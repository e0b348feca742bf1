"""The flat inner-product index of the negative labels, and blocked products over its vectors.

A score needs all M similarities of a picture, which a k-nearest search can't return (FAISS on a GPU stops at
k = 2,048, and a heap of size M is slower than a product). So the index holds the vectors, and the products are taken
over them block by block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
#: Vectors a block: 4,096 × 512 float32 is 8 MB, which stays near the processor while a block of pictures passes.
BLOCK_VECTORS = 4_096
#: Similarities that may be held at once: 16 MB in float32 (here), 32 MB in float64 (a few such arrays in the scores).
BLOCK_VALUES = 1 << 22


class NegativeIndex:
    """M unit vectors in a FAISS ``IndexFlatIP``; inner product = cosine.

    Args:
        vectors: (M, D) float32, L2-normalised; M may be 0.
    """

    def __init__(self, vectors: Floats) -> None:
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        # The place for the GPU: what indexes/device.py makes of this index serves `_vectors` as well, since
        # reconstruct_n works there too; only the product itself would then be taken on the device.
        self.index = faiss.IndexFlatIP(vectors.shape[1])
        if len(vectors):
            self.index.add(vectors)

    def __len__(self) -> int:
        return int(self.index.ntotal)

    @property
    def dimension(self) -> int:
        return int(self.index.d)

    def rows_per_block(self, beside: int = 0, budget: int = BLOCK_VALUES) -> int:
        """How many pictures to take at once so that their similarities to M negatives and ``beside`` others fit."""
        return max(1, budget // max(1, len(self) + beside))

    def _vectors(self) -> Iterator[tuple[int, Floats]]:
        for start in range(0, len(self), BLOCK_VECTORS):
            yield start, self.index.reconstruct_n(start, min(BLOCK_VECTORS, len(self) - start))

    def similarities(self, images: Floats) -> Floats:
        """Cosines of a block of pictures to all negatives: (n, D) → (n, M) float32.

        The caller keeps n within :meth:`rows_per_block`; of the index's vectors only a block is copied at a time.
        """
        out = np.empty((len(images), len(self)), dtype=np.float32)
        for start, vectors in self._vectors():
            np.matmul(images, vectors.T, out=out[:, start : start + len(vectors)])
        return out


def top(similarities: NDArray[np.floating[Any]], k: int) -> NDArray[np.int64]:
    """Columns of the k largest of each row, best first, equal ones by column: (n, M) → (n, min(k, M)) int64."""
    count = similarities.shape[1]
    k = min(k, count)
    if k == 0:
        return np.empty((len(similarities), 0), dtype=np.int64)
    if k < count:
        found = np.argpartition(similarities, count - k, axis=1)[:, count - k :]
    else:
        found = np.broadcast_to(np.arange(count), similarities.shape)
    found = np.sort(found, axis=1)
    order = np.argsort(-np.take_along_axis(similarities, found, axis=1), axis=1, kind="stable")
    return np.asarray(np.take_along_axis(found, order, axis=1), dtype=np.int64)
