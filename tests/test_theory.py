"""The theory's distributions against enumeration, exact fractions and scipy; its curve against the toy score itself."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import comb, erf, prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neglabel import UsageError
from neglabel.pipeline import theory
from neglabel.pipeline.metrics import fpr95

from .make_kept import World, own_groups, unit, write_kept
from .make_report import make, read_csv

SHARES = st.lists(st.one_of(st.sampled_from([0.0, 1.0, 0.5]), st.floats(0, 1)), max_size=6)


@given(SHARES)
def test_poisson_binomial_is_the_sum_over_all_outcomes(p: list[float]) -> None:
    expected = [Fraction(0)] * (len(p) + 1)
    for outcome in product((0, 1), repeat=len(p)):
        chances = [Fraction(q) if hit else 1 - Fraction(q) for q, hit in zip(p, outcome, strict=True)]
        expected[sum(outcome)] += prod(chances, start=Fraction(1))
    np.testing.assert_allclose(theory.poisson_binomial(np.asarray(p)), [float(e) for e in expected], rtol=1e-13)


@pytest.mark.parametrize("p", [0.0, 1e-6, 0.03, 0.5, 0.999, 1.0])
def test_binomial_is_scipys_and_the_poisson_binomial_of_one_p(p: float) -> None:
    binom = pytest.importorskip("scipy.stats").binom
    for m in (0, 1, 7, 3_000):
        found = theory.binomial(m, p)
        np.testing.assert_allclose(found, binom.pmf(np.arange(m + 1), m, p), rtol=1e-9, atol=1e-300)
        np.testing.assert_allclose(found, theory.poisson_binomial(np.full(m, p)), rtol=1e-9, atol=1e-300)
    small = [comb(7, k) * p**k * (1 - p) ** (7 - k) for k in range(8)]
    np.testing.assert_allclose(theory.binomial(7, p), small, rtol=1e-12)


def test_growing_is_each_prefix_on_its_own() -> None:
    p = np.random.default_rng(0).uniform(size=40)
    sizes = theory.sizes(40, 6)
    assert sizes[0] == 1
    assert sizes[-1] == 40
    for size, found in zip(sizes, theory.growing(p, sizes), strict=True):
        np.testing.assert_allclose(found, theory.poisson_binomial(p[:size]), rtol=1e-12)
    assert theory.sizes(0) == []
    with pytest.raises(UsageError, match="outside"):
        theory.poisson_binomial(np.asarray([1.5]))


@given(st.integers(1, 12), st.floats(0, 1), st.floats(0, 1))
def test_fpr_is_the_measured_one_of_pictures_in_these_proportions(m: int, p1: float, p2: float) -> None:
    inside, outside = theory.binomial(m, p1), theory.binomial(m, p2)
    # A crowd of pictures: how many have each count is the distribution, rounded down to 1 in 10,000.
    a, b = (np.repeat(np.arange(m + 1), np.floor(10_000 * d + 1e-9).astype(int)) for d in (inside, outside))
    accepted = np.cumsum(np.bincount(a, minlength=m + 1)) / len(a)
    if np.abs(accepted - 0.95).min() > 0.01:
        assert theory.fpr(inside, outside) == pytest.approx(fpr95(-a, -b), abs=0.01)


def test_equation_7_as_the_paper_writes_it_and_8_as_its_derivative() -> None:
    special = pytest.importorskip("scipy.special")
    for m, p1, p2 in ((50, 0.05, 0.2), (1_000, 0.01, 0.02), (10_000, 0.3, 0.301), (200, 0.2, 0.1)):
        z = sqrt(p1 * (1 - p1) / (p2 * (1 - p2))) * special.erfinv(2 * 0.95 - 1)
        z += sqrt(m) * (p1 - p2) / sqrt(2 * p2 * (1 - p2))
        assert theory.normal_fpr(m, p1, p2) == pytest.approx(0.5 + 0.5 * erf(z), rel=1e-9)
        paper = np.exp(-(z**2)) / (2 * sqrt(2 * np.pi)) * (p1 - p2) / sqrt(m * p2 * (1 - p2))
        assert theory.normal_slope(m, p1, p2) == pytest.approx(paper, rel=1e-9)
        step = (theory.normal_fpr(m + 1, p1, p2) - theory.normal_fpr(m - 1, p1, p2)) / 2
        assert theory.normal_slope(m, p1, p2) == pytest.approx(step, rel=0.01)
    assert theory.normal_fpr(10, 0.0, 1.0) == 0.0
    assert theory.normal_fpr(10, 0.1, 0.0) == 1.0
    exact = theory.fpr(theory.binomial(10_000, 0.02), theory.binomial(10_000, 0.022))
    assert theory.normal_fpr(10_000, 0.02, 0.022) == pytest.approx(exact, abs=0.02)


WORLD = World(pictures={"animals": 60, "food": 50, "cars": 40}, noise=0.5)
COUNT, THRESHOLD = 30, 0.2


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    root = tmp_path_factory.mktemp("theory")
    negatives = WORLD.words(COUNT, "food", strength=0.6)
    folder = write_kept(root / "run <b>", WORLD, negatives, [f"w{i}" for i in range(COUNT)])
    return make(root, folder, theory=True, threshold=THRESHOLD, cases=0, bootstrap=0)


def test_the_curve_is_of_the_toy_score(made: tuple[dict[str, Any], Path]) -> None:
    rows = read_csv(made[1] / "theory.csv")
    assert {(r["id"], r["ood"]) for r in rows} == {("animals", "food"), ("animals", "cars")}
    negatives = WORLD.words(COUNT, "food", strength=0.6).astype(np.float64)
    for row in rows:
        m = int(row["m"])
        hits = [WORLD.embeddings[name] @ negatives[:m].T >= THRESHOLD for name in (row["id"], row["ood"])]
        inside, outside = (hit.sum(axis=1) for hit in hits)
        p1, p2 = (hit.mean(axis=0) for hit in hits)
        assert float(row["fpr95_measured"]) == pytest.approx(100 * fpr95(-inside, -outside), abs=1e-3)
        np.testing.assert_allclose([float(row["p1"]), float(row["p2"])], [p1.mean(), p2.mean()], rtol=1e-4)
        each = theory.fpr(theory.poisson_binomial(p1), theory.poisson_binomial(p2))
        assert float(row["fpr95_poisson_binomial"]) == pytest.approx(100 * each, rel=1e-4)
        assert float(row["fpr95_normal"]) == pytest.approx(100 * theory.normal_fpr(m, p1.mean(), p2.mean()), rel=1e-3)
    words = read_csv(made[1] / "theory-words.csv")
    assert len(words) == 3 * COUNT
    assert words[COUNT]["text"] == "w0"
    assert max(int(row["m"]) for row in rows) == COUNT


def test_independent_matches_are_what_the_theory_expects() -> None:
    """Pictures made of independent matches: measured FPR is the Poisson-binomial's, not the binomial's where p vary."""
    draw = np.random.default_rng(3)
    p1, p2 = draw.beta(0.2, 2.0, 60), draw.beta(0.2, 1.5, 60)
    inside, outside = ((draw.uniform(size=(40_000, 60)) < p).sum(axis=1) for p in (p1, p2))
    each = theory.fpr(theory.poisson_binomial(p1), theory.poisson_binomial(p2))
    assert fpr95(-inside, -outside) == pytest.approx(each, abs=0.01)
    assert abs(theory.fpr(theory.binomial(60, p1.mean()), theory.binomial(60, p2.mean())) - each) > 0.03


def test_the_page_has_the_section_and_a_threshold_nobody_reaches_is_said(
    made: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    page = (made[1] / "index.html").read_text(encoding="utf-8")
    assert page.count('id="theory"') == 1
    assert 'href="#theory"' in page
    assert "run &lt;b&gt;" in page
    found, out = make(tmp_path, made[1].parent / "run <b>", theory=True, threshold=0.99, cases=0, bootstrap=0)
    assert any("give a lower --threshold" in note for note in found["notes"])
    rows = read_csv(out / "theory.csv")
    assert {row["fpr95_measured"] for row in rows} == {"100"}
    make(tmp_path, made[1].parent / "run <b>", cases=0, bootstrap=0)
    assert not (out / "theory.csv").exists()


def test_without_embeddings_it_is_refused(tmp_path: Path) -> None:
    words = unit(np.random.default_rng(0).normal(size=(4, 24)))
    folder = write_kept(tmp_path / "run", WORLD, words, ["a", "b", "c", "d"], groups=len(own_groups(4, 1)), keep=False)
    with pytest.raises(UsageError, match="--keep-embeddings"):
        make(tmp_path, folder, theory=True)
