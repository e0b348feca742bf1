"""Similarities between pictures and texts other than the cosine (Table 17).

Source: Jiang et al., "Negative Label Guided OOD Detection with Pretrained Vision-Language Models", ICLR 2024, Section
A.5.6. The paper names the L1 distance and the KL divergence and no more (neither sign, scale nor how an embedding
becomes a distribution), and the authors' code (github.com/tmlr-group/NegLabel) has neither; what is ours to decide is
decided here, and said.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from neglabel import UsageError
from neglabel.pipeline.scores.block import Block
from neglabel.pipeline.scores.neglabel import neglabel
from neglabel.pipeline.scores.stable import Floats, logsumexp

Similarity = Literal["cosine", "l1", "kl"]
Vectors = NDArray[np.floating[Any]]
#: Similarities held at once: 32 MB in float64.
_SLAB = 1 << 22


def similarities(images: Vectors, texts: Vectors, kind: Similarity = "cosine") -> Floats:
    """How alike pictures h and texts e are, in place of cosines: (n, D), (M, D) unit vectors → (n, M) float64.

    ``cosine``: h·e.
    ``l1``: −(1/D)·Σ_d |h_d − e_d|, the mean over dimensions, as torch's L1 loss has it. At T = 0.01 the softmax is then
    nearly linear, as the paper's figures (those of Table 12's row 7, within two points) suggest it was for them.
    ``kl``: −KL(softmax(h) ‖ softmax(e)) = Σ_d p_d·(log q_d − log p_d), no temperature inside.

    Raises:
        UsageError: an unknown kind.
    """
    if kind not in get_args(Similarity):
        raise UsageError(f"similarity is {kind!r}; use {', '.join(get_args(Similarity))}")
    h, e = np.asarray(images, np.float64), np.asarray(texts, np.float64)
    if kind == "cosine":
        return np.asarray(h @ e.T)
    if kind == "kl":
        log_p, log_q = h - logsumexp(h)[:, None], e - logsumexp(e)[:, None]
        p = np.exp(log_p)
        return np.asarray(p @ log_q.T - (p * log_p).sum(axis=1)[:, None])
    from sklearn.metrics.pairwise import manhattan_distances

    if not len(e):
        return np.empty((len(h), 0))
    return np.asarray(-manhattan_distances(h, e) / h.shape[1])


def by_similarity(block: Block, kind: Similarity, temperature: float = 0.01) -> tuple[Floats, Floats]:
    """The NegLabel score of a block with another similarity in place of the cosine, groups as the block has them."""
    images = block.given(block.embeddings, "embeddings")
    labels = block.given(block.label_vectors, "label vectors")
    negatives = block.given(block.negative_vectors, "vectors of the negatives")
    step = max(1, _SLAB // (len(labels) + len(negatives)))
    found = [
        neglabel(similarities(some, labels, kind), similarities(some, negatives, kind), temperature, block.groups)
        for some in (images[start : start + step] for start in range(0, len(images), step))
    ]
    if not found:
        return np.empty(0), np.empty(0)
    return np.concatenate([score for score, _ in found]), np.concatenate([logit for _, logit in found])
