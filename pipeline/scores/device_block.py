"""A block of pictures whose cosines are on a device: the reductions that scores share, there; rows come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neglabel.indexes.flat_device import vectors_of
from neglabel.pipeline.scores.block import Block
from neglabel.pipeline.scores.stable import Floats

#: Exponentials at a time: 16 MB of float32, which stay in a GPU's cache from one step to the next.
_SLAB = 1 << 22


@dataclass(frozen=True, eq=False)
class DeviceBlock(Block):
    """``positive`` (n, K) and ``negative`` (n, M) are float32 tensors, groups in order (``Block.in_order``).

    Exponentials are float32, each group around its largest; sums, logarithms and what comes back are float64.
    """

    def top(self) -> Floats:
        return np.asarray(self._once("top", 0.0, lambda: vectors_of(_any(self.positive).amax(dim=1))))

    def top_and_rest(self, temperature: float) -> tuple[Floats, Floats]:
        def make() -> tuple[Floats, Floats]:
            positive = _any(self.positive).double() / temperature
            best = positive.max(dim=1, keepdim=True)
            rest = positive.scatter(1, best.indices, -torch.inf).logsumexp(dim=1)
            return vectors_of(best.values[:, 0]), vectors_of(rest)

        made: tuple[Floats, Floats] = self._once("rest", temperature, make)
        return made

    def positive_lse(self, temperature: float) -> Floats:
        return np.asarray(
            self._once("positive", temperature, lambda: _lse(_any(self.positive)[:, None, :], temperature)[:, 0])
        )

    def group_lse(self, temperature: float) -> Floats:
        def make() -> Floats:
            if self.groups is None:
                return _lse(_any(self.negative)[:, None, :], temperature)
            used = _any(self.negative)[:, : self.groups.size]
            return _lse(used.unflatten(1, self.groups.shape), temperature)

        return np.asarray(self._once("groups", temperature, make))

    def negative_lse(self, temperature: float) -> Floats:
        def make() -> Floats:
            total = np.logaddexp.reduce(self.group_lse(temperature), axis=1)
            if self.groups is None or self.groups.size == self.negative.shape[1]:
                return np.asarray(total)
            left = _any(self.negative)[:, None, self.groups.size :]
            return np.asarray(np.logaddexp(total, _lse(left, temperature)[:, 0]))

        return np.asarray(self._once("negative", temperature, make))

    def sums(self) -> tuple[Floats, Floats]:
        def make() -> tuple[Floats, Floats]:
            return _sum(_any(self.positive)), _sum(_any(self.negative))

        made: tuple[Floats, Floats] = self._once("sums", 0.0, make)
        return made

    def counts(self, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        def make() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
            return _count(_any(self.positive), threshold), _count(_any(self.negative), threshold)

        made: tuple[NDArray[np.int64], NDArray[np.int64]] = self._once("counts", threshold, make)
        return made


def _any(tensor: Any) -> Any:
    """Block's arrays are typed as NumPy's."""
    return tensor


def _lse(values: Any, temperature: float) -> Floats:
    """(n, n_g, m) → (n, n_g) float64, by slabs of pictures."""
    n, groups, each = values.shape
    if not each:
        return np.full((n, groups), -np.inf)
    top = values.amax(dim=-1)
    total = torch.empty((n, groups), dtype=torch.float32, device=values.device)
    step = max(1, _SLAB // (groups * each))
    for start in range(0, n, step):
        some = slice(start, start + step)
        terms = (values[some] - top[some, :, None]).mul_(1 / temperature).exp_()
        torch.sum(terms, dim=-1, out=total[some])
    return vectors_of(total.double().log_() + top.double() / temperature)


def _sum(values: Any) -> Floats:
    return vectors_of(values.sum(dim=1, dtype=torch.float64))


def _count(values: Any, threshold: float) -> NDArray[np.int64]:
    # In float64, as NumPy compares: a float32 cosine of γ's own rounding is not γ.
    bound = np.float32(threshold)
    least = bound if float(bound) >= threshold else np.nextafter(bound, np.float32(2))
    return np.asarray((values >= float(least)).sum(dim=1).cpu().numpy(), np.int64)
