"""The M best of a stream of measured candidates, exactly and in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Rows that may wait beside the M best before they are ranked.
_BLOCK = 1_024


class TopM:
    """Keeps the best M of (distance, candidate order): highest distance first, ties by the lower position.

    Memory is 2 M rows and a block, whatever comes. Distances are the exact ones of ``indexes.measure``, so nothing
    depends on the order in which rows are offered.

    Attributes:
        bound: no row below it can be among the best: the M-th best so far, or what was given at the start.
        lost: the greatest distance of a row that was held and let go.
    """

    def __init__(self, top: int, bound: float = -np.inf) -> None:
        self.top = top
        self.bound = bound if top else np.inf
        self.lost = -np.inf
        self._parts: list[dict[str, NDArray[Any]]] = []
        self._held = self._fresh = 0

    def push(self, distance: NDArray[np.float64], position: NDArray[np.int64], **columns: NDArray[Any]) -> None:
        """Offer rows: exact ``distance`` (n,), ``position`` (n,) in the stream, and what else belongs to them."""
        near = np.flatnonzero(distance >= self.bound)
        if not len(near):
            return
        rows: dict[str, NDArray[Any]] = {"distance": distance, "position": position, **columns}
        self._parts.append({name: values[near] for name, values in rows.items()})
        self._held += len(near)
        self._fresh += len(near)
        if self._held >= 2 * self.top + _BLOCK:
            self._rank()
        elif self._held >= self.top and self._fresh * 16 >= self.top:
            # A better bound than at the last ranking, at the price of one partition.
            held = np.concatenate([part["distance"] for part in self._parts])
            self.bound = max(self.bound, float(np.partition(held, len(held) - self.top)[len(held) - self.top]))
            self._fresh = 0

    def result(self) -> dict[str, NDArray[Any]]:
        """The best rows, best first: ``distance, position`` and the other columns; empty where there are none."""
        self._rank()
        return self._parts[0] if self._parts else {}

    def _rank(self) -> None:
        if not self._parts:
            return
        rows = {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}
        order = np.lexsort((rows["position"], -rows["distance"]))
        if len(order) > self.top:
            self.lost = max(self.lost, float(rows["distance"][order[self.top]]))
        order = order[: self.top]
        if len(order) == self.top:
            self.bound = max(self.bound, float(rows["distance"][order[-1]]))
        self._parts = [{name: values[order] for name, values in rows.items()}]
        self._held, self._fresh = len(order), 0
