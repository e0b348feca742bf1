"""The theory of negative labels (Section 3.3): what FPR95 to expect of the toy score from how often negatives match.

Source: Jiang et al., "Negative Label Guided OOD Detection with Pretrained Vision-Language Models", ICLR 2024,
Section 3.3 and Appendix B.5, B.6. A picture matches negative j where their cosine is at least ψ, with probability p1_j
for an ID and p2_j for an OOD picture; the toy score is −c with c the number of matches. If matches are independent, c
is binomial where all p_j are one (Equation 7 takes its normal approximation), and Poisson-binomial where each negative
has its own. Shares in [0, 1], float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp, inf, pi, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel import UsageError

Floats = NDArray[np.float64]
#: λ of Equation 7: the share of ID pictures that is accepted.
LEVEL = 0.95
_NORMAL = NormalDist()


def binomial(m: int, p: float) -> Floats:
    """P(c = k) of B(m, p) for k = 0 … m: (m + 1,).

    log C(m, k) from sums of logarithms: relative errors of 1e-12 at m = 10,000.
    """
    _refuse_no_share(np.asarray([p]))
    if p in (0.0, 1.0):
        found = np.zeros(m + 1)
        found[m if p else 0] = 1.0
        return found
    k = np.arange(m + 1)
    factorial = np.concatenate([[0.0], np.cumsum(np.log(k[1:]))])
    return np.asarray(np.exp(factorial[m] - factorial - factorial[::-1] + k * np.log(p) + (m - k) * np.log1p(-p)))


def poisson_binomial(p: NDArray[np.floating[Any]]) -> Floats:
    """P(c = k) of the sum of independent Bernoulli(p_j): (M,) → (M + 1,); Appendix B.6.

    Convolved two by two, all terms positive, so that small probabilities keep their digits (a Fourier transform would
    lose those below 1e-16). O(M²): 0.1 s at M = 10,000.
    """
    share = np.asarray(p, np.float64)
    _refuse_no_share(share)
    parts = [np.asarray([1 - one, one]) for one in share]
    while len(parts) > 1:
        odd = parts[-1:] if len(parts) % 2 else []
        parts = [np.convolve(a, b) for a, b in zip(parts[::2], parts[1::2], strict=False)] + odd
    return parts[0] if parts else np.ones(1)


def _refuse_no_share(p: Floats) -> None:
    if not ((p >= 0) & (p <= 1)).all():
        raise UsageError("a probability of matching is outside [0, 1]")


def growing(p: NDArray[np.floating[Any]], sizes: Sequence[int]) -> Iterator[Floats]:
    """:func:`poisson_binomial` of the first m of ``p`` for each m of ascending ``sizes``, each from the one before."""
    found, done = np.ones(1), 0
    for size in sizes:
        found, done = np.convolve(found, poisson_binomial(p[done:size])), size
        yield found


def fpr(inside: Floats, outside: Floats, level: float = LEVEL) -> float:
    """FPR of the toy score where ``inside`` and ``outside`` are P(c = k) of ID and of OOD pictures, (m + 1,) each.

    As FPR95 is measured (ID positive): with t the least count that at least ``level`` of ID pictures stay at or below,
    P(c ≤ t) of OOD pictures. Counts are whole, so more than ``level`` may be accepted: of few negatives by much.
    """
    # Sums of a few thousand terms may end below 1 by their rounding.
    reached = np.flatnonzero(np.cumsum(inside) >= level - 1e-12)
    return float(min(1.0, outside[: reached[0] + 1].sum()))


def normal_fpr(m: int, p1: float, p2: float, level: float = LEVEL) -> float:
    """Equation 7: Φ[Φ⁻¹[λ; m·p1, √(m·p1(1−p1))]; m·p2, √(m·p2(1−p2))].

    The paper's footnote 3 wants m·p ≥ 5 and m·(1−p) ≥ 5; below that it is far off. Where p2 is 0 or 1, a step.
    """
    return _NORMAL.cdf(_z(m, p1, p2, level))


def normal_slope(m: int, p1: float, p2: float, level: float = LEVEL) -> float:
    """Equation 8: ∂FPR/∂m of :func:`normal_fpr` at fixed p1, p2; negative where p1 < p2. 0 where it is a step.

    In the paper's z (ours is √2 times it): e^(−z²)/(2√(2π)) · (p1 − p2)/√(m·p2(1−p2)).
    """
    z, spread = _z(m, p1, p2, level), m * p2 * (1 - p2)
    return exp(-(z**2) / 2) / (2 * sqrt(2 * pi)) * (p1 - p2) / sqrt(spread) if spread > 0 else 0.0


def _z(m: int, p1: float, p2: float, level: float) -> float:
    """(Φ⁻¹[λ; m·p1, …] − m·p2)/√(m·p2(1−p2))."""
    above = m * (p1 - p2) + _NORMAL.inv_cdf(level) * sqrt(m * p1 * (1 - p1))
    spread = sqrt(m * p2 * (1 - p2))
    return above / spread if spread > 0 else inf if above >= 0 else -inf


def sizes(m: int, points: int = 24) -> list[int]:
    """Up to ``points`` whole numbers from 1 to ``m``, about evenly spaced on a logarithmic scale."""
    if m < 1:
        return []
    return sorted({round(value) for value in np.geomspace(1, m, points)})
