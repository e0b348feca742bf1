"""Intervals and paired differences: the same pictures drawn again with replacement, for all systems alike.

Source: Efron & Tibshirani, "An Introduction to the Bootstrap" (1993): percentile intervals; stratified, since every
data set is drawn apart and keeps its size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import erfc, sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neglabel import NeglabelError
from neglabel.pipeline.metrics import Convention
from neglabel.pipeline.weighted_metrics import Pair

Floats = NDArray[np.float64]
#: Share of the draws inside an interval.
COVERAGE = 0.95
#: Pairs of an ID set and an OOD set, by name.
Pairs = Sequence[tuple[str, str]]
#: Percentage points that draws which are all the same may seem to differ by.
_ROUNDING = 1e-9
#: Weights held at once for each data set: 8 MB.
_WEIGHTS = 1 << 20


@dataclass(frozen=True)
class Difference:
    """A difference in percentage points, the interval that holds 95 % of the draws, and its two-sided p."""

    value: float
    low: float
    high: float
    p: float = float("nan")

    @property
    def shown(self) -> bool:
        """False where the interval holds zero: these pictures show no difference."""
        return self.low > 0 or self.high < 0


def draws(
    systems: Sequence[Mapping[str, Floats]],
    pairs: Pairs,
    convention: Convention,
    count: int,
    seed: int,
    clusters: Mapping[str, ArrayLike] | None = None,
) -> Floats:
    """AUROC and FPR95 of every system on every drawing of the pictures.

    Each data set is drawn again with replacement, apart from the others and alike for all systems and for all pairs it
    is in: so ID pictures are drawn jointly across OOD sets, and an average over pairs (``.mean(axis=2)``) is right.

    Args:
        systems: log-odds by data set, all of the same pictures in the same order; high = ID.
        pairs: (ID set, OOD set) to measure.
        count: of draws.
        seed: a data set's draws depend on it and on the set's place in ``pairs`` alone.
        clusters: by data set, (n,) what belongs together (its class): whole clusters are drawn, as many as there are.
            For pictures that are not independent of each other. Sets not named are drawn picture by picture.

    Returns:
        (count + 1, systems, pairs, 2) percentages; the first is of the pictures as they are.

    Raises:
        NeglabelError: NaN, or systems or clusters whose pictures are not the same.
    """
    ready = [[Pair(system[a], system[b], convention) for a, b in pairs] for system in systems]
    sizes = {name: len(systems[0][name]) for pair in pairs for name in pair}
    for name, size in sizes.items():
        if any(len(system[name]) != size for system in systems):
            raise NeglabelError(f"systems have different numbers of pictures of {name}; score the same ones")
    whole = {name: _clusters(name, (clusters or {}).get(name), size) for name, size in sizes.items()}
    out = np.empty((count + 1, len(systems), len(pairs), 2))
    step = max(1, _WEIGHTS // max(sizes.values()))
    for start in range(0, count + 1, step):
        numbers = range(start, min(start + step, count + 1))
        weights = {
            name: np.stack([_drawn(size, whole[name], seed, draw, place) for draw in numbers])
            for place, (name, size) in enumerate(sizes.items())
        }
        for i, row in enumerate(ready):
            summed: dict[str, NDArray[np.int64]] = {}
            for j, (pair, (a, b)) in enumerate(zip(row, pairs, strict=True)):
                if a not in summed:
                    summed = {a: pair.summed(weights[a])}
                out[start : numbers.stop, i, j] = pair.measure_summed(summed[a], weights[b])
    return out


def interval(figures: Floats) -> tuple[float, float, float]:
    """Value, low and high of (draws + 1,) figures whose first is of the pictures as they are."""
    low, high = np.quantile(figures[1:], [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(figures[0]), float(low), float(high)


def difference(ours: Floats, theirs: Floats) -> Difference:
    """``ours − theirs`` of (draws + 1,) figures whose first is of the pictures as they are.

    p is twice the smaller share of draws on either side of zero, each with the pictures as they are counted in, so at
    least 2/(draws + 1). Where no draw is beyond zero that is only a bound, too high for many tests at once
    (:func:`neglabel.pipeline.holm.holm`): then p is that of value/(the draws' standard deviation) under the standard
    normal, as pROC's bootstrap test has it for all (Robin et al., BMC Bioinformatics 12, 2011), if it is lower.
    """
    gap = ours - theirs
    low, high = np.quantile(gap[1:], [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    beyond = min(int((gap[1:] <= 0).sum()), int((gap[1:] >= 0).sum()))
    p, deviation = min(1.0, 2 * (1 + beyond) / len(gap)), float(np.std(gap[1:], ddof=1)) if len(gap) > 2 else 0.0
    if not beyond and deviation > _ROUNDING:
        p = min(p, erfc(abs(float(gap[0])) / deviation / sqrt(2)))
    return Difference(float(gap[0]), float(low), float(high), p)


def _clusters(name: str, given: ArrayLike | None, size: int) -> NDArray[np.int64] | None:
    """(n,) numbers of clusters from 0."""
    if given is None:
        return None
    place: NDArray[Any] = np.unique(np.asarray(given), return_inverse=True)[1].ravel()
    if len(place) != size:
        raise NeglabelError(f"{len(place):,} clusters for the {size:,} pictures of {name}; give one for each")
    return place.astype(np.int64)


def _drawn(size: int, clusters: NDArray[np.int64] | None, seed: int, draw: int, place: int) -> NDArray[np.int64]:
    """(n,) how often each picture is drawn; draw 0 has each once."""
    if not draw:
        return np.ones(size, dtype=np.int64)
    # A generator a data set and draw: a set more changes nothing in the others.
    generator = np.random.default_rng([seed, draw, place])
    if clusters is None:
        return np.bincount(generator.integers(0, size, size), minlength=size)
    number = int(clusters.max()) + 1
    return np.bincount(generator.integers(0, number, number), minlength=number)[clusters]
