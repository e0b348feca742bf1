"""The counting path of mining: the same distances, bins and selection as float64 NumPy and as FAISS."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neglabel.corpora.text import normalise
from neglabel.indexes.bins import bins
from neglabel.indexes.cosines import LabelProducts, as_float32
from neglabel.indexes.measure import measure
from neglabel.indexes.percentile import PercentileIndex, canonical_distance
from neglabel.pipeline import search_device
from neglabel.pipeline.mine import select
from neglabel.pipeline.search import EDGES, Search
from neglabel.pipeline.store import unit
from neglabel.pipeline.word_digests import among, pos_digests, repeats, with_pos, word_digests

ETAS = [0, 0.01, 0.05, 0.5, 0.95, 1]
KS = [1, 2, 19, 20, 21, 1_000, 5_000]


def rows_of(rng: np.random.Generator, n: int, dimension: int, kind: str) -> np.ndarray:
    """``few``: a handful of values, so that cosines, statistics and whole rows tie; ``near``: rows an ulp apart."""
    if kind == "few":
        rows = rng.integers(-1, 2, size=(n, dimension)).astype(np.float32)
        rows[~rows.any(axis=1)] = 1
        return rows
    rows = rng.normal(size=(n, dimension)).astype(np.float16 if kind == "half" else np.float32)
    if kind == "near":
        rows[n // 2 :] = np.nextafter(rows[: n - n // 2], np.float32(9))
    if kind == "odd":
        rows *= (10.0 ** rng.uniform(-30, 30, size=(n, 1))).astype(np.float32)
    return rows


def truth(candidates: np.ndarray, labels: np.ndarray, eta: float) -> np.ndarray:
    exact, labels = unit(candidates, np.float64), unit(labels, np.float64)
    return np.array([canonical_distance(row, labels, eta) for row in exact])


def faiss_selection(candidates: np.ndarray, labels: np.ndarray, eta: float, top: int) -> list[int]:
    """By the FAISS index: float32 distances, then float64 for all that its error bound leaves open."""
    index = PercentileIndex(unit(labels), eta, "cpu")
    rough = index.distances(unit(candidates)).astype(np.float64)
    cut = np.sort(rough)[::-1][min(top, len(rough)) - 1] - 2 * index.error_bound
    rows = np.flatnonzero(rough >= cut)
    exact = truth(candidates[rows], labels, eta)
    return rows[np.lexsort((rows, -exact))][:top].tolist()


@given(
    seed=st.integers(0, 2**32 - 1), k=st.sampled_from(KS), eta=st.one_of(st.sampled_from(ETAS), st.floats(0, 1)),
    kinds=st.tuples(*[st.sampled_from(["half", "single", "few", "near", "odd"])] * 2), top=st.integers(1, 130),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_selection_distances_and_histogram_are_the_exact_ones(
    seed: int, k: int, eta: float, kinds: tuple[str, str], top: int
) -> None:
    rng = np.random.default_rng(seed)
    c, e = rows_of(rng, 120, 8, kinds[0]), rows_of(rng, k, 8, kinds[1])
    want = truth(c, e, eta)
    ranked = np.lexsort((np.arange(120), -want))[:top].tolist()
    assert select(c, e, eta, top, "cpu").tolist() == ranked == faiss_selection(c, e, eta, top)
    found = Search(e, eta, [top])
    for start in range(0, 120, 50):
        some = c[start : start + 50]
        at = (np.arange(start, start + len(some)), np.zeros(len(some), np.uint8))
        found.offer(some, *as_float32(some), *at)
    best = found.best[0].result()
    assert best["position"].tolist() == ranked
    assert (best["distance"] == want[ranked]).all()
    cosines = unit(c[ranked], np.float64) @ unit(e, np.float64).T
    assert np.allclose(best["cosine"], cosines.max(axis=1), atol=1e-12)
    assert np.allclose(cosines[np.arange(len(ranked)), best["nearest"]], cosines.max(axis=1), atol=1e-12)
    assert (found.histogram == np.histogram(np.clip(want, -1, 1), EDGES)[0]).all()
    nearest = found.near.result()
    assert (-nearest["distance"] == np.sort(want)[:100]).all()


@pytest.mark.parametrize("k", [1, 2, 20, 1_000])
@pytest.mark.parametrize("eta", ETAS)
def test_bins_where_distances_lie_on_edges(k: int, eta: float) -> None:
    rng = np.random.default_rng(k)
    c, e = rows_of(rng, 200, 12, "half"), rows_of(rng, k, 12, "single")
    products = LabelProducts(unit(e, np.float64), eta)
    want = truth(c, e, eta)
    edges = np.unique(np.concatenate([[-1.0, 1.0], want[::3], want[::5] + 1e-9]))
    rows, length = as_float32(c)
    block, exact = products.block(rows, length), unit(c, np.float64)
    got = bins(block, lambda some: exact[some], products, edges, np.zeros(len(edges) - 1, np.int64))
    assert (np.bincount(got, minlength=len(edges) - 1) == np.histogram(want, edges)[0]).all()


def test_a_distance_does_not_depend_on_its_neighbours() -> None:
    rng = np.random.default_rng(5)
    c, e = rows_of(rng, 64, 512, "half"), rows_of(rng, 300, 512, "half")
    products = LabelProducts(unit(e, np.float64), 0.05)
    found = []
    for size in (1, 7, 64):
        parts = []
        for start in range(0, 64, size):
            some = c[start : start + size]
            cosines = products.block(*as_float32(some)).cosines(np.arange(len(some)))
            parts.append(measure(cosines, unit(some, np.float64), products).distance)
        found.append(np.concatenate(parts))
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()


def test_a_float32_cosine_is_within_the_guard() -> None:
    rng = np.random.default_rng(6)
    for dimension in (8, 512, 1_000):
        for kind in ("half", "single", "odd"):
            c, e = (rows_of(rng, 100, dimension, kind) for _ in range(2))
            e[:50] = c[:50]  # cosines of 1: the sums are largest
            products = LabelProducts(unit(e, np.float64), 0.05)
            got = products.block(*as_float32(c)).cosines(np.arange(100)).astype(np.float64)
            assert np.abs(got - unit(c, np.float64) @ products.exact.T).max() <= products.guard


def test_more_neighbours_than_faiss_answers_on_a_gpu_are_counted_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_device, "gpu_count", lambda: 1)
    monkeypatch.setattr("neglabel.indexes.counting.cuda_devices", list)  # a GPU that PyTorch doesn't find
    monkeypatch.setattr(search_device, "GPU_MAX_K", 5)
    e = rows_of(np.random.default_rng(0), 40, 8, "single")
    chosen = {eta: search_device.on_gpu(e, eta, "auto") is not None for eta in (0, 0.1, 0.5, 0.9, 1)}
    assert chosen == {0: True, 0.1: True, 0.5: False, 0.9: True, 1: True}
    assert search_device.on_gpu(e, 0, "cpu") is None


@pytest.mark.parametrize("eta", [0, 0.05, 0.5, 1])
def test_a_search_by_faiss_keeps_what_the_counting_one_does(eta: float) -> None:
    # The path of a GPU, with FAISS on the CPU in its place.
    rng = np.random.default_rng(8)
    c, e = rows_of(rng, 900, 32, "half"), rows_of(rng, 60, 32, "half")
    c[500:600] = c[:100]
    results: list[Any] = []
    for index in (None, PercentileIndex(unit(e), eta, "cpu")):
        found = Search(e, eta, [40, 70], index)
        for start in range(0, 900, 300):
            some = c[start : start + 300]
            found.offer(some, *as_float32(some), np.arange(start, start + 300), (np.arange(300) % 2).astype(np.uint8))
        rows = [{name: values.tolist() for name, values in best.result().items()} for best in found.best]
        results.append((rows, found.near.result()["position"].tolist()))
    assert results[0] == results[1]


WORDS = st.text(st.sampled_from("aAbB_ \tßéÉ\u200bﬁ\u0301中"), max_size=20)


@given(st.lists(st.tuples(WORDS, st.sampled_from(["noun", "verb", ""])), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_digests_are_equal_where_normalised_words_are(rows: list[tuple[str, str]]) -> None:
    words, pos = ([row[column] for row in rows] for column in (0, 1))
    digests = word_digests(pa.array(words, pa.string()))
    normal = [normalise(word) for word in words]
    assert repeats(digests).tolist() == [word in normal[:i] for i, word in enumerate(normal)]
    pairs = list(zip(normal, pos, strict=True))
    both = with_pos(digests, pos_digests(pos))
    assert repeats(both).tolist() == [pair in pairs[:i] for i, pair in enumerate(pairs)]
    assert among(digests, word_digests(words[:3])).tolist() == [word in normal[:3] for word in normal]
    # The same wherever a word stands.
    assert (word_digests(words[-1:]) == digests[-1:]).all()
