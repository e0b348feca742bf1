"""The soft-margin score against its formula in float64, and what holds whatever the cosines are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp

from neglabel import UsageError
from neglabel.pipeline import store
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.score import score
from neglabel.pipeline.score_settings import ScoreSettings
from neglabel.pipeline.scores import Block, compute_all
from neglabel.pipeline.scores.reach import reach_along, text_axes
from neglabel.pipeline.scores.softmargin import softmargin, standard_nearness

N, K, M, D = 40, 7, 30, 16


def world(seed: int, dtype: type = np.float64, spread: float = 0.6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors of pictures, labels and negatives, in a narrow cone as CLIP's are."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=D)
    made = [centre + spread * rng.normal(size=(rows, D)) * np.linalg.norm(centre) / 4 for rows in (N, K, M)]
    images, labels, words = ((v / np.linalg.norm(v, axis=1, keepdims=True)).astype(dtype) for v in made)
    return images, labels, words


def reference(images: np.ndarray, labels: np.ndarray, words: np.ndarray, t: float) -> np.ndarray:
    """The docstring's formula, picture by picture."""
    x, e, w = (v.astype(np.float64) for v in (images, labels, words))
    near = np.array([max(float(one @ other) for other in e) for one in w])
    z = (near - near.mean()) / near.std()
    texts = np.concatenate([e, w])
    centre = texts.mean(axis=0) / np.linalg.norm(texts.mean(axis=0))
    first = np.linalg.svd(texts - texts.mean(axis=0), full_matrices=False)[2][:10]
    found = []
    for h in x:
        a, b = e @ h, w @ h
        ours, theirs = t * logsumexp(a / t), t * logsumexp(b / t - z)
        penalty = 3.0 * 2.0 * t * np.log1p(np.exp((theirs - ours - 2.0 * t) / (2.0 * t)))
        reach = np.linalg.norm(first @ (h - (h @ centre) * centre))
        found.append(a.max() - 0.5 * np.concatenate([a, b]).mean() + 0.1 * reach - penalty)
    return np.array(found)


def block_of(images: np.ndarray, labels: np.ndarray, words: np.ndarray, single: bool = False) -> Block:
    return Block(images @ labels.T, images @ words.T, None, images, labels, words, single=single)


@pytest.mark.parametrize(("dtype", "single", "atol"), [(np.float64, False, 1e-12), (np.float32, True, 5e-6)])
@pytest.mark.parametrize("t", [0.01, 0.0235])
def test_the_formula(dtype: type, single: bool, atol: float, t: float) -> None:
    for seed in range(3):  # other texts each time: what is kept of the last ones doesn't count
        parts = world(seed, dtype)
        found, logit = compute_all({"softmargin": t}, block_of(*parts, single=single))["softmargin"]
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, logit)
        np.testing.assert_allclose(found, reference(*parts, t), rtol=0, atol=atol)


@given(st.integers(0, 10_000), st.floats(0.1, 1.5), st.sampled_from([0.01, 0.05]), st.floats(0.0, 0.3))
def test_negatives_only_take_away(seed: int, spread: float, t: float, weaker: float) -> None:
    """Orders don't matter, no negative helps a picture, and one that matches less takes no more."""
    images, labels, words = world(seed, spread=spread)
    positive, negative, z = images @ labels.T, images @ words.T, standard_nearness(labels, words)
    reach = reach_along(images, text_axes(labels, words))
    found = softmargin(positive, negative, z, reach, t)[0]
    mean = np.concatenate([positive, negative], axis=1).mean(axis=1)
    assert (found <= positive.max(axis=1) - 0.5 * mean + 0.1 * reach + 1e-12).all()
    rng = np.random.default_rng(seed)
    some, other = rng.permutation(K), rng.permutation(M)
    np.testing.assert_allclose(z[other], standard_nearness(labels[some], words[other]), atol=1e-9)
    again = softmargin(positive[:, some], negative[:, other], z[other], reach, t)[0]
    np.testing.assert_allclose(again, found, rtol=0, atol=1e-9)
    lowered = negative.copy()
    lowered[:, seed % M] -= weaker
    assert (softmargin(positive, lowered, z, reach, t)[0] >= found - 1e-12).all()


def test_nearness_of_equals_is_none() -> None:
    _, labels, words = world(0, np.float32)
    assert (standard_nearness(labels, np.repeat(words[:1], 5, axis=0)) == 0).all()
    assert (standard_nearness(labels, words[:1]) == 0).all()
    z = standard_nearness(labels, words)
    np.testing.assert_allclose([z.mean(), z.std()], [0, 1], atol=1e-9)


def test_reach_is_of_what_the_texts_span() -> None:
    images, labels, words = world(3)
    reach = reach_along(images, text_axes(labels, words))
    rng = np.random.default_rng(3)
    again = text_axes(labels[rng.permutation(K)], words[rng.permutation(M)])
    np.testing.assert_allclose(reach_along(images, again), reach, rtol=0, atol=1e-9)
    assert ((reach > 0) & (reach < 1)).all()
    # Texts in a plane through their mean have one or two directions, whatever else a picture holds; equal ones none.
    assert text_axes(labels[:2], words[:1]).shape == (D, 2)
    assert text_axes(labels[:1], np.repeat(labels[:1], 3, axis=0)).shape == (D, 0)
    assert (reach_along(images, np.zeros((D, 0))) == 0).all()


def test_without_negatives_or_texts() -> None:
    images, labels, words = world(1)
    made = compute_all({"softmargin": None}, block_of(images, labels, words[:0]))
    assert np.isnan(made["softmargin"][0]).all()
    with pytest.raises(UsageError, match="no embeddings"):
        compute_all({"softmargin": None}, replace(block_of(images, labels, words), embeddings=None))
    with pytest.raises(UsageError, match="no label vectors"):
        compute_all({"softmargin": None}, Block(images @ labels.T, images @ words.T))
    with pytest.raises(ValueError, match="temperature"):
        softmargin(images @ labels.T, images @ words.T, np.zeros(M), np.zeros(N), 0.0)


def test_the_stage(tmp_path: Path) -> None:
    """Groups put the negatives in another order and leave some out; this score takes all, each with its own z."""
    parts = world(2, np.float32)
    for name, rows in zip(("images", "labels", "negatives"), parts, strict=True):
        columns = {"text": [f"{name} {i}" for i in range(len(rows))], "embedding": store.embedding_array(rows)}
        store.write_table(tmp_path / f"{name}.parquet", pa.table(columns))
    settings = ScoreSettings(
        negatives=tmp_path / "negatives.parquet",
        labels=tmp_path / "labels.parquet",
        out=tmp_path / "scores",
        groups=4,
        seed=5,
        score=("softmargin", "neglabel"),
        id={"images": str(tmp_path / "images.parquet")},
    )
    score(settings, Reporter(quiet=True))
    found = pq.read_table(tmp_path / "scores" / "scores-images.parquet")["softmargin"].to_numpy()
    kept = [store_read(tmp_path / f"{name}.parquet") for name in ("images", "labels", "negatives")]
    np.testing.assert_allclose(found, reference(*kept, 0.01), rtol=0, atol=1e-5)


def store_read(path: Path) -> np.ndarray:
    rows = np.stack(pq.read_table(path)["embedding"].to_numpy()).astype(np.float64)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
