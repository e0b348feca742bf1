"""Sums of exponentials of float32 cosines, group by group: all there is to a score beside the product."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.pipeline.scores.stable import Floats, logsumexp

#: Exponentials at a time: 512 KB of float32, which stay near the core.
_SLAB = 1 << 17
#: Members of a group that are added in float32 before float64 goes on.
_PIECE = 128
#: Below it 1/T is no good float32 factor.
_COLDEST = 1e-6
#: A group's sum that may have lost terms to underflow is taken again, in float64.
_LEAST = 2.0**-80


def group_logsumexp(values: NDArray[np.floating[Any]], temperature: float) -> Floats:
    """lse_j(b_j/T) of each group: (n, n_g, m) → (n, n_g) float64; −inf where m = 0.

    Float32 cosines b are exponentiated in float32, around the largest of their row; what is added up further and the
    logarithms are float64. With x = (b_max − b)/T a term exp(−x) is wrong by 2⁻²³·(x + 2)·exp(−x), so a result by
    2⁻²³·(x + 2) with x of its group: parts in a million, a tenth of what the rounding of float32 cosines does at
    T = 0.01. Float64 input is summed in float64.
    """
    n, groups, each = values.shape
    if values.dtype != np.float32 or not groups * each or temperature < _COLDEST:
        return logsumexp(values, temperature)
    flat = values.reshape(n, groups * each)
    top, total = flat.max(axis=1), np.empty((n, groups))
    step = max(1, _SLAB // (groups * each))
    scratch = np.empty((min(step, n), groups * each), np.float32)
    factor = np.float32(1 / temperature)
    for start in range(0, n, step):
        some = slice(start, start + step)
        terms = scratch[: len(flat[some])]
        np.subtract(flat[some], top[some, None], out=terms)
        np.multiply(terms, factor, out=terms)
        np.exp(terms, out=terms)
        total[some] = _sum(terms.reshape(len(terms), groups, each))
    low = total < _LEAST
    total[low] = 1.0
    found = np.log(total) + (top / np.float64(temperature))[:, None]
    if low.any():
        found[low] = logsumexp(values[low], temperature)
    return np.asarray(found)


def _sum(terms: NDArray[np.float32]) -> Floats:
    """Over the last axis: by pieces in float32 (a product with ones is the fastest sum), of these in float64."""
    whole = terms.shape[-1] // _PIECE * _PIECE
    rest = terms[..., whole:] @ np.ones(terms.shape[-1] - whole, np.float32)
    if not whole:
        return rest.astype(np.float64)
    pieces = terms[..., :whole].reshape(*terms.shape[:-1], -1, _PIECE) @ np.ones(_PIECE, np.float32)
    return np.asarray(pieces.sum(axis=-1, dtype=np.float64) + rest)
