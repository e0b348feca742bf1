"""AUROC and FPR95 of pictures that count several times or not at all, for many weightings at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neglabel import NeglabelError, UsageError
from neglabel.pipeline.metrics import Convention

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Pair:
    """One ID and one OOD set, sorted once; then a weighting is a few prefix sums.

    With the scores of either side in ascending order, C and D prefix sums of the ID and OOD weights, and lo_j, hi_j how
    many ID scores are below and at most the j-th OOD score:

        2·AUROC·ΣA·ΣB = Σ_j B_j·(2·ΣA − C[lo_j] − C[hi_j])

    in integers, so ties are exact.

    Args:
        inside: (n,) log-odds of ID pictures, high = ID; outside: (m,) of OOD pictures. No NaN.
        convention: of FPR95, see :func:`neglabel.pipeline.metrics.fpr95`.
    """

    def __init__(self, inside: Floats, outside: Floats, convention: Convention = "id-positive") -> None:
        if np.isnan(inside).any() or np.isnan(outside).any():
            raise NeglabelError("scores hold NaN; a comparison needs evidence for every picture")
        measures = {
            "id-positive": self._id_positive, "ood-positive": self._ood_positive, "nearest-recall": self._nearest_recall
        }  # fmt: skip
        if convention not in measures:
            raise UsageError(f"FPR95 convention is {convention!r}; use {', '.join(measures)}")
        self._fpr = measures[convention]
        self._of_inside, self._of_outside = np.argsort(inside, kind="stable"), np.argsort(outside, kind="stable")
        ours, theirs = inside[self._of_inside], outside[self._of_outside]
        self._lo, self._hi = np.searchsorted(ours, theirs, "left"), np.searchsorted(ours, theirs, "right")
        # How many OOD scores are below each ID score, and how many at most it.
        self._below, self._upto = np.searchsorted(theirs, ours, "left"), np.searchsorted(theirs, ours, "right")
        #: Where each distinct ID score begins.
        self._first = np.flatnonzero(np.concatenate([[True], ours[1:] != ours[:-1]]))

    def measure(self, a: Integers | None = None, b: Integers | None = None) -> tuple[float, float]:
        """AUROC and FPR95 in percent, as :mod:`neglabel.pipeline.metrics` has them of pictures repeated so often.

        Args:
            a: (n,) how often each ID picture counts, None: once; b: (m,) the same of OOD pictures. Neither all zero.
        """
        ours = np.ones(len(self._of_inside), np.int64) if a is None else np.asarray(a, np.int64)
        theirs = np.ones(len(self._of_outside), np.int64) if b is None else np.asarray(b, np.int64)
        auroc, fpr = self.measure_all(ours[None], theirs[None])[0]
        return float(auroc), float(fpr)

    def measure_all(self, a: Integers, b: Integers) -> Floats:
        """:meth:`measure` of many weightings: (B, n) and (B, m) integers → (B, 2)."""
        return self.measure_summed(self.summed(a), b)

    def summed(self, a: Integers) -> Integers:
        """The prefix sums C of (B, n) ID weights: the same for all pairs of these ID scores."""
        return _prefix(np.take(a, self._of_inside, axis=1))

    def measure_summed(self, c: Integers, b: Integers) -> Floats:
        """:meth:`measure_all` from :meth:`summed`."""
        outside = np.take(b, self._of_outside, axis=1)
        d = _prefix(outside)
        ours, theirs = c[:, -1], d[:, -1]
        above = 2 * ours[:, None] - np.take(c, self._lo, axis=1) - np.take(c, self._hi, axis=1)
        auroc = (outside * above).sum(axis=1) / (2.0 * ours * theirs)
        return 100 * np.stack([auroc, self._fpr(c, d)], axis=1)

    def _id_positive(self, c: Integers, d: Integers) -> Floats:
        """OOD at or above the highest ID score that 95 % of ID reach."""
        ours, theirs = c[:, -1], d[:, -1]
        # The i-th score is reached by ours − C[i]; enough is ⌈0.95·ours⌉, in integers.
        place = _last(c[:, :-1], ours + (-19 * ours) // 20)
        return np.asarray((theirs - _at(d, self._below[place])) / theirs)

    def _ood_positive(self, c: Integers, d: Integers) -> Floats:
        """ID at or below the lowest OOD score at or below which 95 % of OOD lie."""
        ours, theirs = c[:, -1], d[:, -1]
        place = _last(d, -((-19 * theirs) // 20) - 1)
        return np.asarray(_at(c, self._hi[place]) / ours)

    def _nearest_recall(self, c: Integers, d: Integers) -> Floats:
        """OOD above the next lower ID score where recall is nearest to 0.95 (at or above the lowest for recall 1)."""
        ours, theirs = c[:, -1], d[:, -1]
        reached = ours[:, None] - np.take(c, self._first, axis=1)
        chosen = np.argmin(np.abs(reached / ours[:, None] - 0.95), axis=1)
        # Scores that weigh nothing reach as far as the next above them; the first of these follows one that weighs.
        whole = _at(reached, chosen) == ours
        lowest = _last(c[:, :-1], np.zeros_like(ours))
        passed = np.where(whole, self._below[lowest], self._upto[self._first[chosen - (chosen > 0)]])
        return np.asarray((theirs - _at(d, passed)) / theirs)


def _prefix(weights: Integers) -> Integers:
    """(B, n) → (B, n + 1) sums of the first i."""
    sums = np.zeros((len(weights), weights.shape[1] + 1), np.int64)
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def _last(sums: Integers, limit: Integers) -> Integers:
    """The last column of each ascending row that is at most its limit."""
    return np.array([np.searchsorted(row, value, "right") - 1 for row, value in zip(sums, limit, strict=True)])


def _at(sums: Integers, columns: Integers) -> Integers:
    return np.asarray(sums[np.arange(len(sums)), columns])
