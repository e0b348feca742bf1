"""KNN: distance to the K-th nearest ID picture.

Source: Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022, Equation 2 and Algorithm 1;
code at github.com/deeplearning-wisc/knn-ood. K = 50 and the squared distance are OpenOOD's.
"""

from __future__ import annotations

import numpy as np

from neglabel import UsageError
from neglabel.pipeline.scores.bank import Bank, Fitted, Vectors
from neglabel.pipeline.scores.logits import unbounded
from neglabel.pipeline.scores.stable import Floats

K = 50
#: Bank pictures a product: 8,192 × 512 float64 is 32 MB.
_CHUNK = 8_192
#: Pictures a product: 512 × 8,192 cosines are as much.
_ROWS = 512


def knn(features: Vectors, bank: Vectors, k: int = K) -> tuple[Floats, Floats]:
    """S = −‖z − z_(k)‖², z = f/‖f‖ and z_(k) the k-th nearest of the bank's; high = ID; the logit is S.

    The squared distance of unit vectors is 2 − 2·cos, so this is a k-th largest cosine, in float64: at float32 the
    distances of neighbours tie.

    Args:
        features: (n, D); bank: (N, D); none is zero.

    Raises:
        UsageError: k below 1 or above N.
    """
    if not 1 <= k <= len(bank):
        raise UsageError(f"KNN takes the {k}-th nearest of {len(bank):,} ID pictures; give more pictures")
    z = _unit(features)
    nearest = np.full((len(z), k), -np.inf)
    for start in range(0, len(bank), _CHUNK):
        some = _unit(bank[start : start + _CHUNK]).T
        for row in range(0, len(z), _ROWS):
            rows = slice(row, row + _ROWS)
            together = np.concatenate([nearest[rows], z[rows] @ some], axis=1)
            nearest[rows] = np.partition(together, together.shape[1] - k, axis=1)[:, -k:]
    return unbounded(2 * nearest.min(axis=1) - 2)


def fit_knn(bank: Bank) -> Fitted:
    """:func:`knn` with K = 50 of the bank. Raises UsageError where it has fewer than 50 pictures."""
    if len(bank.features) < K:
        knn(bank.features[:0], bank.features)
    return lambda features: knn(features, bank.features)


def _unit(vectors: Vectors) -> Floats:
    wide = np.asarray(vectors, np.float64)
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True))
