"""The histogram of all candidates' exact distances without measuring them: a row's bin is found by counting."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from neglabel.indexes.cosines import Block, LabelProducts
from neglabel.indexes.measure import measure, near_distances

Bins = NDArray[np.int64]


def bins(
    block: Block,
    exact: Callable[[NDArray[np.intp]], NDArray[np.float64]],
    products: LabelProducts,
    edges: NDArray[np.float64],
    seen: Bins,
) -> Bins:
    """Bin numbers of a block's exact distances, as ``numpy.histogram(clip(d, e_0, e_n), edges)`` has them.

    d < e is certain where more than ``order.high`` float32 cosines are above -(e - g), d >= e where at most
    ``order.low`` are above -(e + g), with g the guard. Edges are tried by a binary search weighted by the bins found so
    far; what no count decides is measured, in float64 within g of an edge.

    Args:
        exact: row numbers of the block → their (r, D) float64 unit vectors.
        edges: (b + 1,) ascending, from the least to the greatest distance.
        seen: (b,) how often each bin was found before; only speed depends on it.
    """
    order, guard = products.order, products.guard
    n, count = len(block.length), len(edges) - 1
    weights = np.concatenate([[0.0], np.cumsum(seen + 1e-3 * (seen.sum() + 1) / count)])
    low, high = np.zeros(n, np.int64), np.full(n, count)
    while (high - low > 1).sum() > products.rest * n:
        middle = np.searchsorted(weights, (weights[low] + weights[high]) / 2)
        middle = np.clip(middle, np.minimum(low + 1, high), np.maximum(high - 1, low))
        # At the last a row's own edges come by again, and change nothing.
        beyond = block.above(-(edges[middle] + guard)) <= order.low
        open_ = high - low > 1
        low, high = np.where(open_ & beyond, middle, low), np.where(open_ & ~beyond, middle, high)
    below = (high == count) | (block.above(-(edges[high] - guard)) > order.high)
    doubtful = np.flatnonzero((high - low > 1) | ~below)
    if len(doubtful):
        low[doubtful] = _measured(block, doubtful, exact, products, edges)
    return low


def _measured(
    block: Block,
    rows: NDArray[np.intp],
    exact: Callable[[NDArray[np.intp]], NDArray[np.float64]],
    products: LabelProducts,
    edges: NDArray[np.float64],
) -> Bins:
    cosines = block.cosines(rows)
    distance = near_distances(cosines, products)
    reach = 2 * products.guard
    near = np.flatnonzero(bin_of(distance - reach, edges) != bin_of(distance + reach, edges))
    if len(near):
        distance[near] = measure(cosines[near], exact(rows[near]), products, nearest=False).distance
    return bin_of(distance, edges)


def bin_of(distance: NDArray[np.float64], edges: NDArray[np.float64]) -> Bins:
    """The last bin is closed on both sides."""
    return np.clip(np.searchsorted(edges, distance, side="right") - 1, 0, len(edges) - 2)
