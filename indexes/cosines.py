"""Blocks of candidates times the ID labels in float32 on a CPU, and how far such a cosine can be from the exact one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from neglabel.indexes.percentile import Order

Floats = NDArray[np.float32]
#: Cosines a block: 4 MB of float32, which stay near the core that counts them.
BLOCK_VALUES = 1 << 20
#: Squared lengths that a float32 row may have and be multiplied as it is: nothing over- or underflows.
_LENGTHS = (2.0**-20, 2.0**20)
#: Squares added in float32 before float64 goes on: a quarter of the time of float64 throughout.
_PIECE = 32


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Each worker thread multiplies its own block, so BLAS itself gets one thread: cores are not oversubscribed."""
    with threadpool_limits(1, "blas"):
        yield


class Block:
    """A block's products.

    Attributes:
        dots: (n, K) float32, candidate · label, the candidate at its own length.
        length: (n,) float64, the candidates' lengths; a cosine is ``dots / length``.
    """

    def __init__(self, dots: Floats, length: NDArray[np.float64]) -> None:
        self.dots, self.length = dots, length

    def above(self, cosine: NDArray[np.float64]) -> NDArray[np.uint32]:
        """(n,) float64 bounds → (n,) how many of a row's float32 cosines are strictly above its bound, rounded up."""
        bound = np.nextafter((cosine * self.length).astype(np.float32), np.float32(np.inf))
        # A sum of bytes in 32 bits is several times as fast as count_nonzero along an axis.
        return np.asarray((self.dots > bound[:, None]).view(np.uint8).sum(axis=1, dtype=np.uint32))

    def take(self, rows: NDArray[np.intp]) -> Block:
        """The block of some of its rows."""
        return Block(self.dots[rows], self.length[rows])

    def cosines(self, rows: NDArray[np.intp]) -> Floats:
        """(r, K) float32 cosines of the rows at ``rows``."""
        return np.asarray(self.dots[rows] / self.length[rows].astype(np.float32)[:, None])


class LabelProducts:
    """K ID labels ready to be multiplied with blocks of candidates.

    Attributes:
        exact: (K, D) float64 unit vectors, which the exact distances are defined by.
        guard: how far a float32 cosine of :class:`Block` can be from the exact one.
        rest: share of rows that may be measured rather than counted on: a partition of a row costs about as much as
            seven counts.
    """

    rest = 0.12

    def __init__(self, labels: NDArray[np.float64], percentile: float) -> None:
        """Args: ``labels`` (K, D) float64 unit vectors; ``percentile`` η in [0, 1]. Raises ValueError outside."""
        self.exact = np.ascontiguousarray(labels, np.float64)
        self.count, self.dimension = labels.shape
        self.percentile = percentile
        self.order = Order.of(percentile, self.count)
        self._columns = self.exact.astype(np.float32).T
        # |fl(x·y) - x·y| <= γ_D |x||y| whatever the order of the sum (Higham, Accuracy and Stability of Numerical
        # Algorithms, Eq. 3.5). Beside it: the length, whose square is a float32 sum of at most _PIECE squares (half of
        # γ_(_PIECE + 1)), and one u each for the labels, a scaled candidate, the length as float32 and the division by
        # it, 3 u for the bound's rounding upwards: less than γ_(D + _PIECE / 2 + 8) in all.
        n, unit_roundoff = self.dimension + _PIECE // 2 + 8, 2.0**-24
        self.guard: float = n * unit_roundoff / (1 - n * unit_roundoff)

    @property
    def block_rows(self) -> int:
        """Candidates a block; many labels still get enough rows for the product to be efficient."""
        return int(np.clip(BLOCK_VALUES // self.count, 256, 4_096))

    def block(self, rows: Floats, length: NDArray[np.float64]) -> Block:
        """(n, D) float32 rows as :func:`as_float32` gives them, with their lengths → their products."""
        return Block(np.matmul(rows, self._columns), length)


def as_float32(rows: NDArray[np.floating[Any]]) -> tuple[Floats, NDArray[np.float64]]:
    """(n, D) finite rows of any float type and length → float32 rows of the same directions, (n,) float64 lengths.

    Float16 and float32 rows of ordinary length are taken as they are, without rounding and without the passes over
    them that normalising costs; a length of 0 or NaN tells a row that is zero or not finite.
    """
    with np.errstate(over="ignore"):
        wide = rows.astype(np.float32, copy=False)
    squares = _squares(wide)
    odd = ~((squares > _LENGTHS[0]) & (squares < _LENGTHS[1]))
    if rows.dtype.itemsize > 4:
        odd[:] = True
    if odd.any():
        exact = rows[odd].astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            exact /= np.abs(exact).max(axis=1, keepdims=True)
            exact /= np.linalg.norm(exact, axis=1, keepdims=True)
        wide = wide.copy() if wide is rows else wide
        wide[odd] = exact
        squares[odd] = _squares(wide[odd])
    return wide, np.sqrt(squares)


def _squares(rows: Floats) -> NDArray[np.float64]:
    if rows.shape[1] % _PIECE:
        return np.asarray(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    pieces = rows.reshape(len(rows), rows.shape[1] // _PIECE, _PIECE)
    return np.asarray(np.einsum("ijk,ijk->ij", pieces, pieces).sum(axis=1, dtype=np.float64))
