"""The candidate distance d_i = percentile_η({-cos(e_i, e_k)}_k) (paper, Eq. 4): a percentile is an order statistic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neglabel.indexes.device import GPU_MAX_K, flat_ip, gpu_count, is_gpu

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Order:
    """Which order statistics of K distances a percentile is: ``(1-weight)·x[low] + weight·x[low+1]``, x ascending.

    Linear interpolation between closest ranks, as ``numpy.percentile`` does: position η·(K−1).
    """

    low: int
    weight: float

    @classmethod
    def of(cls, percentile: float, labels: int) -> Order:
        """Args: ``percentile`` η in [0, 1]; ``labels`` K ≥ 1. Raises ValueError outside."""
        if not 0 <= percentile <= 1 or labels < 1:
            raise ValueError(f"percentile {percentile} of {labels} labels: η is in [0, 1] and K at least 1")
        position = percentile * (labels - 1)
        low = min(math.floor(position), labels - 1)
        return cls(low, position - low)

    @property
    def high(self) -> int:
        return self.low + (self.weight > 0)

    def neighbours(self, labels: int) -> int:
        """How many nearest (or, where that is fewer, farthest) of K ``labels`` hold it."""
        return min(self.high + 1, labels - self.low)


class PercentileIndex:
    """A FAISS inner-product index over the ID labels that answers candidates' distances in float32."""

    def __init__(
        self, labels: NDArray[np.float32], percentile: float = 0.05, device: Device = "auto", half: bool = False
    ) -> None:
        """Args: ``labels`` (K, D) unit vectors; ``percentile`` η in [0, 1], a share; ``half`` float16 on a GPU."""
        self.count, self.dimension = labels.shape
        self.percentile = percentile
        self.order = Order.of(percentile, self.count)
        # The k smallest distances are the k nearest labels; where the percentile lies in the upper half, the
        # largest distances are the nearest labels of the negated candidate, and fewer of them are needed.
        near, far = self.order.high + 1, self.count - self.order.low
        self.from_far_end = far < near
        self.k = min(near, far)
        self.half = half
        self.index = flat_ip(labels, "cpu" if gpu_count() and self.k > GPU_MAX_K else device, half)

    @property
    def on_gpu(self) -> bool:
        return is_gpu(self.index)

    @property
    def error_bound(self) -> float:
        """How far a float32 distance can be from the exact one.

        γ_D = D·u/(1−D·u) bounds an inner product of unit vectors whatever the order of its sum (Higham, Accuracy and
        Stability of Numerical Algorithms, Eq. 3.5), and each vector was rounded after normalising: 4 u more. An order
        statistic moves by no more than its entries do. On a GPU, TF32 products round both inputs to 2⁻¹¹, and float16
        storage does so once more.
        """
        unit_roundoff = 2.0**-24
        rounding: float = self.dimension * unit_roundoff / (1 - self.dimension * unit_roundoff) + 4 * unit_roundoff
        return rounding + (2.0 ** (-9 if self.half else -10) if self.on_gpu else 0.0)

    def distances(self, candidates: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, D) unit candidates → (n,) distances, float32, each within :attr:`error_bound` of the exact one."""
        queries = np.ascontiguousarray(candidates, np.float32)
        cosines, _ = self.index.search(-queries if self.from_far_end else queries, self.k)
        # Both ends as ascending distances: near gives -cos from the smallest on, far gives +(-cos) from the largest on.
        ascending = cosines[:, ::-1] if self.from_far_end else -cosines
        first = self.count - self.k if self.from_far_end else 0
        low, high = ascending[:, self.order.low - first], ascending[:, self.order.high - first]
        weight = np.float32(self.order.weight)
        return np.asarray(low + weight * (high - low), np.float32)


def exact_distances(
    candidates: NDArray[np.float64], labels: NDArray[np.float64], percentile: float
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.float64]]:
    """Distances in float64: (n, D) and (K, D) unit vectors → (n,) distances, nearest label's index, its cosine."""
    cosines = candidates @ labels.T
    nearest = cosines.argmax(axis=1)
    order = Order.of(percentile, len(labels))
    picked = np.partition(-cosines, [order.low, order.high], axis=1)
    low, high = picked[:, order.low], picked[:, order.high]
    return low + order.weight * (high - low), nearest, cosines[np.arange(len(cosines)), nearest]


def canonical_distance(candidate: NDArray[np.float64], labels: NDArray[np.float64], percentile: float) -> float:
    """The distance of one candidate, summed in an order that depends on the candidate alone.

    A matrix product may round differently by the block a row stands in; this decides between distances that equal
    each other but for that.
    """
    distances = np.sort(-(labels * candidate).sum(axis=1))
    order = Order.of(percentile, len(labels))
    return float(distances[order.low] + order.weight * (distances[order.high] - distances[order.low]))
