"""Streaming scores: what they start from, and how they take a stream of pictures.

A streaming score of a picture depends on the pictures before it, so it isn't a property of that picture: it is one of
a stream, in an order. It is never to be compared with a static score without saying so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from neglabel import UsageError
from neglabel.pipeline.scores.bank import Vectors
from neglabel.pipeline.scores.block import Groups
from neglabel.pipeline.scores.stable import Floats, check

#: A stream in progress: the next n pictures, (n, D) unit vectors in order → score and logit, (n,) float64 each. It
#: remembers; cutting a stream into pieces elsewhere changes nothing but the rounding of float64.
Stream = Callable[[Vectors], tuple[Floats, Floats]]
#: What a streaming score looks at beside the picture itself, by score: for the manifest and the page.
SEES: Mapping[str, str] = MappingProxyType(
    {
        "adaneg": "earlier pictures of the stream, which it stores as proxies of labels and negatives",
        "tanl": "earlier pictures of the stream, whose shares of the negatives choose those that count",
        "clipscope": "how many earlier pictures of the stream were taken for each class",
    }
)


@dataclass(frozen=True, eq=False)
class Texts:
    """Unit vectors of the texts, with which every stream starts.

    Args:
        labels: (K, D) of the ID labels, K ≥ 1.
        negatives: (M, D) of the negative labels in rank order; M may be 0.
        groups: (n_g, m) indices of negatives; None: all in one group.

    Raises:
        UsageError: vectors of differing length.
    """

    labels: Vectors
    negatives: Vectors
    groups: Groups | None = None

    def __post_init__(self) -> None:
        if self.labels.ndim != 2 or self.negatives.ndim != 2 or self.labels.shape[1] != self.negatives.shape[1]:
            raise UsageError(
                f"labels {self.labels.shape} and negatives {self.negatives.shape} can't be compared; use one model"
            )

    def silent(self) -> bool:
        """There is no negative to compare with."""
        return not len(self.negatives) or (self.groups is not None and self.groups.size == 0)

    def together(self, temperature: float) -> Floats:
        """(K + M, D) float64, labels first. Raises ValueError: no label, or a temperature that is not above 0."""
        check(self.labels.T, temperature)
        return np.concatenate([self.labels, self.negatives]).astype(np.float64)


def no_evidence(embeddings: Vectors) -> tuple[Floats, Floats]:
    """NaN for each of n pictures: the stream of a score that has no negatives."""
    return np.full(len(embeddings), np.nan), np.full(len(embeddings), np.nan)
