"""Coverage of OOD classes by negatives; risk-coverage curves; near and far OOD. Plain arrays, float64.

Which negatives stand near a class of OOD pictures decides whether the class can be told from ID: a class that no
negative names falls to the ID label nearest to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neglabel import UsageError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Nearest:
    """C classes: ``n`` pictures (C,); of the mean direction of their unit vectors the cosine to the nearest negative
    (``negative``, ``negative_cosine``: index and cosine, (C,)) and to the nearest ID label; ``share`` (C,) of pictures
    whose best word of all is a negative."""

    n: NDArray[np.int64]
    negative: NDArray[np.int64]
    negative_cosine: Floats
    label: NDArray[np.int64]
    label_cosine: Floats
    share: Floats

    @property
    def margin(self) -> Floats:
        """Cosine to the nearest negative less that to the nearest ID label; below 0 no negative is close."""
        return self.negative_cosine - self.label_cosine


def nearest(
    blocks: Iterable[tuple[int, NDArray[np.floating[Any]]]], which: NDArray[np.integer[Any]], classes: int,
    labels: NDArray[np.floating[Any]], negatives: NDArray[np.floating[Any]],
) -> Nearest:  # fmt: skip
    """Every class against all words, in one pass over its pictures.

    A picture whose best label and best negative are as near belongs to the label.

    Args:
        blocks: (first row, (b, D) unit vectors) in order.
        which: (n,) the class of each picture, from 0 to ``classes`` − 1; every class has a picture.
        labels, negatives: (K, D), (M, D) unit vectors; M > 0.
    """
    total = np.zeros((classes, labels.shape[1]))
    best = np.zeros(classes)
    for start, block in blocks:
        mine = which[start : start + len(block)]
        np.add.at(total, mine, block.astype(np.float64))
        wins = (block @ negatives.T).max(axis=1) > (block @ labels.T).max(axis=1)
        best += np.bincount(mine, weights=wins, minlength=classes)
    n = np.bincount(which, minlength=classes)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    # Pictures that cancel out have no direction: they are near to nothing.
    mean = np.divide(total, length, out=np.zeros_like(total), where=length > 0)
    theirs, ours = mean @ negatives.T.astype(np.float64), mean @ labels.T.astype(np.float64)
    return Nearest(
        n, theirs.argmax(axis=1), theirs.max(axis=1), ours.argmax(axis=1), ours.max(axis=1), best / n
    )


def risk_coverage(scores: ArrayLike, wrong: ArrayLike) -> tuple[Floats, Floats]:
    """Selective risk: of the k pictures with the highest scores the share that is wrong, at coverage k/n, k = 1 … n.

    Among pictures of equal score the order is left to chance and the expected risk is given. With OOD pictures among
    them, which are wrong whatever they are called, this is classification with rejection of both misclassified ID and
    OOD pictures. Its mean is the AURC.

    Source: Geifman & El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017 (risk and coverage);
    Jaeger et al., "A Call to Reflect on Evaluation Practices for Failure Detection in Image Classification", ICLR 2023
    (OOD as failures).

    Args:
        scores: (n,) floats, high = accepted first; no NaN.
        wrong: (n,) booleans.

    Returns:
        coverage and risk, (n,) each.

    Raises:
        UsageError: no pictures.
    """
    score, error = np.asarray(scores, np.float64), np.asarray(wrong, np.float64)
    if not score.size:
        raise UsageError("a risk-coverage curve needs at least one picture")
    _, group, count = np.unique(-score, return_inverse=True, return_counts=True)
    expected = np.bincount(group, weights=error) / count
    k = np.arange(1, len(score) + 1)
    return k / len(score), np.cumsum(np.repeat(expected, count)) / k


def aurc(scores: ArrayLike, wrong: ArrayLike) -> float:
    """Mean of the selective risk over all coverages; 0 is best, arguments and errors as :func:`risk_coverage`."""
    return float(risk_coverage(scores, wrong)[1].mean())


def near_half(similarity: ArrayLike, n: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Which classes are near: the most similar ones that together hold at most half of the pictures.

    Args:
        similarity: (C,) of each class to the ID labels, high = near; of equals the earlier is nearer.
        n: (C,) pictures.

    Returns:
        (C,) booleans; all False for one class, which can't be split.
    """
    values, counts = np.asarray(similarity, np.float64), np.asarray(n, np.int64)
    order = np.argsort(-values, kind="stable")
    near = np.zeros(len(values), np.bool_)
    near[order[2 * np.cumsum(counts[order]) <= counts.sum()]] = True
    if len(values) > 1 and not near.any():
        near[order[0]] = True
    return near
