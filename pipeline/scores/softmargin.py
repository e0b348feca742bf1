r"""The soft-margin score: MaxLogit against the picture's own level, less what the negatives explain better by a margin,
and a little for how far out the picture lies along the directions in which the texts differ most.

With cosines a_k to the K ID labels and b_j to the M negatives, T the temperature and m the mean of all K + M cosines:

    E  = T·lse_k(a_k/T),    E⁻ = T·lse_j(b_j/T − z_j),    z_j = (n_j − mean n)/std n,    n_j = max_k cos(w_j, e_k)
    r  = ‖Vᵀ(h − (h·c)·c)‖,    c: the texts' mean direction, V: the first 10 eigenvectors of their covariance
    S  = a_max − β·m + κ·r − λ·s·T·softplus((E⁻ − E − δ·T)/(s·T)),    β = 1/2, κ = 1/10, λ = 3, δ = 2, s = 2;  high = ID

The idea, in eleven lines:

1. MCM (a_max less the mean) and NegLabel (E less E⁻) fail in turn: one knows no other words, the other believes in
   them even where they don't cover what is outside.
2. a_max − m/2 lies between MaxLogit and MCM; it needs no negatives and is what is left where they say nothing.
3. Negatives can only take away, and only where they explain a picture better than the labels do: softplus. How much
   better a label explains than they do is no evidence, so poor negatives add no noise there.
4. The margin δ: synonyms and parts of ID labels among the negatives match ID pictures a little better; that is free.
5. Beyond it the slope λ is steep, three times that of a_max, so that good negatives decide as they do for NegLabel.
6. s makes the bend as wide as two temperatures: how certain a difference of two log-sums is.
7. A negative near an ID label (n_j, from the texts alone) is the likelier synonym: it weighs exp(−z_j). This does
   softly what NegMining does when it leaves the near ones out, and does it where all negatives are kept.
8. All lengths are in units of T, the model's own 1/scale, so one setting serves models of other scales.
9. No ID or OOD picture plays a part, nothing depends on other pictures, and no groups are needed.
10. The reach r, from the embeddings themselves: a picture of a thing that words tell apart lies far out along their
    first directions; textures, scenes and heaps of things lie near the middle, whatever single word they match.
11. It is a compromise: docs/better.md has its figures, and where it fails.

Source: ours. MaxLogit (Hendrycks et al., ICML 2022), MCM (Ming et al., NeurIPS 2022) and NegLabel (Jiang et al., ICLR
2024) are its limits where κ = 0: λ = β = 0; λ = 0, β = 1 and m over the labels alone, nearly; and, in order, λ → ∞ with
z = 0.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.pipeline.scores.block import Block, Cosines
from neglabel.pipeline.scores.logits import unbounded
from neglabel.pipeline.scores.reach import reach_along, text_axes
from neglabel.pipeline.scores.stable import Floats, check, logsumexp
from neglabel.pipeline.scores.sums import group_logsumexp

#: β: share of the picture's mean cosine that is taken off.
LEVEL = 0.5
#: λ, δ and s; the last two in units of T.
SLOPE, MARGIN, WIDTH = 3.0, 2.0, 2.0
#: κ: the share of the picture's reach that is added.
REACH = 0.1
#: Cosines held at once beside those given: 32 MB in float32.
_SLAB = 1 << 23
#: Nearness and axes of the last texts seen: the same for every block of a run.
_last: list[tuple[weakref.ref[Any], weakref.ref[Any], tuple[Floats, Floats]]] = []


def softmargin(
    positive: Cosines,
    negative: Cosines,
    nearness: NDArray[np.floating[Any]],
    reach: NDArray[np.floating[Any]],
    temperature: float = 0.01,
) -> tuple[Floats, Floats]:
    """The score of the module's docstring from plain arrays.

    Args:
        positive: (n, K) cosines to the ID labels, K ≥ 1.
        negative: (n, M) cosines to the negatives, M ≥ 1.
        nearness: (M,) z of the negatives, from :func:`standard_nearness`.
        reach: (n,) r of the pictures, from :mod:`neglabel.pipeline.scores.reach`.
        temperature: T > 0.

    Returns:
        score and logit, (n,) float64; unbounded, so they are the same.

    Raises:
        ValueError: K = 0, or a temperature that is not above 0.
    """
    check(positive, temperature)
    return _of(Block(positive, negative), negative, nearness, reach, temperature)


def of_block(block: Block, temperature: float) -> tuple[Floats, Floats]:
    """:func:`softmargin` of a block; its vectors give the nearness and the reach. UsageError where it has none."""
    labels = block.given(block.label_vectors, "label vectors")
    negatives = block.given(block.negative_vectors, "vectors of the negatives")
    nearness, axes = _kept(labels, negatives)
    reach = reach_along(block.given(block.embeddings, "embeddings"), axes)
    return _of(block, block.negative_cosines(), nearness, reach, temperature)


def standard_nearness(labels: Cosines, negatives: Cosines) -> Floats:
    """z: each negative's largest cosine to an ID label, as deviations from the mean over the negatives.

    Args:
        labels: (K, D) and negatives: (M, D) unit vectors of the texts, K, M ≥ 1.

    Returns:
        (M,) float64, mean 0 and standard deviation 1; all 0 where all are equally near.
    """
    step = max(1, _SLAB // len(labels))
    near = np.concatenate(
        [(negatives[i : i + step] @ labels.T).max(axis=1) for i in range(0, len(negatives), step)]
    ).astype(np.float64)
    spread = float(near.std())
    # Equal numbers may differ from their mean by rounding; a deviation of that size says nothing.
    return (near - near.mean()) / spread if spread > 1e-6 else np.zeros(len(near))


def _of(
    block: Block, negative: Cosines, nearness: NDArray[np.floating[Any]], reach: NDArray[np.floating[Any]], t: float
) -> tuple[Floats, Floats]:
    discount, step = np.asarray(t * nearness, negative.dtype), max(1, _SLAB // negative.shape[1])
    theirs = np.empty(len(negative))
    for start in range(0, len(negative), step):
        some = negative[start : start + step] - discount
        # Summed in float32 where the block says so, as its other sums are.
        theirs[start : start + step] = group_logsumexp(some[:, None], t)[:, 0] if block.single else logsumexp(some, t)
    excess = theirs - block.positive_lse(t) - MARGIN
    mean = np.add(*block.sums()) / (block.positive.shape[1] + negative.shape[1])
    penalty = SLOPE * WIDTH * t * np.logaddexp(0.0, excess / WIDTH)
    return unbounded(block.top() - LEVEL * mean + REACH * reach - penalty)


def _kept(labels: Cosines, negatives: Cosines) -> tuple[Floats, Floats]:
    # Threads may both find nothing and both compute: the same result, twice.
    for ours, theirs, found in _last[:1]:
        if ours() is labels and theirs() is negatives:
            return found
    found = standard_nearness(labels, negatives), text_axes(labels, negatives)
    _last[:] = [(weakref.ref(labels), weakref.ref(negatives), found)]
    return found
