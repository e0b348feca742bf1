"""Proportional forms of the NegLabel score: T₂(sim(x; Y)) / (T₃(sim(x; Y)) + T₃(sim(x; Y⁻))), Equation 11.

Source: Jiang et al., "Negative Label Guided OOD Detection with Pretrained Vision-Language Models", ICLR 2024, Table 12,
rows 6 to 9, without groups (row 5 is ``neglabel-ungrouped``); the authors' code (github.com/tmlr-group/NegLabel) has
row 5 only. All are high for ID.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.pipeline.scores.logits import unbounded
from neglabel.pipeline.scores.softmax import largest_share
from neglabel.pipeline.scores.stable import Floats


def max_exp(top: Floats, rest: Floats, theirs: Floats) -> tuple[Floats, Floats]:
    """Row 6: S = max_k exp(a_k/T) / (Σ_k exp(a_k/T) + Σ_j exp(b_j/T)), the largest ID share among all labels.

    S saturates, so its log-odds come from sums that don't cancel:

        logit = a_max/T − log(Σ_{k ≠ max} exp(a_k/T) + Σ_j exp(b_j/T))

    Args:
        top: (n,) max_k a_k/T; rest: (n,) log-sum of the other ID labels; theirs: (n,) lse_j(b_j/T).
    """
    return largest_share(top, np.logaddexp(rest, theirs))


def sum_cos(ours: Floats, theirs: Floats) -> tuple[Floats, Floats]:
    """Row 7: S = A/(A + B) with A = Σ_k a_k and B = Σ_j b_j, (n,) each.

    Sums of cosines may be negative, and then S leaves [0, 1] and has no log-odds. It doesn't saturate either, so the
    logit is S. NaN where A + B = 0.
    """
    return unbounded(_ratio(ours, ours + theirs))


def max_cos(top: Floats, ours: Floats, theirs: Floats) -> tuple[Floats, Floats]:
    """Row 8: S = max_k a_k/(A + B), with A and B of :func:`sum_cos`; the logit is S. NaN where A + B = 0."""
    return unbounded(_ratio(top, ours + theirs))


def binarised(ours: NDArray[np.integer[Any]], theirs: NDArray[np.integer[Any]]) -> tuple[Floats, Floats]:
    """Row 9: S = P/(P + N), P and N (n,) counts of ID labels and negatives with a cosine of at least γ; logit S.

    Where no label answers the paper's formula is 0/0; no ID label answers, so S = 0 here. Ratios of counts are equal
    in float64 exactly where they are equal.
    """
    every = np.asarray(ours + theirs, np.float64)
    return unbounded(np.divide(ours, every, out=np.zeros(len(every)), where=every > 0))


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole != 0))
