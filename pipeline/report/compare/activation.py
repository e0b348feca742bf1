"""Which words pictures answer to: mean softmax shares over one pool that all runs share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report.compare.kept import Floats32, Kept, same_words
from neglabel.pipeline.report.read import DataSet

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pool:
    """The distinct words of all runs, each once (the first run's embedding), and where each run's negatives are."""

    embedding: Floats32
    places: dict[str, NDArray[np.int64]]


def pool(kept: Sequence[Kept]) -> Pool:
    """(P, D) unit vectors, and by run (M,) columns of the pool."""
    names = [word for run in kept for word in run.words]
    distinct, which = same_words(names)
    first = np.full(len(distinct), len(names), dtype=np.int64)
    np.minimum.at(first, which, np.arange(len(names)))
    every = np.concatenate([run.negatives for run in kept])
    ends = np.cumsum([len(run.negatives) for run in kept])[:-1]
    places = {run.run.name: part for run, part in zip(kept, np.split(which, ends), strict=True)}
    return Pool(np.ascontiguousarray(every[first]), places)


def mean_shares(
    kept: Kept, data: DataSet, words: Floats32, reporter: Reporter, rows: NDArray[np.bool_] | None = None
) -> Floats:
    """Mean over pictures of each word's share of a softmax over the ID labels and ``words``.

    share_ij = exp(c_ij/T) / (Σ_k exp(a_ik/T) + Σ_j exp(c_ij/T)), with cosines a to the labels and c to the words.

    Args:
        kept: gives the labels, the temperature and the pictures' embeddings.
        words: (P, D) float32 unit vectors.
        rows: (pictures,) which to take; None: all.

    Returns:
        (P,) float64; NaN where no picture was taken.
    """
    both = np.concatenate([kept.labels, words])
    total, taken, count = np.zeros(len(words)), 0, len(kept.labels)
    blocks = reporter.track(
        kept.pictures(data, len(both)), f"compare {data.name}", data.rows, "pictures", size=lambda block: len(block[1])
    )
    for start, block in blocks:
        chosen = block if rows is None else block[rows[start : start + len(block)]]
        if not len(chosen):
            continue
        cosines = chosen @ both.T
        cosines -= cosines.max(axis=1, keepdims=True)
        cosines /= np.float32(kept.temperature)
        np.exp(cosines, out=cosines)
        weight = (1.0 / cosines.sum(axis=1, dtype=np.float64)).astype(np.float32)
        total += weight @ cosines[:, count:]
        taken += len(chosen)
    return total / taken if taken else np.full(len(words), np.nan)
