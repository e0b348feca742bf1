"""Is a difference real? The same pictures drawn again with replacement, for all runs alike (paired bootstrap).

Source: Efron & Tibshirani, "An Introduction to the Bootstrap" (1993): percentile intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel import NeglabelError
from neglabel.pipeline.metrics import Convention

Floats = NDArray[np.float64]
#: Share of the draws inside an interval.
COVERAGE = 0.95
#: Pairs of an ID set and an OOD set, by name.
Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Difference:
    """A difference in percentage points, and the interval that holds 95 % of the draws."""

    value: float
    low: float
    high: float

    @property
    def shown(self) -> bool:
        """False where the interval holds zero: these pictures show no difference."""
        return self.low > 0 or self.high < 0


class Pair:
    """AUROC and FPR95 of one ID and one OOD set under any weights of the pictures, sorted once.

    Args:
        inside: (n,) log-odds of ID pictures, high = ID; outside: (m,) of OOD pictures. No NaN.
    """

    def __init__(self, inside: Floats, outside: Floats, convention: Convention = "id-positive") -> None:
        if np.isnan(inside).any() or np.isnan(outside).any():
            raise NeglabelError("scores hold NaN; a comparison needs evidence for every picture")
        values, ranks = np.unique(np.concatenate([inside, outside]), return_inverse=True)
        self.size, self.convention = len(values), convention
        self.inside, self.outside = ranks[: len(inside)], ranks[len(inside) :]

    def measure(self, a: NDArray[np.int64] | None = None, b: NDArray[np.int64] | None = None) -> tuple[float, float]:
        """AUROC and FPR95 in percent, as :mod:`neglabel.pipeline.metrics` has them of pictures repeated so often.

        Args:
            a: (n,) how often each ID picture counts, None: once; b: (m,) the same of OOD pictures. Neither all zero.
        """
        inside = np.bincount(self.inside, a, self.size).astype(np.float64)
        outside = np.bincount(self.outside, b, self.size).astype(np.float64)
        ours, theirs = inside.sum(), outside.sum()
        above = ours - np.cumsum(inside)
        auroc = float(np.dot(outside, above + 0.5 * inside) / (ours * theirs))
        if self.convention == "ood-positive":
            # The same question of negated scores, sides exchanged.
            inside, outside, ours, theirs = outside[::-1], inside[::-1], theirs, ours
        reach = np.cumsum(inside[::-1])[::-1]
        threshold = np.count_nonzero(reach >= ceil(Fraction("0.95") * int(ours))) - 1
        return 100 * auroc, 100 * float(outside[threshold:].sum() / theirs)


def draws(
    systems: Sequence[Mapping[str, Floats]], pairs: Pairs, convention: Convention, count: int, seed: int
) -> Floats:
    """AUROC and FPR95 of every system on every drawing of the pictures.

    Each data set is drawn again with replacement, apart from the others and alike for all systems.

    Args:
        systems: log-odds by data set, all of the same pictures in the same order.
        pairs: (ID set, OOD set) to measure.

    Returns:
        (count + 1, systems, pairs, 2) percentages; the first is of the pictures as they are.
    """
    ready = [[Pair(system[a], system[b], convention) for a, b in pairs] for system in systems]
    sizes = {name: len(systems[0][name]) for pair in pairs for name in pair}
    out = np.empty((count + 1, len(systems), len(pairs), 2))
    for draw in range(count + 1):
        weights: dict[str, Any] = dict.fromkeys(sizes)
        if draw:
            # A generator a data set and draw: a set more changes nothing in the others.
            for place, (name, size) in enumerate(sizes.items()):
                generator = np.random.default_rng([seed, draw, place])
                weights[name] = np.bincount(generator.integers(0, size, size), minlength=size)
        for i, row in enumerate(ready):
            for j, (pair, (a, b)) in enumerate(zip(row, pairs, strict=True)):
                out[draw, i, j] = pair.measure(weights[a], weights[b])
    return out


def difference(ours: Floats, theirs: Floats) -> Difference:
    """``ours − theirs`` of (draws + 1,) figures whose first is of the pictures as they are."""
    gap = ours - theirs
    low, high = np.quantile(gap[1:], [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Difference(float(gap[0]), float(low), float(high))
