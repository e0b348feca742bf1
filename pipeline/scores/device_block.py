"""A block of pictures whose cosines are on a device: the reductions that scores share, there; rows come back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neglabel.indexes.flat_device import vectors_of
from neglabel.pipeline.scores.block import Block, Cosines
from neglabel.pipeline.scores.stable import Floats

#: Exponentials at a time: 16 MB of float32, which stay in a GPU's cache from one step to the next.
_SLAB = 1 << 22


@dataclass(frozen=True, eq=False)
class DeviceBlock(Block):
    """``positive`` (n, K) and ``negative`` (n, M) are float32 tensors, groups in order (``Block.in_order``).

    Exponentials are float32, each group around its largest; sums, logarithms and what comes back are float64.
    """

    def label_cosines(self) -> Cosines:
        return vectors_of(self.positive)

    def negative_cosines(self) -> Cosines:
        return vectors_of(self.negative)

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
        return vectors_of(self._positive(temperature))

    def group_lse(self, temperature: float) -> Floats:
        return vectors_of(self._grouped(temperature))

    def negative_lse(self, temperature: float) -> Floats:
        def make() -> Floats:
            total = self._grouped(temperature).logsumexp(dim=1)
            if self.groups is not None and self.groups.size < self.negative.shape[1]:
                left = _lse(_any(self.negative)[:, None, self.groups.size :], temperature)
                total = torch.logaddexp(total, left[:, 0])
            return vectors_of(total)

        return np.asarray(self._once("negative", temperature, make))

    def group_share(self, temperature: float, share: Callable[[Floats, Floats], tuple[Floats, Floats]]) -> Any:
        """``neglabel.id_share`` on the device, the only ``share`` there is: a group's sums stay there."""
        z = self._positive(temperature)[:, None] - self._grouped(temperature)
        inside = torch.nn.functional.logsigmoid(z)
        if z.shape[1] == 1:
            return vectors_of(inside[:, 0].exp()), vectors_of(z[:, 0])
        log_in = inside.logsumexp(dim=1) - math.log(z.shape[1])
        log_out = (inside - z).logsumexp(dim=1) - math.log(z.shape[1])
        return vectors_of(log_in.exp()), vectors_of(log_in - log_out)

    def _positive(self, temperature: float) -> Any:
        return self._once("positive", temperature, lambda: _lse(_any(self.positive)[:, None, :], temperature)[:, 0])

    def _grouped(self, temperature: float) -> Any:
        def make() -> Any:
            negative = _any(self.negative)
            if self.groups is None:
                return _lse(negative[:, None, :], temperature)
            return _lse(negative[:, : self.groups.size].unflatten(1, self.groups.shape), temperature)

        return self._once("groups", temperature, make)

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


def _lse(values: Any, temperature: float) -> Any:
    """(n, n_g, m) → (n, n_g) float64 on the device, by slabs of pictures."""
    n, groups, each = values.shape
    if not each:
        return torch.full((n, groups), -torch.inf, dtype=torch.float64, device=values.device)
    top = values.amax(dim=-1)
    total = torch.empty((n, groups), dtype=torch.float32, device=values.device)
    step = max(1, _SLAB // (groups * each))
    for start in range(0, n, step):
        some = slice(start, start + step)
        terms = (values[some] - top[some, :, None]).mul_(1 / temperature).exp_()
        torch.sum(terms, dim=-1, out=total[some])
    return total.double().log_() + top.double() / temperature


def _sum(values: Any) -> Floats:
    return vectors_of(values.sum(dim=1, dtype=torch.float64))


def _count(values: Any, threshold: float) -> NDArray[np.int64]:
    # In float64, as NumPy compares: a float32 cosine of γ's own rounding is not γ.
    bound = np.float32(threshold)
    least = bound if float(bound) >= threshold else np.nextafter(bound, np.float32(2))
    return np.asarray((values >= float(least)).sum(dim=1).cpu().numpy(), np.int64)
