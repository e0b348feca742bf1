"""Sums of exponentials of float32 cosines, group by group: all there is to a score beside the product."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.pipeline.scores.stable import Floats, logsumexp

#: Exponentials at a time: 512 KB of float32, which stay near the core.
_SLAB = 1 << 17
#: Below it 1/T is no good float32 factor.
_COLDEST = 1e-6


def group_logsumexp(values: NDArray[np.floating[Any]], temperature: float) -> Floats:
    """lse_j(b_j/T) of each group: (n, n_g, m) → (n, n_g) float64; −inf where m = 0.

    Float32 cosines b are exponentiated in float32, each group around its largest; logarithms are float64. With
    x = (b_max − b)/T, a term exp(−x) is wrong by 2⁻²³·x·exp(−x) at most, so the sum by parts in 10⁷: a hundredth of
    what the rounding of the cosines themselves does at T = 0.01. Float64 input is summed in float64.
    """
    if values.dtype != np.float32 or not values.shape[-1] or temperature < _COLDEST:
        return logsumexp(values, temperature)
    n, groups, each = values.shape
    top, total = np.empty((n, groups), np.float32), np.empty((n, groups))
    step = max(1, _SLAB // (groups * each))
    scratch = np.empty((min(step, n), groups, each), np.float32)
    factor = np.float32(1 / temperature)
    for start in range(0, n, step):
        some = slice(start, start + step)
        part = values[some]
        terms = scratch[: len(part)]
        part.max(axis=-1, out=top[some])
        np.subtract(part, top[some, :, None], out=terms)
        np.multiply(terms, factor, out=terms)
        np.exp(terms, out=terms)
        total[some] = terms.sum(axis=-1)
    return np.asarray(np.log(total) + top / np.float64(temperature))
