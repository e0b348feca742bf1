"""Table 12's nine forms, the scores of ID labels alone, and the pass they share, against their formulas."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

from neglabel import UsageError
from neglabel.pipeline import metrics
from neglabel.pipeline.scores import (
    FROM_COSINES,
    SCORES,
    Block,
    compute,
    compute_all,
    fused_groups,
    group_negatives,
    neglabel,
)
from neglabel.pipeline.scores.linear import linear_binarised
from neglabel.pipeline.scores.proportional import binarised, sum_cos
from neglabel.pipeline.scores.stable import top_and_rest

from .conftest import ROOT
from .test_scores import cosines, exact_neglabel, logit_of

mp.dps = 120
GAMMA = Fraction(1, 4)


def exact(name: str, a: np.ndarray, b: np.ndarray, t: float) -> mpf:
    """One picture's score in 120 digits, from the row of Table 12 (or the score's own paper)."""
    one, other = [mpf(float(v)) for v in a], [mpf(float(v)) for v in b]
    high, low = [mp.exp(v / mpf(t)) for v in one], [mp.exp(v / mpf(t)) for v in other]
    p, n = (sum(Fraction(float(v)) >= GAMMA for v in side) for side in (a, b))
    return {
        "linear-sum": lambda: sum(one) - mpf(1) / 10 * sum(other),
        "maxlogit": lambda: max(one),
        "linear-binarised": lambda: p - mpf(n) / 10,
        "toy": lambda: mpf(-n),
        "neglabel-ungrouped": lambda: sum(high) / (sum(high) + sum(low)),
        "max-exp": lambda: max(high) / (sum(high) + sum(low)),
        "sum-cos": lambda: sum(one) / (sum(one) + sum(other)),
        "max-cos": lambda: max(one) / (sum(one) + sum(other)),
        "binarised": lambda: mpf(p) / (p + n) if p + n else mpf(0),
        "energy": lambda: mpf(t) * mp.log(sum(high)),
    }[name]()


FORMS = ["linear-sum", "maxlogit", "linear-binarised", "toy", "neglabel-ungrouped", "max-exp", "sum-cos", "max-cos",
         "binarised", "energy"]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FORMS)
def test_forms_against_the_table(name: str, dtype: type) -> None:
    rng = np.random.default_rng(4)
    positive: np.ndarray = cosines(rng, 12, 9).astype(dtype)
    negative: np.ndarray = cosines(rng, 12, 23).astype(dtype)
    positive[0, 0] = negative[0, 0] = 0.25  # "≥ γ" counts what lies on it
    positive[1], negative[1] = 0.2, 0.2  # nobody answers
    score, logit = compute(name, positive, negative)
    want = [exact(name, a, b, SCORES[name].temperature) for a, b in zip(positive, negative, strict=True)]
    assert score.dtype == logit.dtype == np.float64
    np.testing.assert_allclose(score, [float(w) for w in want], rtol=1e-11, atol=1e-13)
    if name in ("neglabel-ungrouped", "max-exp"):
        np.testing.assert_allclose(logit, [logit_of(w) for w in want], rtol=1e-10, atol=1e-10)
    else:
        np.testing.assert_array_equal(logit, score)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.3]))
def test_logits_order_as_the_exact_scores(seed: int, spread: float) -> None:
    """However saturated, and equal where the formula says equal: counts at any α."""
    rng = np.random.default_rng(seed)
    positive, negative = cosines(rng, 6, 4, spread), cosines(rng, 6, 12, spread)
    for name in FORMS:
        t = SCORES[name].temperature
        _, logit = compute(name, positive, negative)
        want = [exact(name, a, b, t) for a, b in zip(positive, negative, strict=True)]
        keys = [mp.log(w / (1 - w)) for w in want] if name in ("neglabel-ungrouped", "max-exp") else want
        counted = "binarised" in name or name == "toy"
        for i in range(6):
            for j in range(i):
                if counted or abs(keys[i] - keys[j]) > 1e-9 * max(1, abs(keys[i])):
                    assert np.sign(logit[i] - logit[j]) == mp.sign(keys[i] - keys[j]), name


def test_counts_of_equal_worth_are_equal() -> None:
    ours, theirs = np.array([0, 1, 2, 7]), np.array([3, 13, 23, 73])
    assert len(set(linear_binarised(ours, theirs)[1])) == 1
    assert len(set(ours - 0.1 * theirs)) > 1  # what plain floats make of it
    assert len(set(binarised(np.array([1, 3, 7]), np.array([2, 6, 14]))[1])) == 1
    assert np.isnan(sum_cos(np.array([0.5]), np.array([-0.5]))[1]).all()


def test_saturated_shares_keep_their_order() -> None:
    """At T = 0.01 the others' exponentials underflow: 0.0 and 1.0 as scores, the order in the logit."""
    gaps = np.linspace(8.0, 9.0, 20)
    positive = np.stack([gaps, np.zeros(20)], axis=1)
    score, logit = compute("max-exp", positive, np.full((20, 3), -1.0))
    assert (score == 1.0).all()
    np.testing.assert_allclose(logit, gaps / 0.01, rtol=1e-12)
    top, rest = top_and_rest(positive, 0.01)
    np.testing.assert_allclose(top - rest, gaps / 0.01, rtol=1e-12)


