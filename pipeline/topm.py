"""The M candidates farthest from the ID labels, from a stream, exactly and in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.indexes.percentile import PercentileIndex, canonical_distance, exact_distances
from neglabel.pipeline.store import unit

#: Float64 distances nearer than this may be equal: above the rounding of a float64 product of unit vectors.
_TIE = 1e-12
#: Rows measured in float64 at a time.
_BLOCK = 1_024


class TopM:
    """Keeps the best M of (distance, candidate order): highest distance first, ties by the lower position.

    A row whose float32 distance is below the M-th best float64 distance by more than the float32 error bound can't be
    among the best and is dropped; the others wait, M at a time, to be measured in float64. Memory is 2 M rows and a
    block, whatever comes.
    """

    def __init__(self, top: int, labels: NDArray[np.floating[Any]], index: PercentileIndex) -> None:
        """Args: ``top`` M; ``labels`` (K, D) as stored; ``index`` over the same labels."""
        self.top = top
        self.labels = unit(labels, np.float64)
        self.percentile = index.percentile
        self.bound = index.error_bound
        self.cut = -np.inf
        self._waiting: list[tuple[NDArray[np.int64], NDArray[np.floating[Any]]]] = []
        self._waiting_rows = 0
        self._rows: dict[str, NDArray[Any]] = {}

    def push(
        self, distance: NDArray[np.float32], position: NDArray[np.int64], embedding: NDArray[np.floating[Any]]
    ) -> None:
        """Offer rows: float32 ``distance`` (n,), ``position`` (n,) in the stream, ``embedding`` (n, D) as stored."""
        if self.top < 1:
            return
        near = distance >= self.cut - self.bound
        if near.any():
            self._waiting.append((position[near], embedding[near]))
            self._waiting_rows += int(near.sum())
            if self._waiting_rows >= max(self.top, _BLOCK):
                self._merge()

    def result(self) -> dict[str, NDArray[Any]]:
        """The best rows, best first: ``position, distance, nearest`` (label index), ``cosine, embedding``."""
        self._merge()
        return self._rows

    def _merge(self) -> None:
        for position, embedding in self._waiting:
            for start in range(0, len(position), _BLOCK):
                rows = slice(start, start + _BLOCK)
                distance, nearest, cosine = exact_distances(
                    unit(embedding[rows], np.float64), self.labels, self.percentile
                )
                self._add(position=position[rows], distance=distance, nearest=nearest, cosine=cosine,
                          embedding=embedding[rows])  # fmt: skip
        self._waiting, self._waiting_rows = [], 0
        if self._rows:
            keep = self._ranked()[: self.top]
            self._rows = {name: values[keep] for name, values in self._rows.items()}
            if len(keep) == self.top:
                self.cut = float(self._rows["distance"][-1])

    def _add(self, **rows: NDArray[Any]) -> None:
        old = self._rows
        self._rows = {name: np.concatenate([old[name], values]) if old else values for name, values in rows.items()}

    def _ranked(self) -> NDArray[np.intp]:
        """Order of the rows held: by distance, near-equal ones measured again one by one, then by position."""
        distance, position = self._rows["distance"].copy(), self._rows["position"]
        order = np.lexsort((position, -distance))
        close = np.flatnonzero(np.diff(distance[order]) > -_TIE)
        for row in order[np.union1d(close, close + 1)]:
            candidate = unit(self._rows["embedding"][row : row + 1], np.float64)[0]
            distance[row] = canonical_distance(candidate, self.labels, self.percentile)
        return np.lexsort((position, -distance))
