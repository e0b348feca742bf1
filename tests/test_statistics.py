"""DeLong, bootstrap and Holm against independent references."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neglabel import NeglabelError, UsageError
from neglabel.pipeline import metrics
from neglabel.pipeline.bootstrap import difference, draws, interval
from neglabel.pipeline.delong import delong
from neglabel.pipeline.holm import holm
from neglabel.pipeline.metrics import Convention
from neglabel.pipeline.weighted_metrics import Pair

CONVENTIONS: tuple[Convention, ...] = ("id-positive", "ood-positive", "nearest-recall")


def by_components(systems: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """DeLong's paper as it stands: every comparison of an ID with an OOD score, O(mn), in float64."""
    psi = np.stack([np.sign(a[:, None] - b[None]) / 2 + 0.5 for a, b in systems])
    theta, (m, n) = psi.mean(axis=(1, 2)), psi.shape[1:]
    inner, outer = psi.mean(axis=2) - theta[:, None], psi.mean(axis=1) - theta[:, None]
    return theta, inner @ inner.T / (m - 1) / m + outer @ outer.T / (n - 1) / n


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("m", "n"), [(2, 2), (7, 40), (150, 90)])
def test_delong_against_its_structural_components(m: int, n: int, ties: bool) -> None:
    rng = np.random.default_rng(m)
    shared = rng.normal(0.8, 1, m), rng.normal(0, 1, n)
    systems = [tuple(side + rng.normal(0, s, len(side)) for side in shared) for s in (0.0, 0.5, 2.0)]
    if ties:
        systems = [tuple(np.round(side) for side in system) for system in systems]
    auroc, covariance = by_components(systems)  # type: ignore[arg-type]
    made = delong(systems)  # type: ignore[arg-type]
    np.testing.assert_allclose(made.auroc, auroc, rtol=1e-12)
    np.testing.assert_allclose(made.covariance, covariance, rtol=1e-9, atol=1e-15)
    assert made.auroc[1] == pytest.approx(metrics.auroc(*systems[1]), abs=1e-12)
    gap = made.difference(0, 2)
    error = math.sqrt(covariance[0, 0] + covariance[2, 2] - 2 * covariance[0, 2])
    assert (gap.value, gap.error) == pytest.approx((auroc[0] - auroc[2], error), rel=1e-8, abs=1e-12)
    if error:
        assert gap.low == pytest.approx(gap.value - 1.959963984540054 * error)
        assert gap.p == pytest.approx(math.erfc(abs(gap.value) / error / math.sqrt(2)), rel=1e-6)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("m", "n"), [(20, 30), (150, 90)])
def test_delong_against_a_published_package(m: int, n: int, ties: bool) -> None:
    """MLstatkit, which follows R's pROC: AUROCs, their intervals (cut to [0, 1]) and the paired p."""
    peer = pytest.importorskip("MLstatkit", reason="MLstatkit is not installed")
    rng = np.random.default_rng([m, n])
    shared = rng.normal(0.8, 1, m), rng.normal(0, 1, n)
    systems = [tuple(side + rng.normal(0, s, len(side)) for side in shared) for s in (0.2, 1.0)]
    if ties:
        systems = [tuple(np.round(2 * side) for side in system) for system in systems]
    made = delong(systems)  # type: ignore[arg-type]
    _, p, first, second, *auroc, how = peer.Delong_test(
        [1] * m + [0] * n, *(np.concatenate(system) for system in systems)
    )
    assert how["method"] == "delong"
    assert made.auroc == pytest.approx(auroc, abs=1e-12)
    assert made.difference(1, 0).p == pytest.approx(p, rel=1e-9)
    ours = [end for system in (0, 1) for end in (made.interval(system).low, made.interval(system).high)]
    assert np.clip(ours, 0, 1) == pytest.approx([*first, *second], abs=1e-9)


def test_delong_reads_order_alone() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(1, 1, 40), rng.normal(0, 1, 30)
    made = delong([(a, b), (np.exp(a), np.exp(b)), (np.where(a > 1, np.inf, a), np.where(b > 1, np.inf, b))])
    assert made.difference(0, 1) == made.difference(1, 0)
    assert (made.difference(0, 1).value, made.difference(0, 1).error, made.difference(0, 1).p) == (0.0, 0.0, 1.0)
    assert np.isfinite(made.covariance).all()
    sure = delong([([2.0, 3.0], [0.0, 1.0]), ([0.0, 0.0], [0.0, 0.0])])
    assert (sure.interval(0).low, sure.interval(0).high, sure.interval(0).p) == (1.0, 1.0, 0.0)
    assert sure.interval(1).p == 1.0


def test_delong_refusals() -> None:
    with pytest.raises(NeglabelError, match="1 ID score: a variance needs at least two"):
        delong([([1.0], [0.0, 1.0])])
    with pytest.raises(NeglabelError, match="OOD scores hold NaN"):
        delong([([1.0, 2.0], [0.0, math.nan])])
    with pytest.raises(NeglabelError, match="different numbers"):
        delong([([1.0, 2.0], [0.0, 1.0]), ([1.0, 2.0], [0.0, 1.0, 2.0])])


counts = st.lists(st.integers(0, 4), min_size=1, max_size=25).filter(any)


