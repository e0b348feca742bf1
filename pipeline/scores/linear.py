"""Linear forms of the NegLabel score: T(sim(x; Y)) − α·T(sim(x; Y⁻)), Equation 10.

Source: Jiang et al., "Negative Label Guided OOD Detection with Pretrained Vision-Language Models", ICLR 2024, Table 12,
rows 1, 3 and 4 (row 2 is MaxLogit), without groups; the authors' code (github.com/tmlr-group/NegLabel) has none of
them. All are high for ID and unbounded, so the logit is the score.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.pipeline.scores.logits import unbounded
from neglabel.pipeline.scores.stable import Floats

#: α of rows 1 and 3.
ALPHA = 0.1
#: γ of the binarised forms: "we set it to 0.25 for CLIP". It is a cosine of CLIP's; other towers need another.
THRESHOLD = 0.25


def linear_sum(ours: Floats, theirs: Floats, alpha: float = ALPHA) -> tuple[Floats, Floats]:
    """Row 1: S = Σ_k a_k − α·Σ_j b_j, from (n,) the sums of the cosines to the ID labels and to the negatives."""
    return unbounded(ours - alpha * theirs)


def linear_binarised(
    ours: NDArray[np.integer[Any]], theirs: NDArray[np.integer[Any]], alpha: float = ALPHA
) -> tuple[Floats, Floats]:
    """Row 3: S = Σ_k 1[a_k ≥ γ] − α·Σ_j 1[b_j ≥ γ], from (n,) the two counts.

    α is read as the decimal it is written as and the difference is taken in integers, so that equal scores are equal:
    in binary, 0.1·30 is not 3.
    """
    exact = Fraction(str(alpha))
    # Integers up to 1e6 labels times a denominator of 1e6 stay exact in int64.
    difference = exact.denominator * np.asarray(ours, np.int64) - exact.numerator * np.asarray(theirs, np.int64)
    return unbounded(difference / exact.denominator)


def toy(theirs: NDArray[np.integer[Any]]) -> tuple[Floats, Floats]:
    """Row 4, the toy score of Section 3.3: S = −Σ_j 1[b_j ≥ γ], from (n,) the count. The ID labels play no part."""
    return unbounded(-np.asarray(theirs, np.float64))
