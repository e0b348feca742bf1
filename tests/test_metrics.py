"""Metrics against their definitions, scikit-learn, and what can't change them."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from neglabel import NeglabelError, UsageError
from neglabel.pipeline import metrics

# Few distinct values, so that ties are the rule, and infinite log-odds.
values = st.one_of(st.integers(-3, 3).map(float), st.sampled_from([math.inf, -math.inf, 0.5]), st.floats(-1e6, 1e6))
samples = st.lists(values, min_size=1, max_size=45)


def fpr_by_definition(positives: list[float], negatives: list[float], level: Fraction = Fraction(95, 100)) -> float:
    """Try every score as the threshold, keep those that accept enough positives, take the highest."""
    enough = [t for t in positives if Fraction(sum(p >= t for p in positives), len(positives)) >= level]
    return sum(n >= max(enough) for n in negatives) / len(negatives)


@given(samples, samples)
def test_auroc_counts_pairs(inside: list[float], ood: list[float]) -> None:
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in inside for b in ood]
    assert metrics.auroc(inside, ood) == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)


@given(samples, samples)
def test_fpr95_is_its_definition(inside: list[float], ood: list[float]) -> None:
    assert metrics.fpr95(inside, ood) == fpr_by_definition(inside, ood)
    negated = fpr_by_definition([-x for x in ood], [-x for x in inside])
    assert metrics.fpr95(inside, ood, "ood-positive") == negated


@given(samples, samples)
def test_nearest_recall_is_the_authors_choice(inside: list[float], ood: list[float]) -> None:
    """Walk down the thresholds from full recall up, as their code does; the first that is nearest counts."""
    best, chosen = math.inf, 0.0
    for threshold in sorted({*inside, *ood}):
        recall = sum(x >= threshold for x in inside) / len(inside)
        if recall == 1.0 and any(sum(x >= t for x in inside) == len(inside) for t in {*inside, *ood} if t > threshold):
            continue  # their curve ends at the highest threshold that finds all
        if abs(recall - 0.95) < best and recall:
            best, chosen = abs(recall - 0.95), sum(x >= threshold for x in ood) / len(ood)
    assert metrics.fpr95(inside, ood, "nearest-recall") == chosen
    with pytest.raises(UsageError, match="level is 0"):
        metrics.fpr95(inside, ood, "nearest-recall", level=0)


@given(samples, samples)
def test_against_scikit_learn(inside: list[float], ood: list[float]) -> None:
    scores = np.clip([*inside, *ood], -1e300, 1e300)  # scikit-learn refuses infinities; this keeps the order
    is_id = np.array([1] * len(inside) + [0] * len(ood))
    assert metrics.auroc(inside, ood) == pytest.approx(roc_auc_score(is_id, scores), abs=1e-12)
    assert metrics.aupr(inside, ood) == pytest.approx(average_precision_score(is_id, scores), abs=1e-12)
    assert metrics.aupr(inside, ood, "ood") == pytest.approx(average_precision_score(1 - is_id, -scores), abs=1e-12)
    false, true, _ = roc_curve(is_id, scores, drop_intermediate=False)
    enough = np.round(true * len(inside)).astype(int) * 100 >= 95 * len(inside)
    assert metrics.fpr95(inside, ood) == pytest.approx(false[enough].min(), abs=1e-12)


@given(samples, samples, st.randoms())
def test_order_and_monotone_maps_change_nothing(inside: list[float], ood: list[float], random: object) -> None:
    def every(a: list[float], b: list[float]) -> list[float]:
        return [
            metrics.auroc(a, b),
            metrics.aupr(a, b),
            metrics.aupr(a, b, "ood"),
            metrics.fpr95(a, b),
            metrics.fpr95(a, b, "ood-positive"),
        ]

    before = every(inside, ood)
    assert every(inside[::-1], sorted(ood)) == before
    ranks = {x: float(3 * i - 7) for i, x in enumerate(sorted({*inside, *ood}))}
    assert every([ranks[x] for x in inside], [ranks[x] for x in ood]) == before


def test_swapping_the_sets_mirrors_the_metrics() -> None:
    draw = np.random.default_rng(0)
    a, b = draw.normal(1, 1, 300), draw.normal(0, 1, 200)
    assert metrics.auroc(a, b) == pytest.approx(1 - metrics.auroc(b, a))
    assert metrics.aupr(a, b, "ood") == pytest.approx(metrics.aupr(-b, -a, "id"))
    assert metrics.fpr95(a, b, "ood-positive") == metrics.fpr95(-b, -a, "id-positive")
    assert metrics.fpr95(a, b, "ood-positive") != metrics.fpr95(a, b, "id-positive")


@pytest.mark.parametrize("n", [1, 2, 19, 20, 21, 40, 60, 100, 140, 1000])
def test_threshold_accepts_enough_and_no_more(n: int) -> None:
    scores = np.random.default_rng(n).permutation(n).astype(float)
    accepted = int(np.sum(scores >= metrics.acceptance_threshold(scores)))
    assert accepted * 100 >= 95 * n > (accepted - 1) * 100


def test_a_level_is_the_decimal_it_is_written_as() -> None:
    # 0.07 · 100 is 7.000000000000001 in binary; the 8th largest would be one picture too many.
    assert metrics.acceptance_threshold(np.arange(100.0), 0.07) == 93.0


def test_float32_ties_are_not_broken_and_float64_ones_not_made() -> None:
    assert metrics.auroc([1.0 + 1e-12], [1.0]) == 1.0
    assert metrics.auroc(np.float32([1.0]), np.float32([1.0])) == 0.5


@pytest.mark.parametrize("metric", [metrics.auroc, metrics.aupr, metrics.fpr95])
def test_refusals_name_the_side(metric) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(NeglabelError, match=r"OOD scores hold NaN \(first at 1"):
        metric([1.0], [1.0, math.nan])
    with pytest.raises(NeglabelError, match="no ID scores"):
        metric([], [1.0])


def test_unknown_options_are_refused() -> None:
    with pytest.raises(UsageError, match="id-positive or ood-positive or nearest-recall"):
        metrics.fpr95([1], [0], "both")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="use id or ood"):
        metrics.aupr([1], [0], "unknown")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="level is 95"):
        metrics.fpr95([1], [0], level=95)


def test_accuracy_compares_names_as_people_read_them() -> None:
    assert metrics.accuracy(["Great_White  Shark", "TENCH", "hen"], ["great white shark", "tench", "cock"]) == 2 / 3


def test_accuracy_reads_indices_and_skips_the_unknown() -> None:
    names = ["tench", "hen"]
    assert metrics.known_labels(["1", "0", "2", "", "n01440764", "Hen"], names) == ["hen", "tench", "", "", "", "hen"]
    assert metrics.accuracy(["0", "1"], ["Cardigan", "Cardigan"], ["Cardigan", "cardigan"]) == 0.5
    assert metrics.accuracy(["1", "0", "n01440764"], ["hen", "hen", "hen"], names) == 0.5


def test_a_name_made_of_digits_is_a_name() -> None:
    assert metrics.known_labels(["1"], ["7", "1", "0"]) == ["1"]


def test_accuracy_refusals() -> None:
    with pytest.raises(NeglabelError, match="2 true labels but 1"):
        metrics.accuracy(["a", "b"], ["a"])
    with pytest.raises(NeglabelError, match="at least one picture"):
        metrics.accuracy(["", "x"], ["a", "a"], ["a"])
