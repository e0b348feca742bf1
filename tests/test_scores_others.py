"""Scores over inputs that somebody else's model makes (made up here), and Table 17's similarities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from mpmath import mp, mpf
from scipy.special import softmax
from scipy.stats import entropy

from neglabel import UsageError
from neglabel.pipeline.scores import Block, compute_all, group_negatives, neglabel
from neglabel.pipeline.scores.clipn import agreeing_to_differ, competing_to_win
from neglabel.pipeline.scores.similarity import Similarity, similarities
from neglabel.pipeline.scores.zoc import zoc

from .test_scores import cosines, logit_of

mp.dps = 120


def exponentials(values: np.ndarray, t: float) -> list[mpf]:
    return [mp.exp(mpf(float(v)) / mpf(t)) for v in values]


@pytest.mark.parametrize("temperature", [0.01, 0.5])
def test_clipn_against_its_probabilities(temperature: float) -> None:
    rng = np.random.default_rng(7)
    yes, no = cosines(rng, 15, 6), cosines(rng, 15, 6)
    won, won_logit = competing_to_win(yes, no, temperature)
    agreed, agreed_logit = agreeing_to_differ(yes, no, temperature)
    for i in range(15):
        a, b = exponentials(yes[i], temperature), exponentials(no[i], temperature)
        says_yes = [x / (x + y) for x, y in zip(a, b, strict=True)]
        best = says_yes[int(yes[i].argmax())]
        both = sum(x / sum(a) * y for x, y in zip(a, says_yes, strict=True))
        assert (won[i], agreed[i]) == pytest.approx((float(best), float(both)), rel=1e-12)
        assert won_logit[i] == pytest.approx(logit_of(best), rel=1e-10, abs=1e-10)
        assert agreed_logit[i] == pytest.approx(logit_of(both), rel=1e-10, abs=1e-10)


def test_zoc_sums_what_was_generated_for_each_picture() -> None:
    rng = np.random.default_rng(8)
    positive, made = cosines(rng, 9, 4), cosines(rng, 9, 5)
    made[0, 1:] = made[1, :3] = np.nan
    score, logit = zoc(positive, made)
    for i in range(9):
        a, c = exponentials(positive[i], 0.01), exponentials(made[i][~np.isnan(made[i])], 0.01)
        want = sum(a) / (sum(a) + sum(c))
        assert score[i] == pytest.approx(float(want), rel=1e-12)
        assert logit[i] == pytest.approx(logit_of(want), rel=1e-10, abs=1e-10)
    made[2] = np.nan
    assert np.isnan(zoc(positive, made)[1]).tolist() == [i == 2 for i in range(9)]
    assert np.isnan(zoc(positive, made[:, :0])[0]).all()


def test_through_the_registry_and_what_is_missing() -> None:
    rng = np.random.default_rng(9)
    yes, no, made = cosines(rng, 5, 3), cosines(rng, 5, 3), cosines(rng, 5, 4)
    names = ["clipn-ctw", "clipn-atd", "zoc"]
    found = compute_all(dict.fromkeys(names), Block(yes, made[:, :0], no_positive=no, generated=made))
    np.testing.assert_array_equal(found["clipn-ctw"][1], competing_to_win(yes, no)[1])
    np.testing.assert_array_equal(found["clipn-atd"][1], agreeing_to_differ(yes, no)[1])
    np.testing.assert_array_equal(found["zoc"][1], zoc(yes, made)[1])
    for name, what in zip(names, ["no-texts", "no-texts", "generated"], strict=True):
        with pytest.raises(UsageError, match=f"has no {what}"):
            compute_all({name: None}, Block(yes, made))


def test_similarities_in_place_of_the_cosine() -> None:
    rng = np.random.default_rng(10)
    images, labels, words = (rng.normal(size=(n, 16)) for n in (6, 4, 30))
    images, labels, words = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (images, labels, words))
    want: dict[Similarity, Callable[[np.ndarray, np.ndarray], float]] = {
        "cosine": lambda h, e: float(np.dot(h, e)),
        "l1": lambda h, e: -float(np.mean(np.abs(h - e))),
        "kl": lambda h, e: -float(entropy(softmax(h), softmax(e))),
    }
    for kind, by_hand in want.items():
        expected = [[by_hand(h, e) for e in words] for h in images]
        np.testing.assert_allclose(similarities(images, words, kind), expected, rtol=1e-10, atol=1e-15)
        assert similarities(images, words[:0], kind).shape == (6, 0)
    groups = group_negatives(30, 4, seed=2)
    block = Block(
        images @ labels.T, images @ words.T, groups, embeddings=images, label_vectors=labels, negative_vectors=words
    )
    made = compute_all({"neglabel-l1": None, "neglabel-kl": 0.001}, block)
    temperatures: dict[Similarity, float] = {"l1": 0.01, "kl": 0.001}
    for kind, temperature in temperatures.items():
        positive, negative = (similarities(images, texts, kind) for texts in (labels, words))
        want_logit = neglabel(positive, negative, temperature, groups)[1]
        np.testing.assert_array_equal(made[f"neglabel-{kind}"][1], want_logit)
    with pytest.raises(UsageError, match="similarity is 'l2'; use cosine, l1, kl"):
        similarities(images, words, "l2")  # type: ignore[arg-type]
