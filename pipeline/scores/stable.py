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


def logsumexp(values: NDArray[np.floating[Any]], temperature: float = 1.0) -> Floats:
    """log Σ exp(value/T) over the last axis: (…, m) → (…,) float64; −inf where m = 0.

    Finite input only. SciPy's ``logsumexp`` gives the same at more than ten times the cost, as it also serves signs,
    weights, infinities and complex numbers; here this sum is the whole cost of a score.
    """
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], -np.inf)
    top = values.max(axis=-1, keepdims=True)
    return np.asarray(np.log(_exponentials(values, top, temperature).sum(axis=-1)) + _over(top[..., 0], temperature))


def top_and_rest(values: NDArray[np.floating[Any]], temperature: float = 1.0) -> tuple[Floats, Floats]:
    """The largest value/T of each row, and log Σ exp(value/T) of all the others: (n, m), m ≥ 1 → (n,) and (n,).

    One of equal largest values counts as the largest, its twins are among the others. −inf where there is no other.
    """
    best = values.argmax(axis=1)
    rows = np.arange(len(values))
    top = values[rows, best]
    shares = _exponentials(values, top[:, None], temperature)
    shares[rows, best] = 0.0
    # Where the others are too far below for an exponential, −inf would lose their order among pictures.
    rest = shares.sum(axis=1)
    scaled = _over(top, temperature)
    with np.errstate(divide="ignore"):
        others = scaled + np.log(rest)
    lost = rest < np.finfo(np.float64).tiny
    if lost.any() and values.shape[1] > 1:
        parted = np.partition(values[lost], values.shape[1] - 1, axis=1)
        others[lost] = logsumexp(parted[:, :-1], temperature)
    return scaled, others


def log_sigmoid(z: Floats) -> Floats:
    """log σ(z) = −log(1 + exp(−z)), accurate in both tails."""
    return np.asarray(-np.logaddexp(0.0, -z), dtype=np.float64)


def _exponentials(values: NDArray[np.floating[Any]], top: NDArray[np.floating[Any]], temperature: float) -> Floats:
    """exp((value − top)/T) in a new array; float32 values are subtracted exactly, in float64."""
    shifted = np.subtract(values, top, dtype=np.float64)
    if temperature != 1.0:
        shifted /= temperature
    np.exp(shifted, out=shifted)
    return np.asarray(shifted)


def _over(values: NDArray[np.floating[Any]], temperature: float) -> Floats:
    return np.asarray(np.divide(values, temperature, dtype=np.float64))
