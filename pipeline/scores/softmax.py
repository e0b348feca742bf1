"""Scores from the ID labels alone: the largest softmax share, at three temperatures that are often confused.

Sources: Ming et al., "Delving into Out-of-Distribution Detection with Vision-Language Representations" (MCM),
NeurIPS 2022, code at github.com/deeplearning-wisc/MCM; Hendrycks & Gimpel, "A Baseline for Detecting Misclassified
and Out-of-Distribution Examples" (MSP), ICLR 2017; Liang et al., "Enhancing the Reliability of Out-of-Distribution
Image Detection in Neural Networks" (ODIN), ICLR 2018, code at github.com/facebookresearch/odin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.pipeline.scores.stable import Floats, check, log_sigmoid, top_and_rest


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
    return largest_share(*top_and_rest(positive, temperature))


def largest_share(top: Floats, rest: Floats) -> tuple[Floats, Floats]:
    """Score and logit from the largest a_k/T and the log-sum of the others, (n,) each."""
    logit = top - rest
    return np.exp(log_sigmoid(logit)), logit


def msp(positive: NDArray[np.floating[Any]], temperature: float = 0.01) -> tuple[Floats, Floats]:
    """The same at CLIP's logit scale of 100 (T = 0.01): the maximum softmax probability of the zero-shot classifier.

    Papers and tools (OpenOOD's "mcm" among them) also call this one MCM; it ranks differently, so it has its own name
    here. See :func:`mcm`.
    """
    return mcm(positive, temperature)


def tempered_msp(positive: NDArray[np.floating[Any]], temperature: float = 10.0) -> tuple[Floats, Floats]:
    """ODIN without its noise (ε = 0): softmax of CLIP's logits (100 times the cosines) at ODIN's T = 1,000.

    In cosines that is T = 10. The input gradients of ODIN need a model at hand, not embeddings. See :func:`mcm`.
    """
    return mcm(positive, temperature)
