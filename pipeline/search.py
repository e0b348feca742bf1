"""One label set's search over candidates: what of a block is kept. Safe to be used by several threads."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.indexes.bins import bin_of, bins
from neglabel.indexes.cosines import Block, Floats, LabelProducts
from neglabel.indexes.measure import Measured, measure
from neglabel.indexes.percentile import PercentileIndex
from neglabel.indexes.pruned import can_reach
from neglabel.pipeline.store import unit
from neglabel.pipeline.topm import TopM

Rows = NDArray[np.intp]
#: Edges of the histogram of distances: a cosine's range in steps of 0.005.
EDGES = np.linspace(-1, 1, 401)
#: How many of the candidates nearest to the ID labels are noted.
NEAREST = 100


class Search:
    """The best M of each group, and, with ``describe``, what is known of all distances.

    Attributes:
        best: a :class:`TopM` a group, with ``nearest`` (label index), ``cosine`` and ``embedding`` (as stored).
        near: the candidates nearest to the ID labels, by negated distance.
        low: of each group the nearest, with the columns of ``best``, by negated distance and negated position, which is
            the order of ``best`` from its other end; empty without ``lowest``.
        histogram: of the exact distances of all rows offered, over :data:`EDGES`.
    """

    def __init__(
        self,
        labels: NDArray[np.floating[Any]],
        percentile: float,
        sizes: Sequence[int],
        index: PercentileIndex | LabelProducts | None = None,
        drawn: NDArray[np.int64] | None = None,
        describe: bool = True,
        bound: float = -np.inf,
        lowest: Sequence[int] = (),
        near_last: float | None = None,
    ) -> None:
        """
        Args:
            labels: (K, D) of any length above zero.
            sizes: M of each group.
            index: of :func:`neglabel.pipeline.search_device.on_gpu`: products that are counted on a device, or a FAISS
                index, which measures every row first; None counts on the CPU.
            drawn: of a random baseline, at each position -1 or its place; only those with a place are kept.
            bound: a distance that the M-th best is expected to reach; the result is short of M where it doesn't.
            lowest: how many of each group's nearest to keep as well; needs ``describe``, and no ``drawn``.
            near_last: candidates with a cosine above it to some label count as nearest of all in ``best``: their
                distance there is −1. Needs ``describe``.
        """
        faiss = index if isinstance(index, PercentileIndex) else None
        counting = index if isinstance(index, LabelProducts) else None
        self.products = counting or LabelProducts(unit(labels, np.float64), percentile)
        self.index, self.drawn, self.describe = faiss, drawn, describe
        self.best = [TopM(size, bound if drawn is None else -np.inf) for size in sizes]
        self.near = TopM(NEAREST)
        self.low = [TopM(size) for size in lowest]
        self.near_last = np.inf if near_last is None else near_last
        self.histogram = np.zeros(len(EDGES) - 1, np.int64)
        self._lock = Lock()

    def offer(
        self,
        raw: NDArray[np.floating[Any]],
        rows: Floats,
        length: NDArray[np.float64],
        position: NDArray[np.int64],
        group: NDArray[np.uint8],
    ) -> NDArray[np.int64]:
        """A block of at most ``products.block_rows`` rows: as stored, as ``as_float32`` gives them, and where they are.

        Returns:
            the block's histogram (zeros without ``describe``).
        """
        if self.index is None:
            block = self.products.block(rows, length)
            numbers = None
            if self.describe:
                exact = lambda some: unit(raw[some], np.float64)  # noqa: E731
                numbers = bins(block, exact, self.products, EDGES, self.histogram)
            chosen = self._by_counts(block, numbers, group)
        else:
            numbers, chosen = self._by_index(self.index, unit(raw), group)
        if self.drawn is not None:
            chosen = np.union1d(chosen, np.flatnonzero(self.drawn[position] >= 0))
        if self.index is not None:
            block = self.products.block(rows[chosen], length[chosen])
        cosines = block.cosines(chosen if self.index is None else np.arange(len(chosen)))
        found = measure(cosines, unit(raw[chosen], np.float64), self.products, self.describe) if len(chosen) else None
        counted = np.bincount([] if numbers is None else numbers, minlength=len(EDGES) - 1)
        with self._lock:
            self.histogram += counted
            if found is not None:
                self._push(found, raw[chosen], position[chosen], group[chosen])
        return counted

    def _by_counts(self, block: Block, numbers: NDArray[np.int64] | None, group: NDArray[np.uint8]) -> Rows:
        bound = self._bounds(group)
        if numbers is None:
            return can_reach(block, bound, self.products)
        # A bin says already who surely can't; the few that are left are counted.
        wanted = np.flatnonzero(EDGES[numbers + 1] >= bound - self.products.guard)
        wanted = wanted[can_reach(block.take(wanted), bound[wanted], self.products)]
        near = numbers <= self._last(self.near, numbers)
        for kind, best in enumerate(self.low):
            ours = group == kind
            near |= ours & (numbers <= self._last(best, numbers[ours]))
        return np.union1d(wanted, np.flatnonzero(near))

    @staticmethod
    def _last(best: TopM, numbers: NDArray[np.int64]) -> int:
        """The bin of the farthest of the rows with these ``numbers`` that can be among the nearest of ``best``."""
        last = int(bin_of(np.clip(-best.bound, -1, 1), EDGES))
        if len(numbers) > best.top > 0:
            last = min(last, int(np.partition(numbers, best.top - 1)[best.top - 1]))
        return last

    def _by_index(
        self, index: PercentileIndex, rows: Floats, group: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], Rows]:
        distance, reach = index.distances(rows).astype(np.float64), index.error_bound
        chosen = distance >= self._bounds(group) - reach
        if self.describe:
            chosen |= _nearest(distance, self.near, reach)
            for kind, best in enumerate(self.low):
                ours = np.flatnonzero(group == kind)
                chosen[ours] |= _nearest(distance[ours], best, reach)
        return bin_of(np.clip(distance, -1, 1), EDGES), np.flatnonzero(chosen)

    def _bounds(self, group: NDArray[np.uint8]) -> NDArray[np.float64]:
        if self.drawn is not None:
            return np.full(len(group), np.inf)
        return np.array([best.bound for best in self.best])[group]

    def _push(
        self, found: Measured, raw: NDArray[Any], position: NDArray[np.int64], group: NDArray[np.uint8]
    ) -> None:
        distance = np.where(found.cosine > self.near_last, -1.0, found.distance)
        columns: dict[str, NDArray[Any]] = {"nearest": found.nearest, "cosine": found.cosine, "embedding": raw}
        for number, best in enumerate(self.best):
            rows = group == number
            if self.drawn is not None:
                rows &= self.drawn[position] >= 0
            best.push(
                distance[rows], position[rows], **{name: values[rows] for name, values in columns.items()}
            )
        for number, best in enumerate(self.low):
            rows = group == number
            best.push(
                -found.distance[rows], -position[rows], **{name: values[rows] for name, values in columns.items()}
            )
        if self.describe:
            self.near.push(-found.distance, position)

    def held(self, start: int, end: int) -> tuple[list[dict[str, NDArray[Any]]], list[tuple[float, bool]]]:
        """The rows of positions from ``start`` to ``end`` that are held now: of each group, and of the nearest.

        Returns:
            those rows, and of each the bound that they are complete for, and whether rows at it were let go.
        """
        with self._lock:
            found: list[dict[str, NDArray[Any]]] = []
            bounds: list[tuple[float, bool]] = []
            for best in (*self.best, self.near):
                rows = best.result()
                place = rows.get("position", np.empty(0, np.int64))
                inside = (place >= start) & (place < end)
                found.append({name: values[inside] for name, values in rows.items()})
                bounds.append((best.bound, best.lost >= best.bound))
            return found, bounds

    def recall(self, rows: Sequence[dict[str, NDArray[Any]]], start: int, histogram: NDArray[np.int64]) -> None:
        """Offer what :meth:`held` gave of a file that begins at position ``start``, in an earlier run."""
        self.histogram += histogram
        for best, held in zip((*self.best, self.near), rows, strict=True):
            if held:
                columns = {name: values for name, values in held.items() if name not in ("row", "distance")}
                best.push(held["distance"], held["row"] + start, **columns)


def _nearest(distance: NDArray[np.float64], best: TopM, reach: float) -> NDArray[np.bool_]:
    """Which rows can be among the nearest of ``best``, by a distance that is wrong by ``reach`` at most."""
    near = distance <= reach - best.bound
    if len(distance) > best.top > 0:
        near &= distance <= np.partition(distance, best.top - 1)[best.top - 1] + 2 * reach
    return np.asarray(near)
