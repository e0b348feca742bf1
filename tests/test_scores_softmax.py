"""MCM, MSP and the registry of scores, against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mpmath import mp, mpf

from neglabel import UsageError
from neglabel.pipeline.scores import FROM_COSINES, REGISTRY, SCORES, compute, mcm, msp, neglabel, spec_of
from neglabel.pipeline.scores.softmax import tempered_msp

from .test_scores import cosines

mp.dps = 120


def test_no_negatives_is_no_evidence() -> None:
    for name in FROM_COSINES:
        score, logit = compute(name, np.full((3, 2), 0.2), np.empty((3, 0)))
        assert score.shape == logit.shape == (3,)
        assert np.isnan(score).all() == np.isnan(logit).all() == SCORES[name].needs_negatives


@pytest.mark.parametrize(("function", "temperature"), [(mcm, 1.0), (msp, 0.01), (tempered_msp, 10.0)])
def test_softmax_scores_against_the_definition(function: object, temperature: float) -> None:
    positive = cosines(np.random.default_rng(3), 20, 11)
    score, logit = function(positive)  # type: ignore[operator]
    for i, a in enumerate(positive):
        parts = sorted(mp.exp(mpf(float(v)) / mpf(temperature)) for v in a)
        assert score[i] == pytest.approx(float(parts[-1] / sum(parts)), rel=1e-12)
        assert logit[i] == pytest.approx(float(mp.log(parts[-1] / sum(parts[:-1]))), rel=1e-10, abs=1e-10)


def test_softmax_of_one_label_and_of_tied_labels() -> None:
    score, logit = mcm(np.array([[0.3], [0.1]]))
    assert (score == 1).all()
    assert np.isposinf(logit).all()
    score, logit = msp(np.array([[0.3, 0.3, -1.0]]))
    assert score[0] == pytest.approx(0.5)
    assert logit[0] == pytest.approx(0.0, abs=1e-12)


def test_saturated_msp_keeps_its_order() -> None:
    gaps = np.linspace(0.5, 0.6, 20)
    score, logit = msp(np.stack([gaps, np.zeros(20)], axis=1))
    assert (score == 1.0).all()
    np.testing.assert_allclose(logit, gaps / 0.01)


def test_registry_names_what_is_valid() -> None:
    assert list(SCORES)[:4] == ["neglabel", "neglabel-ungrouped", "mcm", "msp"]
    with pytest.raises(UsageError, match="'ncm'; valid: neglabel, neglabel-ungrouped, mcm, msp, tempered"):
        compute("ncm", np.ones((1, 1)), np.ones((1, 1)))
    positive, negative = np.array([[0.3, 0.1]]), np.array([[0.2]])
    assert compute("mcm", positive, negative)[0] != compute("msp", positive, negative)[0]
    assert compute("msp", positive, negative, 1.0)[0] == compute("mcm", positive, negative)[0]
    assert math.isclose(compute("neglabel", positive, negative)[1][0], neglabel(positive, negative, 0.01)[1][0])


def test_a_score_that_needs_more_than_the_stage_has_is_refused_in_one_sentence() -> None:
    assert set(REGISTRY) > set(SCORES)
    for name in set(REGISTRY) - set(SCORES):
        with pytest.raises(UsageError, match=rf"score '{name}' needs .* doesn't supply; call it from Python") as caught:
            spec_of(name)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="score 'maxlogit' has no temperature"):
        compute("maxlogit", np.ones((1, 2)), np.ones((1, 1)), 0.5)


@pytest.mark.parametrize("name", list(FROM_COSINES))
def test_no_labels_and_no_temperature_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="at least one ID label"):
        compute(name, np.empty((2, 0)), np.ones((2, 3)))
    for temperature in (0.0, -0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="finite number above 0"):
            compute(name, np.ones((2, 2)), np.ones((2, 3)), temperature)
