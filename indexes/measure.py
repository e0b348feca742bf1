"""Exact distances of candidates whose float32 cosines are at hand: float64 only where it decides."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neglabel.indexes.cosines import Floats, LabelProducts

Doubles = NDArray[np.float64]
#: Pairs of candidate and label multiplied at a time: three arrays of 1 MB at D = 512.
_PAIRS = 256


class Measured(NamedTuple):
    """(n,) each: the distance of Eq. 4, the index of the nearest label and its cosine; float64, int32, float64."""

    distance: Doubles
    nearest: NDArray[np.int32]
    cosine: Doubles


def statistics(cosines: Floats, products: LabelProducts) -> tuple[Floats, Floats]:
    """(n, K) float32 → the cosines of order statistics ``low`` and ``low + 1`` of the distances, (n,) float32 each."""
    order = products.order
    # Ascending distances are descending cosines. One partition place, then a minimum: NumPy's partition at two
    # places is several times as slow.
    place = products.count - 1 - order.high
    parted = np.partition(cosines, place, axis=1)
    high = parted[:, place]
    return (parted[:, place + 1 :].min(axis=1) if order.weight else high), high


def near_distances(cosines: Floats, products: LabelProducts) -> Doubles:
    """(n, K) float32 cosines → (n,) distances, each within the guard (and its own rounding) of the exact one."""
    low, high = (values.astype(np.float64) for values in statistics(cosines, products))
    return -(low + products.order.weight * (high - low))


def measure(cosines: Floats, candidates: Doubles, products: LabelProducts, nearest: bool = True) -> Measured:
    """The exact distances of a few candidates.

    With g the guard and x the float32 statistic, the exact one lies within g of x. So a label with a float32 cosine
    above x + 2g is surely above it and one below x - 2g surely below; of the few between, the float64 cosines are
    taken, each summed on its own. The result depends on the candidate and the labels alone, and equals
    ``percentile.canonical_distance`` bit for bit.

    Args:
        cosines: (n, K) float32, within the guard of the exact ones.
        candidates: (n, D) float64 unit vectors.
        nearest: False leaves out the nearest label (index 0, cosine NaN): half of the work.
    """
    order, reach = products.order, 2 * products.guard + 2.0**-23
    low, high = statistics(cosines, products)
    top, bottom = _up(low, reach), _down(high, reach)
    above = (cosines > top[:, None]).view(np.uint8).sum(axis=1, dtype=np.uint32).astype(np.intp)
    row, _, value = _pairs((cosines >= bottom[:, None]) & (cosines <= top[:, None]), candidates, products)
    start = np.searchsorted(row, np.arange(len(cosines)))
    value = value[np.lexsort((-value, row))]
    first, last = -value[start + order.low - above], -value[start + order.high - above]
    distance = first + order.weight * (last - first)
    if not nearest:
        return Measured(distance, np.zeros(len(cosines), np.int32), np.full(len(cosines), np.nan))
    row, label, value = _pairs(cosines >= _down(cosines.max(axis=1), reach)[:, None], candidates, products)
    best = np.lexsort((label, -value, row))[np.searchsorted(row, np.arange(len(cosines)))]
    return Measured(distance, label[best].astype(np.int32), value[best])


def _up(values: Floats, by: float) -> Floats:
    return np.asarray(np.nextafter((values.astype(np.float64) + by).astype(np.float32), np.float32(np.inf)))


def _down(values: Floats, by: float) -> Floats:
    return np.asarray(-_up(-values, by))


def _pairs(
    mask: NDArray[np.bool_], candidates: Doubles, products: LabelProducts
) -> tuple[NDArray[np.intp], NDArray[np.intp], Doubles]:
    """Row, label and float64 cosine of each pair that ``mask`` (n, K) marks, by row then label."""
    row, label = np.divmod(np.flatnonzero(mask), products.count)
    value = np.empty(len(row))
    for start in range(0, len(row), _PAIRS):
        some = slice(start, start + _PAIRS)
        value[some] = (products.exact[label[some]] * candidates[row[some]]).sum(axis=1)
    return row, label, value
