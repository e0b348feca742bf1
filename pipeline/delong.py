"""DeLong's variance of AUROC, and his test of two AUROCs of the same pictures.

Sources: DeLong, DeLong & Clarke-Pearson, "Comparing the Areas under Two or More Correlated Receiver Operating
Characteristic Curves: A Nonparametric Approach", Biometrics 44 (1988); computed by midranks as in Sun & Xu, "Fast
Implementation of DeLong's Algorithm", IEEE Signal Processing Letters 21 (2014), O((m + n)·log(m + n)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neglabel import NeglabelError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A share or a difference of shares: its value, standard error, normal interval, and two-sided p against zero."""

    value: float
    error: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, eq=False)
class DeLong:
    """AUROCs of k systems on the same pictures, (k,) shares, and their (k, k) covariance."""

    auroc: Floats
    covariance: Floats

    def interval(self, system: int, coverage: float = 0.95) -> Estimate:
        """A system's AUROC; the interval is cut to [0, 1], and p is that of AUROC = 0.5."""
        value, error = float(self.auroc[system]), sqrt(max(0.0, float(self.covariance[system, system])))
        reach = _quantile(coverage) * error
        return Estimate(value, error, max(0.0, value - reach), min(1.0, value + reach), _p(value - 0.5, error))

    def difference(self, one: int, other: int, coverage: float = 0.95) -> Estimate:
        """AUROC of ``one`` − AUROC of ``other``, paired.

        Two systems that rank all pictures alike differ by 0 ± 0, p = 1; an error of 0 at another difference, p = 0.
        """
        value = float(self.auroc[one] - self.auroc[other])
        c = self.covariance
        error = sqrt(max(0.0, float(c[one, one] + c[other, other] - 2 * c[one, other])))
        reach = _quantile(coverage) * error
        return Estimate(value, error, value - reach, value + reach, _p(value, error))


def delong(systems: Sequence[tuple[ArrayLike, ArrayLike]]) -> DeLong:
    """AUROCs and their covariance.

    With ψ(x, y) = 1, ½ or 0 where ID score x is above, equal to or below OOD score y, and the structural components
    V₁₀(x_i) = mean_j ψ(x_i, y_j), V₀₁(y_j) = mean_i ψ(x_i, y_j):

        AUROC = mean_i V₁₀(x_i),   cov = cov(V₁₀)/m + cov(V₀₁)/n   (covariances between systems, over m − 1 and n − 1)

    Midranks give the components without the m·n comparisons: n·V₁₀(x_i) = rank of x_i among all − rank among ID.

    Args:
        systems: (m,) ID scores and (n,) OOD scores of each system, of the same pictures in the same order; high = ID.

    Raises:
        NeglabelError: fewer than two pictures on a side, NaN, or systems of different pictures.
    """
    pairs = [(_checked(a, "ID"), _checked(b, "OOD")) for a, b in systems]
    m, n = len(pairs[0][0]), len(pairs[0][1])
    if any((len(a), len(b)) != (m, n) for a, b in pairs):
        raise NeglabelError("systems have different numbers of pictures; compare scores of the same ones")
    inner, outer = np.empty((len(pairs), m)), np.empty((len(pairs), n))
    for row, (a, b) in enumerate(pairs):
        together = _midranks(np.concatenate([a, b]))
        inner[row] = (together[:m] - _midranks(a)) / n
        outer[row] = 1 - (together[m:] - _midranks(b)) / m
    covariance = np.atleast_2d(np.cov(inner)) / m + np.atleast_2d(np.cov(outer)) / n
    return DeLong(inner.mean(axis=1), covariance)


def _midranks(values: Floats) -> Floats:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place])


def _checked(values: ArrayLike, what: str) -> Floats:
    array = np.asarray(values, dtype=np.float64).ravel()
    if len(array) < 2:
        raise NeglabelError(f"{len(array)} {what} score{'s' * (len(array) != 1)}: a variance needs at least two")
    if np.isnan(array).any():
        raise NeglabelError(f"{what} scores hold NaN; a comparison needs evidence for every picture")
    return array


def _quantile(coverage: float) -> float:
    return NormalDist().inv_cdf((1 + coverage) / 2)


def _p(value: float, error: float) -> float:
    """Two-sided p of value/error under the standard normal, exact far into the tail."""
    if error == 0:
        return 1.0 if value == 0 else 0.0
    return erfc(abs(value) / error / sqrt(2))
