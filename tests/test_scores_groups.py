"""Groups of negatives, and the products and largest entries that scores are made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neglabel import UsageError
from neglabel.indexes.flat import NegativeIndex, top
from neglabel.pipeline.scores import Block, group_negatives
from neglabel.pipeline.scores.stable import logsumexp
from neglabel.pipeline.scores.sums import group_logsumexp


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 12),
    st.sampled_from(["random", "rank"]),
    st.sampled_from(["last", "random"]),
    st.integers(0, 99),
)
def test_groups_partition_the_negatives(count: int, n_groups: int, order: str, drop: str, seed: int) -> None:
    if n_groups > count:
        with pytest.raises(UsageError, match="--groups 1"):
            group_negatives(count, n_groups, order, drop, seed)  # type: ignore[arg-type]
        return
    groups = group_negatives(count, n_groups, order, drop, seed)  # type: ignore[arg-type]
    used = groups.size
    assert groups.shape == (n_groups, count // n_groups)
    assert len(set(groups.ravel().tolist())) == used
    assert 0 <= groups.min() <= groups.max() < count
    if drop == "last":
        assert groups.max() == used - 1
    if order == "rank":
        assert (np.diff(groups.ravel()) > 0).all()
    np.testing.assert_array_equal(groups, group_negatives(count, n_groups, order, drop, seed))  # type: ignore[arg-type]


def test_groups_are_a_seeded_numpy_permutation() -> None:
    np.testing.assert_array_equal(
        group_negatives(11, 3, seed=4), np.random.default_rng(4).permutation(9).reshape(3, 3)
    )
    np.testing.assert_array_equal(
        group_negatives(11, 3, drop="random", seed=4), np.random.default_rng(4).permutation(11)[:9].reshape(3, 3)
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(0, 300), st.integers(0, 99))
def test_index_gives_all_products_whatever_the_block(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    words, images = rng.normal(size=(m, 8)).astype(np.float32), rng.normal(size=(n, 8)).astype(np.float32)
    index = NegativeIndex(words)
    assert len(index) == m
    whole = index.similarities(images)[1]
    np.testing.assert_allclose(whole, images @ words.T, atol=1e-5)
    by_one = np.concatenate([index.similarities(images[i : i + 1])[1] for i in range(n)])
    np.testing.assert_allclose(whole, by_one, atol=1e-5)
    assert index.rows_per_block(budget=1000) * m <= max(1000, m)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 20), st.sampled_from(["last", "random"]), st.integers(0, 99))
def test_an_index_in_the_order_of_groups_gives_the_same_sums(m: int, n_groups: int, drop: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    words, images = rng.normal(size=(m, 8)).astype(np.float32), rng.normal(size=(4, 8)).astype(np.float32)
    groups = group_negatives(m, min(n_groups, m), drop=drop, seed=seed)  # type: ignore[arg-type]
    index = NegativeIndex(words, groups)
    assert sorted(index.order.tolist()) == list(range(m))
    np.testing.assert_array_equal(index.vectors, words[index.order])
    found = index.similarities(images)[1]
    ours = Block(found, found, index.groups, single=True)
    exact = Block(*[images.astype(np.float64) @ words.T.astype(np.float64)] * 2, groups)
    assert ours.in_order
    for temperature in (0.05, 1.0):
        np.testing.assert_allclose(ours.group_lse(temperature), exact.group_lse(temperature), atol=3e-4)
        np.testing.assert_allclose(ours.negative_lse(temperature), exact.negative_lse(temperature), atol=3e-4)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 400), st.sampled_from([1e-3, 0.01, 1.0, 30.0]), st.integers(0, 99))
def test_single_precision_sums_are_those_of_float64(n_groups: int, each: int, temperature: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.uniform(-1, 1, size=(7, n_groups, each)).astype(np.float32)
    values[0] = values[0, 0, 0]
    want = logsumexp(values.astype(np.float64), temperature)
    # By rounding of x = (b_max − b)/T alone, however far a group is below another.
    x = values.max(axis=(1, 2))[:, None] / temperature - values.max(axis=2) / temperature
    assert (np.abs(group_logsumexp(values, temperature) - want) <= 2.0**-22 * (x + 4) + 1e-13 * np.abs(want)).all()


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 2_000), st.integers(1, 9), st.sampled_from([3, 50, 10**6]), st.integers(0, 99))
def test_top_is_a_stable_sort(m: int, k: int, values: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = (rng.integers(0, values, size=(6, m)) / values).astype(np.float32)
    rows[0] = 0.5
    np.testing.assert_array_equal(top(rows, k), np.argsort(-rows, axis=1, kind="stable")[:, :k])
    order = rng.permutation(m)  # columns stand for other things, which decide where they tie
    found = order[top(rows[:, order], k, order)]
    np.testing.assert_array_equal(found, np.argsort(-rows, axis=1, kind="stable")[:, :k])


def test_top_is_sorted_and_ties_go_by_column() -> None:
    similarities = np.array([[0.1, 0.9, 0.9, 0.5, 0.2], [0.0, 0.0, 0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(top(similarities, 3)[0], [1, 2, 3])
    np.testing.assert_array_equal(top(similarities, 9), [[1, 2, 3, 4, 0], [0, 1, 2, 3, 4]])
    assert top(np.empty((2, 0)), 5).shape == (2, 0)
