"""The NegLabel score against float64 and arbitrary-precision references written from the equations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

from neglabel.indexes.flat import NegativeIndex
from neglabel.pipeline.scores import group_negatives, neglabel

mp.dps = 120


def cosines(rng: np.random.Generator, n: int, m: int, spread: float = 0.1) -> np.ndarray:
    return np.clip(rng.normal(0.2, spread, (n, m)), -1, 1)


def exact_neglabel(positive: np.ndarray, negative: np.ndarray, t: float, groups: np.ndarray | None) -> list[mpf]:
    """Eq. 6 and Section 3.2 in 120 digits: the score itself, no logarithms."""
    out = []
    for a, b in zip(positive, negative, strict=True):
        ours = sum(mp.exp(mpf(float(v)) / mpf(t)) for v in a)
        parts = [b] if groups is None else [b[g] for g in groups]
        each = [ours / (ours + sum(mp.exp(mpf(float(v)) / mpf(t)) for v in part)) for part in parts]
        out.append(sum(each) / len(each))
    return out


def logit_of(score: mpf) -> float:
    return float(mp.log(score / (1 - score)))


@pytest.mark.parametrize("n_groups", [None, 1, 3, 7])
@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01, 0.002])
def test_neglabel_against_the_equation(temperature: float, n_groups: int | None) -> None:
    rng = np.random.default_rng(1)
    positive, negative = cosines(rng, 12, 9), cosines(rng, 12, 23)
    groups = None if n_groups is None else group_negatives(23, n_groups, seed=5)
    score, logit = neglabel(positive, negative, temperature, groups)
    want = exact_neglabel(positive, negative, temperature, groups)
    assert score.dtype == logit.dtype == np.float64
    np.testing.assert_allclose(score, [float(w) for w in want], rtol=1e-12)
    np.testing.assert_allclose(logit, [logit_of(w) for w in want], rtol=1e-10, atol=1e-12 / temperature)


def test_float32_similarities_stay_within_the_bound() -> None:
    """Unit vectors in float32 through the flat index, against float64 from the same vectors."""
    rng = np.random.default_rng(2)
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (rng.normal(size=(k, 64)) for k in (50, 20, 333))]
    images, labels, words = (v.astype(np.float32) for v in unit)
    index = NegativeIndex(words)
    for temperature in (1.0, 0.01):
        groups = group_negatives(333, 10, seed=1)
        _, logit = neglabel(images @ labels.T, index.similarities(images)[1], temperature, groups)
        wide = [v.astype(np.float64) for v in (images, labels, words)]
        a, b = np.exp(wide[0] @ wide[1].T / temperature), np.exp(wide[0] @ wide[2].T / temperature)
        shares = np.mean([a.sum(1) / (a.sum(1) + b[:, g].sum(1)) for g in groups], axis=0)
        scale = max(1.0, float(np.abs(np.log(shares / (1 - shares))).max()))
        assert np.abs(logit - np.log(shares / (1 - shares))).max() <= 1e-5 * (0.01 / temperature) * max(scale, 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.01, 0.003]), st.sampled_from([0.05, 0.3]), st.booleans())
def test_logit_orders_as_the_exact_score(seed: int, temperature: float, spread: float, grouped: bool) -> None:
    """However saturated: what differs by more than rounding in 120 digits is ordered the same by the logit."""
    rng = np.random.default_rng(seed)
    positive, negative = cosines(rng, 6, 4, spread), cosines(rng, 6, 8, spread)
    groups = group_negatives(8, 4, seed=seed) if grouped else None
    _, logit = neglabel(positive, negative, temperature, groups)
    exact = exact_neglabel(positive, negative, temperature, groups)
    for i in range(6):
        for j in range(6):
            apart = abs(logit_of(exact[i]) - logit_of(exact[j])) > 1e-9 / temperature
            if apart:
                assert (logit[i] > logit[j]) == (exact[i] > exact[j])


def test_float32_scores_tie_where_the_logit_orders() -> None:
    """The trap: with a cosine gap of 0.5 at T = 0.01 the score is 1 − 2e-22, which is 1.0 in float32 and float64."""
    gaps = np.linspace(0.40, 0.60, 40)
    positive, negative = gaps[:, None] + 0.1, np.full((40, 6), 0.1)
    groups = group_negatives(6, 3)
    score, logit = neglabel(positive, negative, 0.01, groups)
    narrow = np.exp(positive.astype(np.float32) / np.float32(0.01) - 70)
    other = np.exp(negative.astype(np.float32) / np.float32(0.01) - 70).sum(1, keepdims=True)
    assert len(np.unique(narrow / (narrow + other))) < 5
    assert len(np.unique(score)) < 40
    exact = exact_neglabel(positive, negative, 0.01, groups)
    assert (np.diff(logit) > 0).all()
    assert (np.argsort(logit) == np.argsort([float(mp.log(1 - e)) for e in exact])[::-1]).all()


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1, 1), st.sampled_from([1.0, 0.01]))
def test_one_more_negative_lowers_the_ungrouped_score(seed: int, added: float, temperature: float) -> None:
    rng = np.random.default_rng(seed)
    positive, negative = cosines(rng, 3, 4), cosines(rng, 3, 5)
    score, logit = neglabel(positive, negative, temperature)
    more = np.concatenate([negative, np.full((3, 1), added)], axis=1)
    score_more, logit_more = neglabel(positive, more, temperature)
    assert (score_more <= score).all()
    assert (logit_more <= logit).all()
    # A negative far below the others at T = 0.01 changes nothing that float64 can show.
    assert (logit_more < logit).all() or added / temperature < negative.max() / temperature - 20
