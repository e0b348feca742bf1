"""Scores from the ID labels alone: the largest softmax share, at two temperatures that are often confused.

Source: Ming et al., "Delving into Out-of-Distribution Detection with Vision-Language Representations" (MCM),
NeurIPS 2022; code at github.com/deeplearning-wisc/MCM.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.pipeline.scores.stable import Floats, check, logsumexp


def mcm(positive: NDArray[np.floating[Any]], temperature: float = 1.0) -> tuple[Floats, Floats]:
    """MCM: max_k softmax(a/T)_k of the raw cosines a, T = 1 as in its paper and code; high = ID.

    The logit is the log-odds of the largest share against the rest, exact where the share rounds to 1:

        logit = a_max/T − lse_{k ≠ max}(a_k/T),   score = σ(logit)

    Args:
        positive: (n, K) cosines to the ID labels, K ≥ 1.
        temperature: T > 0.

    Returns:
        score (n,) in [1/K, 1] and logit (n,), float64. With one label its share is all there is: 1 and +inf.

    Raises:
        ValueError: K = 0, or a temperature that is not above 0.
    """
    check(positive, temperature)
    scaled = np.divide(positive, temperature, dtype=np.float64)
    if scaled.shape[1] == 1:
        return np.ones(len(scaled)), np.full(len(scaled), np.inf)
    # The largest goes last; a tie for the largest leaves its twin among the rest, where it belongs.
    parted = np.partition(scaled, scaled.shape[1] - 1, axis=1)
    logit = parted[:, -1] - logsumexp(parted[:, :-1])
    return np.asarray(np.exp(-np.logaddexp(0.0, -logit))), logit


def msp(positive: NDArray[np.floating[Any]], temperature: float = 0.01) -> tuple[Floats, Floats]:
    """The same at CLIP's logit scale of 100 (T = 0.01): the maximum softmax probability of the zero-shot classifier.

    After Hendrycks & Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples", ICLR 2017.
    Papers also call this one MCM; it ranks differently, so it has its own name here. See :func:`mcm`.
    """
    return mcm(positive, temperature)
