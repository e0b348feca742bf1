"""Holm's correction for several tests.

Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6 (1979).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neglabel import NeglabelError


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values: reject those at most α, and the chance of any false rejection is at most α.

    With p₍₁₎ ≤ … ≤ p₍ₘ₎:  p̃₍ᵢ₎ = min(1, max_{j ≤ i} (m − j + 1)·p₍ⱼ₎). The tests may depend on each other in any way.

    Args:
        p_values: (m,) of one family of tests, in any order.

    Returns:
        (m,), in that order.

    Raises:
        NeglabelError: a value that is not in [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64).ravel()
    if not ((p >= 0) & (p <= 1)).all():
        raise NeglabelError("p-values must lie in [0, 1]; leave out tests that gave none")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))))
    return adjusted
