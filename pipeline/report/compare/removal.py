"""NegLabel's log-odds when some negatives are taken out of their groups, for many choices of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.pipeline.scores.neglabel import Groups
from neglabel.pipeline.scores.stable import Floats, log_sigmoid, logsumexp

Indices = NDArray[np.int64]


class Removal:
    """Scores without ``removed[i]``, i = 0, 1, …; groups stay as they are but for the members taken out.

    The sum over members that no choice touches is made once; only the touched ones are summed for each choice. Sums
    are added in the log domain and never subtracted, so nothing cancels where a group's largest member goes.
    A group without members left is left out of the mean over groups.

    Args:
        groups: (n_g, m) indices of negatives.
        removed: indices of negatives, a choice each; an empty one gives the score as it is.
        temperature: T > 0.
    """

    def __init__(self, groups: Groups, removed: Sequence[Indices], temperature: float) -> None:
        self.temperature = temperature
        touched = np.unique(np.concatenate([np.empty(0, np.int64), *removed]))
        self.untouched = ~np.isin(groups, touched)
        self.groups = groups
        # Touched members of each group side by side, padded to the longest.
        members = [row[~free] for row, free in zip(groups, self.untouched, strict=True)]
        width = max((len(row) for row in members), default=0)
        self.touched = np.zeros((len(groups), width), np.int64)
        there = np.zeros((len(groups), width), np.bool_)
        for place, row in enumerate(members):
            self.touched[place, : len(row)], there[place, : len(row)] = row, True
        self.left = [there & ~np.isin(self.touched, choice) for choice in removed]
        free = self.untouched.any(axis=1)
        self.full = [free | left.any(axis=1) for left in self.left]

    def logits(self, positive: NDArray[np.floating[Any]], negative: NDArray[np.floating[Any]]) -> Floats:
        """(n, K) and (n, M) cosines → (choices, n) log-odds; high = ID; NaN where nothing is left."""
        ours = logsumexp(np.divide(positive, self.temperature, dtype=np.float64))
        base = self._sums(negative[:, self.groups], self.untouched)
        touched = negative[:, self.touched]
        out = np.empty((len(self.left), len(ours)))
        for place, (left, full) in enumerate(zip(self.left, self.full, strict=True)):
            sums = np.logaddexp(base, self._sums(touched, left))[:, full]
            out[place] = from_groups(ours[:, None] - sums)
        return out

    def _sums(self, cosines: NDArray[np.floating[Any]], kept: NDArray[np.bool_]) -> Floats:
        """log Σ exp(c/T) over ``kept`` (n_g, w) members of (n, n_g, w): (n, n_g); −inf where there are none."""
        if not cosines.shape[2]:
            return np.full(cosines.shape[:2], -np.inf)
        scaled = np.divide(cosines, self.temperature, dtype=np.float64)
        if not kept.all():
            scaled[:, ~kept] = -np.inf
        top = scaled.max(axis=2, keepdims=True)
        top[np.isneginf(top)] = 0.0
        scaled -= top
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(np.exp(scaled, out=scaled).sum(axis=2)) + top[..., 0])


def from_groups(evidence: Floats) -> Floats:
    """(n, n_g) log-odds z_g → the logit of their mean score, (n,), as :func:`neglabel.pipeline.scores.neglabel`."""
    if not evidence.shape[1]:
        return np.full(len(evidence), np.nan)
    return np.asarray(logsumexp(log_sigmoid(evidence)) - logsumexp(log_sigmoid(-evidence)))
