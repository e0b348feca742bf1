"""What scores are computed from: the plain arrays of a block of pictures, and reductions of them that scores share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel import UsageError
from neglabel.pipeline.scores.stable import Floats, logsumexp, top_and_rest
from neglabel.pipeline.scores.sums import group_logsumexp

Cosines = NDArray[np.floating[Any]]
Groups = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Block:
    """n pictures. Reductions are taken once, however many scores read them; nothing here is ever changed.

    Args:
        positive: (n, K) cosines to the ID labels.
        negative: (n, M) cosines to the negative labels; M may be 0.
        groups: (n_g, m) indices of negatives; None: all in one group.
        embeddings: (n, D) unit vectors of the pictures.
        label_vectors: (K, D) and ``negative_vectors``: (M, D) unit vectors of the texts.
        no_positive: (n, K) cosines to the "no" texts of the ID labels (CLIPN).
        generated: (n, G) cosines to labels made up for each picture (ZOC), NaN where a picture has fewer.
        single: sums that a score takes of all labels or negatives, where they are float32, are exponentiated in float32
            (:mod:`neglabel.pipeline.scores.sums`), not in float64: exact to parts in a million, as such cosines are at
            best, in a fraction of the time.
    """

    positive: Cosines
    negative: Cosines
    groups: Groups | None = None
    embeddings: Cosines | None = None
    label_vectors: Cosines | None = None
    negative_vectors: Cosines | None = None
    no_positive: Cosines | None = None
    generated: Cosines | None = None
    single: bool = False
    _memo: dict[tuple[str, float], Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.positive)

    @property
    def no_groups(self) -> bool:
        """There are groups, and nothing in them."""
        return self.groups is not None and self.groups.size == 0

    @staticmethod
    def given(array: Cosines | None, what: str) -> Cosines:
        """``array``, or UsageError naming what is missing."""
        if array is None:
            raise UsageError(f"the block of pictures has no {what}, which a score asked for needs")
        return array

    def _once(self, name: str, parameter: float, make: Callable[[], Any]) -> Any:
        key = (name, parameter)
        if key not in self._memo:
            self._memo[key] = make()
        return self._memo[key]

    def label_cosines(self) -> Cosines:
        """:attr:`positive` in the CPU's memory."""
        return self.positive

    def negative_cosines(self) -> Cosines:
        """:attr:`negative` in the CPU's memory."""
        return self.negative

    def top(self) -> Floats:
        """(n,) max_k a_k."""
        return np.asarray(self._once("top", 0.0, lambda: self.positive.max(axis=1).astype(np.float64)))

    def top_and_rest(self, temperature: float) -> tuple[Floats, Floats]:
        """(n,) max_k a_k/T and (n,) log Σ of the exponentials of all others."""
        made: tuple[Floats, Floats] = self._once("rest", temperature, lambda: top_and_rest(self.positive, temperature))
        return made

    def positive_lse(self, temperature: float) -> Floats:
        """(n,) lse_k(a_k/T)."""

        def make() -> Floats:
            if self.single:
                return group_logsumexp(self.positive[:, None, :], temperature)[:, 0]
            return np.asarray(np.logaddexp(*self.top_and_rest(temperature)))

        return np.asarray(self._once("positive", temperature, make))

    def group_lse(self, temperature: float) -> Floats:
        """(n, n_g) lse over each group's b_j/T; (n, 1) over all negatives without groups."""

        def make() -> Floats:
            if self.groups is None:
                return self._lse(self.negative[:, None, :], temperature)
            used = self.groups.size
            # All columns in the order of the groups: they are, or are gathered; then a view.
            ordered = self.negative[:, :used] if self.in_order else np.take(self.negative, self.groups.ravel(), axis=1)
            return self._lse(ordered.reshape(len(self), *self.groups.shape), temperature)

        return np.asarray(self._once("groups", temperature, make))

    def _lse(self, values: Cosines, temperature: float) -> Floats:
        return group_logsumexp(values, temperature) if self.single else logsumexp(values, temperature)

    @property
    def in_order(self) -> bool:
        """Groups are ranges of columns, one after the other: 0, 1, 2, …"""
        groups = self.groups
        if groups is None:
            return False
        return bool(self._once("order", 0.0, lambda: np.array_equal(groups.ravel(), np.arange(groups.size))))

    def negative_lse(self, temperature: float) -> Floats:
        """(n,) lse_j(b_j/T) of all negatives: of the groups' sums, and of the negatives that no group has."""

        def make() -> Floats:
            grouped = self.group_lse(temperature)
            total = grouped[:, 0] if grouped.shape[1] == 1 else logsumexp(grouped)
            if self.groups is None or self.groups.size == self.negative.shape[1]:
                return total
            if self.in_order:
                left = self.negative[:, self.groups.size :]
            else:
                left = self.negative[:, np.setdiff1d(np.arange(self.negative.shape[1]), self.groups)]
            return np.asarray(np.logaddexp(total, self._lse(left[:, None, :], temperature)[:, 0]))

        return np.asarray(self._once("negative", temperature, make))

    def group_share(self, temperature: float, share: Callable[[Floats, Floats], tuple[Floats, Floats]]) -> Any:
        """(n,) score and logit of ``share``, a function of :meth:`positive_lse` and :meth:`group_lse`."""
        return share(self.positive_lse(temperature), self.group_lse(temperature))

    def sums(self) -> tuple[Floats, Floats]:
        """(n,) Σ_k a_k and (n,) Σ_j b_j."""
        made: tuple[Floats, Floats] = self._once("sums", 0.0, lambda: (_sum(self.positive), _sum(self.negative)))
        return made

    def counts(self, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(n,) how many a_k ≥ γ and (n,) how many b_j ≥ γ."""
        made: tuple[NDArray[np.int64], NDArray[np.int64]] = self._once(
            "counts", threshold, lambda: (_count(self.positive, threshold), _count(self.negative, threshold))
        )
        return made


def _sum(cosines: Cosines) -> Floats:
    return np.asarray(cosines.sum(axis=1, dtype=np.float64))


def _count(cosines: Cosines, threshold: float) -> NDArray[np.int64]:
    return np.asarray(np.count_nonzero(cosines >= threshold, axis=1), dtype=np.int64)