@pytest.mark.parametrize("n_groups", [None, 1, 4])
def test_one_pass_gives_what_each_score_gives_alone(n_groups: int | None) -> None:
    rng = np.random.default_rng(5)
    positive, negative = cosines(rng, 7, 5).astype(np.float32), cosines(rng, 7, 23).astype(np.float32)
    groups = None if n_groups is None else group_negatives(23, n_groups, seed=1)
    asked = dict.fromkeys(FROM_COSINES) | {"msp": 0.02, "max-exp": 0.02}
    together = compute_all(asked, Block(positive, negative, groups))
    backwards = compute_all(dict(reversed(asked.items())), Block(positive, negative, groups))
    assert list(together) == list(FROM_COSINES)
    for name, temperature in asked.items():
        alone = compute(name, positive, negative, temperature, groups)
        for kind in range(2):
            np.testing.assert_array_equal(together[name][kind], backwards[name][kind])
            np.testing.assert_array_equal(together[name][kind], alone[kind])
            if name != "neglabel":  # groups are a way to the same sums, and leave no negative out
                want = compute(name, positive, negative, temperature)[kind]
                np.testing.assert_allclose(alone[kind], want, rtol=1e-12)


def test_fused_groups_are_some_of_the_groups() -> None:
    rng = np.random.default_rng(6)
    positive, negative = cosines(rng, 5, 4), cosines(rng, 5, 40)
    groups = group_negatives(40, 10, seed=3)
    some = fused_groups(groups, 3, seed=7)
    assert some.shape == (3, 4)
    assert {tuple(g) for g in some} <= {tuple(g) for g in groups}
    assert {tuple(g) for g in some} < {tuple(g) for g in fused_groups(groups, 5, seed=7)}
    assert {tuple(g) for g in some} != {tuple(g) for g in fused_groups(groups, 3, seed=8)}
    want = exact_neglabel(positive, negative, 0.01, some)
    np.testing.assert_allclose(neglabel(positive, negative, 0.01, some)[0], [float(w) for w in want], rtol=1e-12)
    for count in (0, 11):
        with pytest.raises(UsageError, match=f"{count} fused groups of 10"):
            fused_groups(groups, count)


#: AUROC and FPR95 in percent of a float64 reference that comes with the data (its README).
KNOWN = {
    "food101_16shot": {
        "mcm": (82.266, 81.559),
        "msp": (75.806, 80.260),
        "maxlogit": (90.919, 44.616),
        "energy": (91.617, 44.431),
    },
    "dtd": {
        "mcm": (85.213, 59.397),
        "msp": (79.605, 64.953),
        "maxlogit": (82.316, 68.144),
        "energy": (78.830, 79.196),
    },
}


def test_known_figures_on_real_features() -> None:
    folder = ROOT.parent / "shared" / "data" / "clip_vitb32"
    if not folder.exists():
        pytest.skip(f"{folder.relative_to(ROOT.parent)} is absent: real CLIP features are not part of the repository")

    def logits(name: str) -> dict[str, np.ndarray]:
        pictures, labels = (
            np.stack(pq.read_table(folder / f"{file}.parquet", columns=["embedding"])["embedding"].to_numpy())
            for file in (f"images_{name}", "labels_imagenet1k_a")
        )
        a, b = (
            v.astype(np.float64) / np.linalg.norm(v.astype(np.float64), axis=1)[:, None] for v in (pictures, labels)
        )
        block = Block(a @ b.T, np.empty((len(a), 0)))
        return {score: made[1] for score, made in compute_all(dict.fromkeys(KNOWN["dtd"]), block).items()}

    inside = logits("imagenet_4shot")
    for ood, figures in KNOWN.items():
        outside = logits(ood)
        for score, known in figures.items():
            found = metrics.auroc(inside[score], outside[score]), metrics.fpr95(inside[score], outside[score])
            assert tuple(100 * f for f in found) == pytest.approx(known, abs=0.04), (ood, score)
