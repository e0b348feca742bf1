"""CLIPN's two decision rules. Formulas only: the "no" texts come from CLIPN's own trained text tower.

Source: Wang et al., "CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No", ICCV 2023, Section 3.4; code at
github.com/xmed-lab/CLIPN (``src/zero_shot_infer.py``). Tested on made-up inputs.

With a_k and ā_k the cosines to class k's text and to its "no" text, p_k = softmax(a/T)_k, and the share of yes

    y_k = exp(a_k/T) / (exp(a_k/T) + exp(ā_k/T)) = σ((a_k − ā_k)/T)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.pipeline.scores.stable import Floats, log_sigmoid, logsumexp


def competing_to_win(
    positive: NDArray[np.floating[Any]], no_positive: NDArray[np.floating[Any]], temperature: float = 0.01
) -> tuple[Floats, Floats]:
    """CTW: the share of yes of the predicted class, S = y_k at k = argmax a; logit (a_k − ā_k)/T; high = ID.

    Args:
        positive: (n, K) cosines to the classes' texts.
        no_positive: (n, K) cosines to their "no" texts.
        temperature: T > 0; CLIPN's logit scale is CLIP's, 100.
    """
    best = positive.argmax(axis=1)[:, None]
    gap = np.subtract(
        np.take_along_axis(positive, best, axis=1), np.take_along_axis(no_positive, best, axis=1), dtype=np.float64
    )
    logit = gap[:, 0] / temperature
    return np.exp(log_sigmoid(logit)), logit


def agreeing_to_differ(
    positive: NDArray[np.floating[Any]], no_positive: NDArray[np.floating[Any]], temperature: float = 0.01
) -> tuple[Floats, Floats]:
    """ATD: S = Σ_k p_k·y_k, one minus the probability of CLIPN's extra class "unknown"; high = ID.

    As Σ_k p_k = 1, 1 − S = Σ_k p_k·(1 − y_k), and the logit is a difference of sums that don't cancel. Arguments as
    :func:`competing_to_win`.
    """
    logits = np.divide(positive, temperature, dtype=np.float64)
    share = logits - logsumexp(logits)[:, None]
    yes = np.subtract(positive, no_positive, dtype=np.float64) / temperature
    log_in, log_out = logsumexp(share + log_sigmoid(yes)), logsumexp(share + log_sigmoid(-yes))
    return np.exp(log_in), log_in - log_out
