"""NegLabel's scores and the figures made of them: NumPy in float64, nothing of the package."""

from __future__ import annotations

import numpy as np

MINED, GROUPS = 10_000, 100


def log_sum(x: np.ndarray) -> np.ndarray:
    """log sum exp over the last axis."""
    top = x.max(-1, keepdims=True)
    return np.log(np.exp(x - top).sum(-1)) + top[..., 0]


def neglabel(image: np.ndarray, labels: np.ndarray, negatives: np.ndarray, tau: float, seed: int) -> np.ndarray:
    """Log-odds of the NegLabel score, (N, D), (K, D), (M, D) -> (N,).

    Group g's softmax mass on the labels is sigmoid(l_g), l_g = log sum of labels - log sum of
    negatives.  The score is the mean S of the groups' masses.  S itself rounds to 1 where cosines
    are far apart; log S - log (1 - S) orders the same and never ties.
    """
    inside = log_sum(image @ labels.T / tau)
    order = np.random.default_rng(seed).permutation(len(negatives))
    outside = image @ negatives.T / tau
    odds = np.stack([inside - log_sum(outside[:, g]) for g in np.array_split(order, GROUPS)], -1)
    return log_sum(-np.logaddexp(0, -odds)) - log_sum(-np.logaddexp(0, odds))


def mine(candidates: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Rows of the candidates farthest from the labels, (M, D), (K, D) -> (10000,)."""
    far = np.concatenate([np.percentile(-(c @ labels.T), 5, axis=1) for c in np.array_split(candidates, 64)])
    return np.argsort(-far, kind="stable")[:MINED]


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """P(ID above OOD) + P(tie) / 2."""
    ordered = np.sort(outside)
    below = np.searchsorted(ordered, inside, "left")
    upto = np.searchsorted(ordered, inside, "right")
    return float((below + upto).mean() / 2 / len(outside))


def fpr95(inside: np.ndarray, outside: np.ndarray) -> float:
    """Share of OOD at or above the highest threshold that accepts at least 95 % of ID."""
    threshold = np.sort(inside)[::-1][int(np.ceil(0.95 * len(inside))) - 1]
    return float((outside >= threshold).mean())
