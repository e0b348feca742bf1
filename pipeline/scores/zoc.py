"""ZOC's sum. A formula only: the labels are generated for each picture by ZOC's own trained text decoder.

Source: Esmaeilpour et al., "Zero-Shot Out-of-Distribution Detection Based on the Pre-trained Model CLIP", AAAI 2022,
Equation 3; code at github.com/sesmae/ZOC. (Its evaluation takes the picture's true class out of the generated labels,
which a user can't.) Tested on made-up inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.pipeline.scores.stable import Floats, log_sigmoid, logsumexp


def zoc(
    positive: NDArray[np.floating[Any]], generated: NDArray[np.floating[Any]], temperature: float = 0.01
) -> tuple[Floats, Floats]:
    """Share of the ID labels in a softmax over them and the picture's generated labels; high = ID.

        S = 1 − Σ_g p_g = σ(z),   z = lse_k(a_k/T) − lse_g(c_g/T)

    NegLabel's Equation 6 with labels of each picture's own.

    Args:
        positive: (n, K) cosines to the ID labels.
        generated: (n, G) cosines to the generated labels, NaN where a picture has fewer than G.
        temperature: T > 0.

    Returns:
        score and logit, (n,) float64; NaN for a picture without a generated label: no evidence.
    """
    none = np.isnan(generated).all(axis=1)
    # A cosine of −1e9 over T is an exponential of zero, and finite.
    theirs = logsumexp(np.where(np.isnan(generated), -1e9, generated), temperature)
    z = logsumexp(positive, temperature) - theirs
    return np.where(none, np.nan, np.exp(log_sigmoid(z))), np.where(none, np.nan, z)
