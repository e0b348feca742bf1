"""How far out a picture lies along the directions in which texts differ most: a part of the soft-margin score.

With c the unit vector of the mean of all texts (ID labels and negatives) and V the first r eigenvectors of their
covariance, a picture h reaches ‖Vᵀ(h − (h·c)·c)‖. It is no function of the picture's best cosines, its mean or its
log-sums, and it needs no other picture. Source: ours; docs/better.md has what it is worth.
"""

from __future__ import annotations

import numpy as np

from neglabel.pipeline.scores.block import Cosines
from neglabel.pipeline.scores.stable import Floats

#: r: directions.
DIRECTIONS = 10
#: Numbers of texts' vectors in float64 at once: 8 MB.
_SLAB = 1 << 20


def text_axes(labels: Cosines, negatives: Cosines) -> Floats:
    """(I − c·cᵀ)·V: what a picture is multiplied by to find its coordinates along the texts' first directions.

    Args:
        labels: (K, D) and negatives: (M, D) unit vectors of the texts, K, M ≥ 1.

    Returns:
        (D, r) float64, r ≤ 10: fewer where the texts span fewer directions.
    """
    count, dimension = len(labels) + len(negatives), labels.shape[1]
    total, products = np.zeros(dimension), np.zeros((dimension, dimension))
    step = max(1, _SLAB // dimension)
    for texts in (labels, negatives):
        for start in range(0, len(texts), step):
            some = np.asarray(texts[start : start + step], np.float64)
            total += some.sum(axis=0)
            products += some.T @ some
    mean = total / count
    values, vectors = np.linalg.eigh(products / count - np.outer(mean, mean))
    first = vectors[:, -DIRECTIONS:]
    # A direction of no spread is any direction: rounding would choose it.
    first = first[:, values[-DIRECTIONS:] > 1e-6]
    centre = mean / max(float(np.linalg.norm(mean)), 1e-12)
    return np.asarray(first - np.outer(centre, centre @ first))


def reach_along(images: Cosines, axes: Floats) -> Floats:
    """(n,) float64 r of the pictures, (n, D) unit vectors; ``axes`` from :func:`text_axes`."""
    along = images @ axes.astype(images.dtype)
    return np.asarray(np.sqrt(np.square(along, dtype=np.float64).sum(axis=1)))
