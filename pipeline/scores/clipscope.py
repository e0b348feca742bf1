"""CLIPScope: NegLabel's share with a posterior that learns how often each class is seen.

Source: Fu, Patel, Krishnamurthy & Khorrami, "CLIPScope: Enhancing Zero-Shot OOD Detection with Bayesian Scoring",
WACV 2025; the authors' code is github.com/fu1001hao/CLIPScope.

Protocol. Theirs: for each OOD set up to 10,000 ID and 10,000 OOD pictures in one shuffled stream, one at a time. It
peeks at the past of the stream: a class that many pictures were taken for, OOD pictures among them, is trusted less.
Their negatives are the 5,000 nouns farthest from the ID labels and the 5,000 nearest (``mine --both-ends``).
"""

from __future__ import annotations

import numpy as np

from neglabel.pipeline.scores.bank import Vectors
from neglabel.pipeline.scores.block import Block
from neglabel.pipeline.scores.stable import Floats, log_sigmoid
from neglabel.pipeline.scores.stream import Stream, Texts, no_evidence

#: Pictures a product.
_CHUNK = 256


def start_clipscope(texts: Texts, temperature: float = 0.01) -> Stream:
    r"""A CLIPScope stream; high = ID.

    With cosines a to the K ID labels and b to the M negatives, k* the nearest label, and n_k how many earlier pictures
    had k as theirs:

        p    = exp(a_k*/T) / Σ_k exp(a_k/T)
        S_nl = Σ_k exp(a_k/T) / (Σ_k exp(a_k/T) + Σ_j exp(b_j/T))     (no groups)
        c    = (1 + n_k*) / Σ_k (1 + n_k)
        S    = p · S_nl / c

    The logit is log S. It is a sum, so two pictures that differ only in how near to 1 their shares are may tie.

    Returns:
        the stream: S > 0 and its logit; NaN where there are no negatives.

    Raises:
        ValueError: K = 0, or a temperature that is not above 0.
    """
    together = texts.together(temperature)
    return no_evidence if texts.silent() else _Counts(len(texts.labels), together, temperature)


class _Counts:
    def __init__(self, labels: int, together: Floats, temperature: float) -> None:
        self._labels, self._texts, self._t = labels, together, temperature
        self._counts = np.ones(labels, np.int64)

    def __call__(self, embeddings: Vectors) -> tuple[Floats, Floats]:
        found = [self._chunk(embeddings[start : start + _CHUNK]) for start in range(0, len(embeddings), _CHUNK)]
        logit = np.concatenate([np.empty(0), *found])
        return np.exp(logit), logit

    def _chunk(self, embeddings: Vectors) -> Floats:
        cosines = np.asarray(embeddings, np.float64) @ self._texts.T
        block = Block(cosines[:, : self._labels], cosines[:, self._labels :])
        top, rest = block.top_and_rest(self._t)
        share = log_sigmoid(top - rest) + log_sigmoid(block.positive_lse(self._t) - block.negative_lse(self._t))
        seen = np.empty(len(cosines), np.int64)
        before = self._counts.sum()
        for row, kind in enumerate(block.positive.argmax(axis=1)):
            seen[row] = self._counts[kind]
            self._counts[kind] += 1
        return np.asarray(share - np.log(seen) + np.log(before + np.arange(len(cosines))))
