"""Sums of exponentials that neither overflow nor lose small differences (float64)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def check(positive: NDArray[np.floating[Any]], temperature: float) -> None:
    """Raises ValueError where there is no ID label (K = 0) or ``temperature`` is not a finite number above 0."""
    if positive.shape[1] == 0:
        raise ValueError("no ID labels: `positive` has no columns; give cosines to at least one ID label")
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature {temperature} is not a finite number above 0")


def logsumexp(values: NDArray[np.floating[Any]]) -> Floats:
    """log Σ exp over the last axis: (…, m) → (…,) float64; −inf where m = 0.

    Finite input only. SciPy's ``logsumexp`` gives the same at more than ten times the cost, as it also serves signs,
    weights, infinities and complex numbers; here this sum is the whole cost of a score.
    """
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], -np.inf)
    top = values.max(axis=-1, keepdims=True)
    shifted = np.subtract(values, top, dtype=np.float64)
    return np.asarray(np.log(np.exp(shifted, out=shifted).sum(axis=-1)) + top[..., 0], dtype=np.float64)


def log_sigmoid(z: Floats) -> Floats:
    """log σ(z) = −log(1 + exp(−z)), accurate in both tails."""
    return np.asarray(-np.logaddexp(0.0, -z), dtype=np.float64)
