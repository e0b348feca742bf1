"""GradNorm from frozen features, in closed form.

Source: Huang et al., "On the Importance of Gradients for Detecting Distributional Shifts in the Wild", NeurIPS 2021,
Section 3 and Equation 8; code at github.com/deeplearning-wisc/gradnorm_ood (OpenOOD's "gradnorm" is the same).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.pipeline.scores.logits import unbounded
from neglabel.pipeline.scores.stable import Floats, logsumexp


def gradnorm(logits: NDArray[np.floating[Any]], features: NDArray[np.floating[Any]]) -> tuple[Floats, Floats]:
    """L1 norm of the gradient of the last layer's weights under a uniform target; high = ID.

    With p the softmax of the C class logits W·f + b and the loss −Σ_c log p_c, the gradient by W is the outer product
    (C·p − 1) ⊗ f, whose L1 norm falls apart into

        S = ‖C·p − 1‖₁ · ‖f‖₁

    (pytorch-ood averages over classes: S/C.) Where p is all on one class the first factor no longer tells pictures
    apart and the norm of f does, in the formula as here; the logit is S.

    Args:
        logits: (n, C) class logits; for CLIP the cosines over T = 0.01.
        features: (n, D) f, what W multiplies; for CLIP the unit vector of the picture.
    """
    wide = np.asarray(logits, np.float64)
    classes = wide.shape[1]
    # expm1 keeps what C·p − 1 would cancel where p is nearly uniform.
    first = np.abs(np.expm1(wide - logsumexp(wide)[:, None] + np.log(classes))).sum(axis=1)
    return unbounded(first * np.abs(np.asarray(features, np.float64)).sum(axis=1))
