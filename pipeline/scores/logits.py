"""Scores from the ID labels alone that keep the size of the cosines: the largest, and their log-sum-exp.

Sources: Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings" (MaxLogit), ICML 2022, code
at github.com/hendrycks/anomaly-seg; Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS 2020, Equation
4, code at github.com/wetliu/energy_ood. MaxLogit is row 2 of NegLabel's Table 12.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.pipeline.scores.stable import Floats, check, logsumexp


def maxlogit(positive: NDArray[np.floating[Any]]) -> tuple[Floats, Floats]:
    """S = max_k a_k; high = ID. The logit is the score: nothing saturates.

    Args:
        positive: (n, K) cosines to the ID labels, K ≥ 1.

    Returns:
        score and logit, (n,) float64, in [−1, 1].

    Raises:
        ValueError: K = 0.
    """
    check(positive, 1.0)
    return unbounded(positive.max(axis=1))


def energy(positive: NDArray[np.floating[Any]], temperature: float = 0.01) -> tuple[Floats, Floats]:
    """The negated energy S = T·lse_k(a_k/T) of the cosines a; high = ID. T = 0.01 is CLIP's logit scale of 100.

    Returns:
        score and logit, (n,) float64: between a_max and a_max + T·log K.

    Raises:
        ValueError: K = 0, or a temperature that is not above 0.
    """
    check(positive, temperature)
    return unbounded(temperature * logsumexp(positive, temperature))


def unbounded(score: NDArray[np.floating[Any]]) -> tuple[Floats, Floats]:
    """A score that doesn't saturate is its own logit."""
    values = np.asarray(score, dtype=np.float64)
    return values, values
