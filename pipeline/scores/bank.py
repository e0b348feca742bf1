"""A bank of frozen features of ID pictures, which some scores are fitted to once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel import NeglabelError
from neglabel.pipeline.scores.stable import Floats

Vectors = NDArray[np.floating[Any]]
#: A score fitted to a bank: (n, D) picture embeddings → score and logit, (n,) each.
Fitted = Callable[[Vectors], tuple[Floats, Floats]]


@dataclass(frozen=True, eq=False)
class Bank:
    """ID pictures (training pictures, not those that are judged), and the linear head over their features.

    Args:
        features: (N, D) floats; for CLIP unit vectors.
        classes: (N,) integers 0…C−1, whose head row is that number.
        weights: (C, D) W and bias: (C,) b of the head, logits = W·f + b. For CLIP W is the label vectors over
            T = 0.01 and b is zero (None).

    Raises:
        NeglabelError: sizes that don't fit, no pictures, numbers that aren't finite, or a class out of range.
    """

    features: Vectors
    classes: NDArray[np.integer[Any]]
    weights: Vectors
    bias: Vectors | None = None

    def __post_init__(self) -> None:
        number, dimension = self.features.shape
        if not number:
            raise NeglabelError("the bank of ID features has no pictures; give at least one a class")
        if self.classes.shape != (number,):
            raise NeglabelError(
                f"the bank has {number:,} features but {len(self.classes):,} classes; give one for each"
            )
        if self.weights.shape[1] != dimension or (self.bias is not None and self.bias.shape != self.weights.shape[:1]):
            raise NeglabelError(
                f"the bank's features have {dimension} dimensions, its head {self.weights.shape} weights"
                f"{'' if self.bias is None else f' and {self.bias.shape} biases'}; use one model for all"
            )
        if self.classes.min() < 0 or self.classes.max() >= len(self.weights):
            raise NeglabelError(f"the bank's classes must lie in 0…{len(self.weights) - 1}, the rows of its head")
        if not np.isfinite(self.features).all():
            raise NeglabelError("the bank's features hold NaN or infinity; leave those pictures out")

    def logits(self, features: Vectors) -> Floats:
        """(n, D) → (n, C) float64."""
        made = np.asarray(features, np.float64) @ np.asarray(self.weights, np.float64).T
        return np.asarray(made if self.bias is None else made + self.bias)
