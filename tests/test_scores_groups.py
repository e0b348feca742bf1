"""Groups of negatives, and the products and largest entries that scores are made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neglabel import UsageError
from neglabel.indexes.flat import NegativeIndex, top
from neglabel.pipeline.scores import group_negatives


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
    whole = index.similarities(images)
    np.testing.assert_allclose(whole, images @ words.T, atol=1e-5)
    by_one = np.concatenate([index.similarities(images[i : i + 1]) for i in range(n)])
    np.testing.assert_allclose(whole, by_one, atol=1e-5)
    assert index.rows_per_block(10, budget=1000) * (m + 10) <= max(1000, m + 10)


def test_products_cross_the_index_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neglabel.indexes.flat.BLOCK_VECTORS", 7)
    rng = np.random.default_rng(0)
    words, images = rng.normal(size=(30, 5)).astype(np.float32), rng.normal(size=(4, 5)).astype(np.float32)
    np.testing.assert_allclose(NegativeIndex(words).similarities(images), images @ words.T, atol=1e-6)


def test_top_is_sorted_and_ties_go_by_column() -> None:
    similarities = np.array([[0.1, 0.9, 0.9, 0.5, 0.2], [0.0, 0.0, 0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(top(similarities, 3)[0], [1, 2, 3])
    np.testing.assert_array_equal(top(similarities, 9), [[1, 2, 3, 4, 0], [0, 1, 2, 3, 4]])
    assert top(np.empty((2, 0)), 5).shape == (2, 0)
