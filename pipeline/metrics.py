"""OOD detection metrics of plain arrays, in float64: AUROC, FPR95 in three conventions, AUPR, accuracy.

Scores are high for ID pictures. Every function returns a share in [0, 1] and depends on the order of the scores
alone, so infinite log-odds are as good as finite ones; NaN is refused. Ties count as scikit-learn counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neglabel import NeglabelError, UsageError
from neglabel.corpora.text import normalise
from neglabel.pipeline.option_types import Convention as Convention

Floats = NDArray[np.float64]


def auroc(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """Probability that an ID picture outscores an OOD picture, ties counted half.

    Args:
        id_scores: (n,) floats; high = ID.
        ood_scores: (m,) floats.

    Raises:
        NeglabelError: either is empty or holds NaN.
    """
    from sklearn.metrics import roc_auc_score

    positive, ranks = _labelled(id_scores, ood_scores)
    return float(roc_auc_score(positive, ranks))


def aupr(id_scores: ArrayLike, ood_scores: ArrayLike, positive: Literal["id", "ood"] = "id") -> float:
    """Average precision, Σ (R_k − R_{k−1})·P_k, with ID or OOD pictures as the positives.

    This is scikit-learn's step-wise sum, the one OOD papers report, and not the trapezoid, which is optimistic.
    With ``ood`` the scores are negated. Arguments and errors as :func:`auroc`.
    """
    from sklearn.metrics import average_precision_score

    is_id, ranks = _labelled(id_scores, ood_scores)
    if positive == "id":
        return float(average_precision_score(is_id, ranks))
    if positive == "ood":
        return float(average_precision_score(~is_id, -ranks))
    raise UsageError(f"positive is {positive!r}; use id or ood")


def fpr95(
    id_scores: ArrayLike, ood_scores: ArrayLike, convention: Convention = "id-positive", level: float = 0.95
) -> float:
    """False positive rate where ``level`` of the positives are found.

    ``id-positive``: positives are ID. With λ the highest threshold that ``level`` of ID reaches, the share of OOD at
    or above λ.
    ``ood-positive`` (OpenOOD, pytorch-ood): positives are OOD, found by the negated score. With λ the lowest
    threshold at or below which ``level`` of OOD lies, the share of ID at or below λ.
    ``nearest-recall`` (the code of NegLabel, MCM and others before them, ``fpr_and_fdr_at_recall``): positives are ID.
    Of all thresholds take the one whose recall is nearest to ``level``, below it or above; of two as near, the higher
    recall; of thresholds of equal recall, the lowest. So OOD counts down to the next ID score below, a little more
    than ``id-positive`` has where ``level`` can be met exactly.

    The first two answer different questions and may differ by tens of points; a table holds one of them and says which.

    Args:
        id_scores: (n,) floats; high = ID.
        ood_scores: (m,) floats.
        level: in (0, 1].

    Raises:
        NeglabelError: either is empty or holds NaN.
        UsageError: an unknown convention, or ``level`` out of range.
    """
    inside, outside = _scores(id_scores, "ID"), _scores(ood_scores, "OOD")
    if convention not in get_args(Convention):
        raise UsageError(f"FPR95 convention is {convention!r}; use {' or '.join(get_args(Convention))}")
    if convention == "nearest-recall":
        return _at_nearest_recall(inside, outside, level)
    if convention == "ood-positive":
        inside, outside = -outside, -inside
    return float(np.mean(outside >= acceptance_threshold(inside, level)))


def _at_nearest_recall(inside: Floats, outside: Floats, level: float) -> float:
    if not 0 < level <= 1:
        raise UsageError(f"level is {level}; give a share above 0 and at most 1")
    values, counts = np.unique(inside, return_counts=True)
    # In floats as in the authors' code, rounding included, so that their figures come out.
    recall = np.cumsum(counts[::-1])[::-1] / len(inside)
    chosen = int(np.argmin(np.abs(recall - level)))
    return float(np.mean(outside >= values[0] if chosen == 0 else outside > values[chosen - 1]))


def acceptance_threshold(scores: ArrayLike, level: float = 0.95) -> float:
    """The highest threshold that at least ``level`` of ``scores`` reach (score ≥ threshold).

    That is the ⌈level·n⌉-th largest score: exact for small n and under ties, where interpolated quantiles are not.

    Args:
        scores: (n,) floats.
        level: in (0, 1]. Read as the decimal it is written as: in binary, 0.95·n may land just above an integer.

    Raises:
        NeglabelError: no scores, or NaN.
        UsageError: ``level`` out of range.
    """
    values = _scores(scores, "the")
    if not 0 < level <= 1:
        raise UsageError(f"level is {level}; give a share above 0 and at most 1")
    count = ceil(Fraction(str(level)) * len(values))
    return float(np.partition(values, len(values) - count)[len(values) - count])


def accuracy(true: Sequence[str], predicted: Sequence[str], names: Sequence[str] = ()) -> float:
    """Share of pictures whose predicted label is the true one, among those whose true label is known.

    Args:
        true: (n,) labels, read as in :func:`known_labels`; empty is unknown.
        predicted: (n,) names.
        names: the ID labels, in order. Names that are there twice (ImageNet's crane, maillot) can't be told apart.

    Raises:
        NeglabelError: lengths differ, or no true label is known.
    """
    if len(true) != len(predicted):
        raise NeglabelError(f"{len(true)} true labels but {len(predicted)} predicted ones; give one for each picture")
    pairs = zip(known_labels(true, names), known_labels(predicted, names), strict=True)
    right = [label == guess for label, guess in pairs if label]
    if not right:
        raise NeglabelError("accuracy needs at least one picture whose true label is known")
    return sum(right) / len(right)


def known_labels(true: Sequence[str], names: Sequence[str] = ()) -> list[str]:
    """What each label means: one of ``names``, or empty where it is none of them.

    A label is a name as written, else a name when case, underscores and runs of space don't count (folders are often
    called ``golden_retriever``), else a decimal index. So digits may be names ("7" of MNIST), and names that differ
    by case only stay apart. Without ``names``, a label means its normalised form.

    Args:
        true: (n,) labels.
        names: the ID labels, in order.

    Returns:
        (n,) names.
    """
    if not names:
        return [normalise(label) for label in true]
    spelled = {normalise(name): name for name in reversed(names)} | {name: name for name in names}
    meaning = {label: spelled.get(label) or spelled.get(normalise(label), "") for label in set(true)}
    for label, name in meaning.items():
        if not name and label.isdecimal() and int(label) < len(names):
            meaning[label] = names[int(label)]
    return [meaning[label] for label in true]


def _scores(values: ArrayLike, what: str) -> Floats:
    array = np.asarray(values, dtype=np.float64).ravel()
    if not array.size:
        raise NeglabelError(f"no {what} scores: a metric needs at least one")
    if (nan := np.isnan(array)).any():
        raise NeglabelError(
            f"{what} scores hold NaN (first at {int(nan.argmax())}, {int(nan.sum())} in all); leave them out"
        )
    return array


def _labelled(id_scores: ArrayLike, ood_scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Who is ID, and dense ranks: scikit-learn refuses infinities, and these metrics need the order only."""
    inside, outside = _scores(id_scores, "ID"), _scores(ood_scores, "OOD")
    _, ranks = np.unique(np.concatenate([inside, outside]), return_inverse=True)
    return np.arange(len(ranks)) < len(inside), ranks
