"""AdaNeg: proxies of labels and negatives that grow from the pictures of a stream.

Source: Zhang & Zhang, "AdaNeg: Adaptive Negative Proxy Guided OOD Detection with Vision-Language Models", NeurIPS
2024; the authors' code is github.com/YBZh/OpenOOD-VLM (``ttapromptnoadagap``, ``scripts/ood/adaneg/imagenet.sh``: the
task-adaptive proxies).

Protocol. Theirs: for each OOD set all ID and OOD pictures in one shuffled stream, the memory emptied between OOD sets,
batches of 256 that are all stored before the first of them is scored. Here one picture is stored, if it passes a gate,
and then scored, so that nothing sees what comes after it (a batch of 1). It peeks at the past of the stream: at OOD
pictures, unlabelled, and in effect at their share.

In half precision, in which their code runs CLIP on a GPU, its entropies are NaN (log(p + 1e-8) with p = 0 is log 0
there), and NaN never replaces what is stored. Here the rule works as the paper has it; with float16 arithmetic the
first 9 pictures of a class would stay.
"""

from __future__ import annotations

import numpy as np

from neglabel.pipeline.scores.bank import Vectors
from neglabel.pipeline.scores.block import Block
from neglabel.pipeline.scores.neglabel import id_share
from neglabel.pipeline.scores.stable import Floats, log_sigmoid, logsumexp
from neglabel.pipeline.scores.stream import Stream, Texts, no_evidence

#: Pictures a class has room for, beside its text.
SLOTS = 9
#: NegLabel scores above and below which a picture is stored: γ = 0.5 with a gap of 0.5.
HIGH, LOW = 0.75, 0.25
#: λ, the weight of the NegLabel score.
WEIGHT = 0.1
#: Pictures a product.
_CHUNK = 256


def start_adaneg(texts: Texts, temperature: float = 0.01) -> Stream:
    r"""An AdaNeg stream with an empty memory; high = ID.

    With S_nl a picture's NegLabel score (over groups), and labels and negatives alike called classes:

        S_nl > 0.75   it is stored with the label nearest to it
        S_nl < 0.25   it is stored with the negative nearest to it (of all, also those in no group)
        p_c           the proxy of class c: the text's vector plus the pictures stored, at length 1
        S_ada         the NegLabel score with proxies in place of texts
        S             S_ada + 0.1·S_nl

    A class stores 9 pictures. After that a picture takes the place of the one with the largest entropy, if its own is
    less: entropy of the softmax at T over the labels, or over the negatives, whichever it is stored with.

    The logit is log S − log(1.1 − S), from the log-shares of both parts: it doesn't saturate.

    Args:
        temperature: T > 0 of both scores and of the entropies.

    Returns:
        the stream: S in [0, 1.1] and its logit; NaN where there are no negatives. Its memory is K + M vectors in
        float64 twice, and those stored.

    Raises:
        ValueError: K = 0, or a temperature that is not above 0.
    """
    together = texts.together(temperature)
    return no_evidence if texts.silent() else _Memory(texts, together, temperature)


class _Memory:
    def __init__(self, texts: Texts, together: Floats, temperature: float) -> None:
        self._texts, self._groups, self._t = together, texts.groups, temperature
        self._labels = len(texts.labels)
        self._proxies = together / np.linalg.norm(together, axis=1, keepdims=True)
        #: By class: the pictures stored and their entropies.
        self._stored: dict[int, tuple[list[Floats], list[float]]] = {}

    def __call__(self, embeddings: Vectors) -> tuple[Floats, Floats]:
        found = [self._chunk(embeddings[start : start + _CHUNK]) for start in range(0, len(embeddings), _CHUNK)]
        empty = (np.empty(0), np.empty(0))
        return tuple(np.concatenate(parts) for parts in zip(empty, *found, strict=True))  # type: ignore[return-value]

    def _chunk(self, embeddings: Vectors) -> tuple[Floats, Floats]:
        pictures = np.asarray(embeddings, np.float64)
        static, adapted = pictures @ self._texts.T, pictures @ self._proxies.T
        share, logit = self._score(static)
        for row in np.flatnonzero((share > HIGH) | (share < LOW)):
            few = slice(0, self._labels) if share[row] > HIGH else slice(self._labels, None)
            cosines = static[row, few]
            kind = int(few.start + cosines.argmax())
            if self._store(kind, pictures[row], entropy(cosines / self._t)):
                # From here on pictures see the new proxy; those before have been scored.
                adapted[row:, kind] = pictures[row:] @ self._proxies[kind]
        return combined(self._score(adapted)[1], logit)

    def _score(self, cosines: Floats) -> tuple[Floats, Floats]:
        block = Block(cosines[:, : self._labels], cosines[:, self._labels :], self._groups)
        return id_share(block.positive_lse(self._t), block.group_lse(self._t))

    def _store(self, kind: int, picture: Floats, doubt: float) -> bool:
        """Whether it was stored."""
        pictures, doubts = self._stored.setdefault(kind, ([], []))
        if len(pictures) < SLOTS:
            pictures.append(picture.copy())
            doubts.append(doubt)
        else:
            most = int(np.argmax(doubts))
            if doubt >= doubts[most]:
                return False
            pictures[most], doubts[most] = picture.copy(), doubt
        total = self._texts[kind] + np.sum(pictures, axis=0)
        self._proxies[kind] = total / np.linalg.norm(total)
        return True


def entropy(logits: Floats) -> float:
    """−Σ p log p of the softmax of (m,) logits."""
    log_share = logits - logsumexp(logits)
    return float(-(np.exp(log_share) * log_share).sum())


def combined(adapted: Floats, static: Floats) -> tuple[Floats, Floats]:
    """S and its logit from the log-odds of S_ada and of S_nl, (n,) each."""
    weight = np.log(WEIGHT)
    log_s = np.logaddexp(log_sigmoid(adapted), weight + log_sigmoid(static))
    log_rest = np.logaddexp(log_sigmoid(-adapted), weight + log_sigmoid(-static))
    return np.exp(log_s), log_s - log_rest
