"""NegMining on plain arrays (paper, Section 3.1, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.indexes.cosines import LabelProducts, as_float32
from neglabel.indexes.measure import near_distances
from neglabel.indexes.percentile import Device
from neglabel.pipeline.mine_blocks import Rows, ZeroLength, search_rows
from neglabel.pipeline.search import Search
from neglabel.pipeline.search_device import on_gpu
from neglabel.pipeline.store import unit

#: Candidates of an array taken at a time.
_BLOCK = 4_096
#: Candidates measured first, to guess which distance the M-th best will have.
_SAMPLE = 2_048


def select(
    candidates: NDArray[np.floating[Any]],
    labels: NDArray[np.floating[Any]],
    percentile: float = 0.05,
    top: int = 10_000,
    device: Device = "auto",
) -> NDArray[np.int64]:
    """NegMining on plain arrays: ``Y⁻ = topk({d_i}, Y^c, M)`` with ``d_i = percentile_η({-cos(e_i, e_k)}_k)`` (Eq. 4).

    Args:
        candidates: (C, D) embeddings of any length above zero; labels: (K, D).
        percentile: η as a share in [0, 1].
        top: M.

    Returns:
        (min(M, C),) int64 indices into ``candidates``, farthest first, ties by the lower index.

    Raises:
        ValueError: wrong shapes, no labels, η outside [0, 1], M below 1, NaN, infinite or zero rows.
    """
    if top < 1:
        raise ValueError(f"top is {top}: keep at least one")
    for name, rows in (("candidates", candidates), ("labels", labels)):
        if rows.ndim != 2 or rows.shape[1] != labels.shape[-1]:
            raise ValueError(f"{name} has shape {rows.shape}, not (n, {labels.shape[-1]})")
    _check_rows("labels", labels)
    size, index = min(top, len(candidates)), on_gpu(labels, percentile, device)
    guess = _guess(candidates, labels, percentile, size)
    for bound in (guess, -np.inf):
        search = Search(labels, percentile, [size], index, describe=False, bound=bound)
        try:
            for _ in search_rows(_blocks(candidates), [search]):
                pass
        except ZeroLength:
            _check_rows("candidates", candidates)
            raise
        best = search.best[0].result().get("position", np.empty(0, np.int64))
        if len(best) == size or bound == -np.inf:
            break
    return np.asarray(best, np.int64)


def _check_rows(name: str, rows: NDArray[np.floating[Any]]) -> None:
    bad = ~np.isfinite(rows).all(axis=1) | ~rows.any(axis=1)
    if bad.any():
        raise ValueError(f"{name}, row {int(np.flatnonzero(bad)[0])}: NaN, infinite or all zero")


def _blocks(candidates: NDArray[np.floating[Any]]) -> Iterator[Rows]:
    for start in range(0, len(candidates), _BLOCK):
        rows = candidates[start : start + _BLOCK]
        n = len(rows)
        yield Rows(0, False, np.arange(start, start + n), np.zeros(n, np.uint8), rows, [np.ones(n, bool)])


def _guess(
    candidates: NDArray[np.floating[Any]], labels: NDArray[np.floating[Any]], percentile: float, size: int
) -> float:
    """A distance that ``size`` of the candidates very likely reach, and not many more; -inf where a guess is no use."""
    if len(candidates) < 4 * _SAMPLE or 2 * size > len(candidates):
        return -np.inf
    rows, length = as_float32(candidates[:: len(candidates) // _SAMPLE])
    if not (np.isfinite(length) & (length > 0)).all():
        return -np.inf
    products = LabelProducts(unit(labels, np.float64), percentile)
    distance = near_distances(products.block(rows, length).cosines(np.arange(len(rows))), products)
    share = size / len(candidates)
    # Four standard deviations of a binomial below; if it still is too high, all is done again without.
    place = int(share * len(rows) + 4 * np.sqrt(share * (1 - share) * len(rows)) + 4)
    return float(np.sort(distance)[::-1][min(place, len(rows) - 1)]) - 2 * products.guard