@settings(max_examples=60, deadline=None)
@given(counts, counts, st.integers(0, 10_000))
def test_weights_are_repetitions(a: list[int], b: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Few values for ties, or many, so that recalls lie close around 0.95.
    values = np.array([-np.inf, *np.linspace(0, 1, 6 if seed % 2 else 60), np.inf])
    scores = [rng.choice(values, len(side)) for side in (a, b)]
    inside, outside = (np.repeat(side, weights) for side, weights in zip(scores, (a, b), strict=True))
    for convention in CONVENTIONS:
        auroc, fpr = Pair(scores[0], scores[1], convention).measure(np.array(a), np.array(b))
        assert auroc == pytest.approx(100 * metrics.auroc(inside, outside), abs=1e-9)
        assert fpr == pytest.approx(100 * metrics.fpr95(inside, outside, convention), abs=1e-9)


def world(seed: int = 0, sizes: tuple[int, int, int] = (300, 200, 150)) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    base = {
        name: rng.normal(c, 1, n) for name, c, n in zip(("id", "near", "far"), (1.0, 0.0, -1.0), sizes, strict=True)
    }
    return [base, {name: v + rng.normal(0, 0.4, len(v)) for name, v in base.items()}]


def test_draws_are_of_pictures_and_shared() -> None:
    """Against drawing by hand: the same pictures for both systems and, on the ID side, for both OOD sets."""
    systems, pairs = world(), [("id", "near"), ("id", "far")]
    made = draws(systems, pairs, "id-positive", 4, seed=3)
    assert made.shape == (5, 2, 2, 2)
    for draw in range(5):
        taken = {}
        for place, (name, scores) in enumerate(systems[0].items()):
            n = len(scores)
            taken[name] = np.random.default_rng([3, draw, place]).integers(0, n, n) if draw else np.arange(n)
        for i, system in enumerate(systems):
            for j, (a, b) in enumerate(pairs):
                inside, outside = system[a][taken[a]], system[b][taken[b]]
                want = 100 * metrics.auroc(inside, outside), 100 * metrics.fpr95(inside, outside)
                assert tuple(made[draw, i, j]) == pytest.approx(want, abs=1e-9)
    alone = draws(systems[:1], pairs[:1], "id-positive", 4, seed=3)
    np.testing.assert_array_equal(alone[:, 0, 0], made[:, 0, 0])
    assert (draws(systems, pairs, "id-positive", 4, seed=4)[1:] != made[1:]).any()


def test_draws_in_several_batches_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = draws(world(), [("id", "near")], "nearest-recall", 11, seed=1)
    monkeypatch.setattr("neglabel.pipeline.bootstrap._WEIGHTS", 900)
    np.testing.assert_array_equal(draws(world(), [("id", "near")], "nearest-recall", 11, seed=1), whole)


def test_the_bootstrap_agrees_with_delong() -> None:
    systems = world(5, (900, 700, 10))
    made = draws(systems, [("id", "near")], "id-positive", 600, seed=0)[:, :, 0, 0]
    exact = delong([(s["id"], s["near"]) for s in systems])
    gap = difference(made[:, 0], made[:, 1])
    reach = 100 * exact.difference(0, 1).error
    # 600 draws know a standard deviation to 3 %.
    assert np.std(made[1:, 0] - made[1:, 1]) == pytest.approx(reach, rel=0.15)
    assert np.std(made[1:, 0]) == pytest.approx(100 * exact.interval(0).error, rel=0.15)
    assert gap.value == pytest.approx(100 * exact.difference(0, 1).value)
    assert (gap.high - gap.low) / 2 == pytest.approx(1.96 * reach, rel=0.2)
    value, low, high = interval(made[:, 0])
    assert low < value < high


def test_clusters_are_drawn_whole() -> None:
    """Pictures of a class that are copies of each other know no more than one of them."""
    rng = np.random.default_rng(2)
    one, ood = rng.normal(1, 1, 40), rng.normal(0, 1, 400)
    copies, classes = np.repeat(one, 25), np.repeat([f"class {i}" for i in range(40)], 25)
    system = {"id": copies, "ood": ood}
    alone, whole = (
        draws([system], [("id", "ood")], "id-positive", 300, 0, clusters)[1:, 0, 0, 0].std()
        for clusters in (None, {"id": classes})
    )
    right = draws([{"id": one, "ood": ood}], [("id", "ood")], "id-positive", 300, 0)[1:, 0, 0, 0].std()
    assert whole == pytest.approx(right, rel=0.15)
    assert alone < 0.5 * right
    with pytest.raises(NeglabelError, match="3 clusters for the 1,000 pictures of id"):
        draws([system], [("id", "ood")], "id-positive", 1, 0, {"id": ["a", "b", "c"]})


def test_p_values_of_differences() -> None:
    same = np.zeros(100)
    assert difference(same, same).p == 1.0
    assert difference(same + 1, same) == difference(same + 1, same)
    assert difference(same + 1, same).p == pytest.approx(2 / 100)
    assert difference(same - 1, same).shown
    assert difference(same - 1, same).p == pytest.approx(2 / 100)


def test_bootstrap_refusals() -> None:
    with pytest.raises(NeglabelError, match="NaN"):
        Pair(np.array([1.0, math.nan]), np.array([0.0]))
    with pytest.raises(UsageError, match="convention is 'both'"):
        Pair(np.array([1.0]), np.array([0.0]), "both")  # type: ignore[arg-type]
    with pytest.raises(NeglabelError, match="different numbers of pictures of id"):
        draws(
            [{"id": np.ones(2), "o": np.ones(1)}, {"id": np.ones(3), "o": np.ones(1)}],
            [("id", "o")],
            "id-positive",
            1,
            0,
        )


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_rejects_step_by_step(p_values: list[float]) -> None:
    """At any level: as the procedure says, smallest first, until one is not small enough."""
    adjusted = holm(p_values)
    for level in (0.01, 0.05, 0.3):
        rejected, left = set(), sorted(range(len(p_values)), key=lambda i: p_values[i])
        while left and p_values[left[0]] * len(left) <= level:
            rejected.add(left.pop(0))
        assert {i for i, p in enumerate(adjusted) if p <= level} == rejected


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    with pytest.raises(NeglabelError, match="p-values must lie"):
        holm([0.1, math.nan])
