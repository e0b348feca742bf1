"""ViM: the energy of the class logits, less a virtual logit of what lies outside the principal space of ID features.

Source: Wang et al., "ViM: Out-Of-Distribution with Virtual-logit Matching", CVPR 2022, Equations 4 to 7; code at
github.com/haoqiwang/vim. OpenOOD's and pytorch-ood's are the same.
"""

from __future__ import annotations

import numpy as np

from neglabel import UsageError
from neglabel.pipeline.scores.bank import Bank, Fitted, Vectors
from neglabel.pipeline.scores.logits import unbounded
from neglabel.pipeline.scores.stable import Floats, logsumexp

#: Dimension of the principal space, for features of 512 and more.
DIMENSION = 256


def fit_vim(bank: Bank, dimension: int = DIMENSION) -> Fitted:
    """S(f) = lse_c(W·f + b)_c − α·‖Rᵀ(f − u)‖₂; high = ID; unbounded, so the logit is S.

    u = −W⁺b is the origin where all logits vanish (zero for CLIP, which has no bias). R are the D − ``dimension``
    eigenvectors of Σ_i (f_i − u)(f_i − u)ᵀ with the smallest eigenvalues. α makes the virtual logit as large as the
    largest one: the mean of max_c over the bank, divided by the mean of ‖Rᵀ(f − u)‖₂ there.

    Args:
        bank: ID features and the head.
        dimension: of the principal space; half of D where D is not above it, as pytorch-ood has it.

    Raises:
        UsageError: the bank lies in the principal space, so that nothing is left to measure.

    Returns:
        (n, D) features → score and logit, (n,) float64.
    """
    features = np.asarray(bank.features, np.float64)
    size = features.shape[1]
    kept = dimension if dimension < size else size // 2
    weights = np.asarray(bank.weights, np.float64)
    origin = np.zeros(size) if bank.bias is None else -np.linalg.pinv(weights) @ bank.bias
    centred = features - origin
    _, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    residual = vectors[:, : size - kept]
    outside = np.linalg.norm(centred @ residual, axis=1).mean()
    # What is left of unit vectors by float32's rounding is no residual.
    if outside <= 1e-6 * np.linalg.norm(centred, axis=1).mean():
        raise UsageError(
            f"ViM: the bank's {len(features):,} pictures span no more than the {kept} dimensions of its principal "
            "space; give more pictures"
        )
    alpha = bank.logits(features).max(axis=1).mean() / outside

    def vim(block: Vectors) -> tuple[Floats, Floats]:
        virtual = np.linalg.norm((np.asarray(block, np.float64) - origin) @ residual, axis=1)
        return unbounded(logsumexp(bank.logits(block)) - alpha * virtual)

    return vim
