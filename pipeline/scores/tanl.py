"""TANL: the negatives that pictures of the stream answer to, the most telling first.

Source: Zhang et al., "Activation Matters: Test-time Activated Negative Labels for OOD Detection with Vision-Language
Models", CVPR 2026 (arXiv 2603.25250); the authors' code is github.com/YBZh/OpenOOD-VLM (``actneg``,
``scripts/ood/TANL/official.sh``).

Protocol. Theirs: for each OOD set all ID and OOD pictures in one shuffled stream, queues emptied between OOD sets,
batches of 256; a batch's own activations choose the negatives that it is scored with (their α = 0, or 0.95 together
with those of the queues). Here a batch is one picture, so that nothing sees what comes after it, and α is 0.95. It
peeks at the past of the stream: at OOD pictures, unlabelled, and in effect at their share.

Their queue of OOD activations begins with pictures of noise, for which embeddings have no counterpart; here it begins
with the negatives' texts, as that of ID activations does with the labels' in both. They choose from all words of their
corpus, here from the mined negatives: ``mine --top`` says how many that are.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from neglabel.pipeline.scores.bank import Vectors
from neglabel.pipeline.scores.neglabel import id_share
from neglabel.pipeline.scores.stable import Floats, logsumexp
from neglabel.pipeline.scores.stream import Stream, Texts, no_evidence

#: Negatives that a picture is scored with (β).
CHOSEN = 1_000
#: Pictures a queue holds (L), and scores that the threshold is found from.
QUEUE, HISTORY = 300, 20_000
#: g: how far beyond the threshold γ, as a share of what is left on that side, a picture joins a queue.
GAP = 0.5
#: α: weight of the queues beside a picture's own activations.
PAST = 0.95
#: Thresholds tried: 0, 0.01, … 0.99.
_STEPS = 100
#: Pictures a product.
_CHUNK = 256


def start_tanl(texts: Texts, temperature: float = 0.01) -> Stream:
    r"""A TANL stream; high = ID.

    With cosines a to the K ID labels and b to the M negatives of a picture:

        act_j  = exp(b_j/T) / (Σ_k exp(a_k/T) + Σ_j exp(b_j/T))     its activation of negative j
        d_j    = mean act_j in the queue N − mean act_j in the queue P
        S      = (1/m) Σ_{i ≤ m} Σ_k exp(a_k/T) / (Σ_k exp(a_k/T) + Σ_{j among the i largest d} exp(b_j/T))

    over the m = 1,000 negatives of the largest d (all, where there are fewer). S goes into the history of 20,000, whose
    two classes are parted by Otsu's threshold γ. Where it is above γ + (1 − γ)/2 the picture's activations join P,
    below γ/2 they join N, 300 pictures each; and the picture's score is S once more, with 0.95·mean + 0.05·act in place
    of the mean in that queue. Pictures between have their first S.

    P begins with the labels' texts and N with the negatives' (of more than 300, 300 drawn), the history with their S.

    Returns:
        the stream: S in [0, 1] and its logit, which doesn't saturate; NaN where there are no negatives. Its memory is
        600 rows of M in float64.

    Raises:
        ValueError: K = 0, or a temperature that is not above 0.
    """
    together = texts.together(temperature)
    return no_evidence if texts.silent() else _Activated(together, len(texts.labels), temperature)


class _Activated:
    def __init__(self, together: Floats, labels: int, temperature: float) -> None:
        self._texts, self._labels, self._t = together, labels, temperature
        self._history = _Otsu()
        kinds = [_drawn(np.arange(labels)), _drawn(np.arange(labels, len(together)))]
        logits = [together[rows] @ together.T / temperature for rows in kinds]
        self._inside, self._outside = (_Queue(np.exp(some - logsumexp(some)[:, None])[:, labels:]) for some in logits)
        order = _ranked(self._outside.mean - self._inside.mean)
        for row in np.concatenate(logits):
            self._history.add(self._score(row, order)[0])

    def __call__(self, embeddings: Vectors) -> tuple[Floats, Floats]:
        score, logit = np.empty(len(embeddings)), np.empty(len(embeddings))
        for start in range(0, len(embeddings), _CHUNK):
            some = np.asarray(embeddings[start : start + _CHUNK], np.float64)
            for row, logits in enumerate(some @ self._texts.T / self._t, start):
                score[row], logit[row] = self._next(logits)
        return score, logit

    def _next(self, logits: Floats) -> tuple[float, float]:
        inside, outside = self._inside.mean, self._outside.mean
        found = self._score(logits, _ranked(outside - inside))
        self._history.add(found[0])
        threshold = self._history.threshold()
        is_in, is_out = found[0] > threshold + GAP * (1 - threshold), found[0] < threshold - GAP * threshold
        if not (is_in or is_out):
            return found
        activation = np.exp(logits - logsumexp(logits))[self._labels :]
        if is_in:
            inside = PAST * inside + (1 - PAST) * activation
        else:
            outside = PAST * outside + (1 - PAST) * activation
        found = self._score(logits, _ranked(outside - inside))
        (self._inside if is_in else self._outside).push(activation)
        return found

    def _score(self, logits: Floats, order: np.ndarray) -> tuple[float, float]:
        ours = logsumexp(logits[None, : self._labels])
        theirs = np.logaddexp.accumulate(logits[self._labels :][order])[None]
        score, logit = id_share(ours, theirs)
        return float(score[0]), float(logit[0])


def _drawn(rows: np.ndarray) -> np.ndarray:
    return rows if len(rows) <= QUEUE else np.random.default_rng(0).choice(rows, QUEUE, replace=False)


def _ranked(difference: Floats) -> np.ndarray:
    """Indices of the ``CHOSEN`` largest, the largest first."""
    order = np.arange(len(difference))
    if len(difference) > CHOSEN:
        order = np.sort(np.argpartition(-difference, CHOSEN - 1)[:CHOSEN])
    return np.asarray(order[np.argsort(-difference[order], kind="stable")])


class _Queue:
    """The last ``QUEUE`` rows and their mean."""

    def __init__(self, rows: Floats) -> None:
        self._rows = deque(rows, maxlen=QUEUE)
        self._sum = rows.sum(axis=0)

    @property
    def mean(self) -> Floats:
        return np.asarray(self._sum / len(self._rows))

    def push(self, row: Floats) -> None:
        if len(self._rows) == QUEUE:
            self._sum -= self._rows[0]
        self._sum += row
        self._rows.append(row)


class _Otsu:
    """Otsu's threshold of the last ``HISTORY`` scores in [0, 1]: the least variance within the two classes."""

    def __init__(self) -> None:
        self._last: deque[float] = deque()
        #: Of each hundredth: how many scores, their sum and the sum of their squares.
        self._bins = np.zeros((3, _STEPS))

    def add(self, score: float) -> None:
        self._last.append(score)
        self._count(score, 1.0)
        if len(self._last) > HISTORY:
            self._count(self._last.popleft(), -1.0)

    def _count(self, score: float, sign: float) -> None:
        own = self._bins[:, min(int(score * _STEPS), _STEPS - 1)]
        own += sign * np.array([1.0, score, score * score])
        if not own[0]:
            own[:] = 0.0  # what rounding left would break the ties of empty hundredths

    def threshold(self) -> float:
        """The middle one of those that are equally good; 0.5 where none parts the scores."""
        below = np.cumsum(np.column_stack([np.zeros(3), self._bins[:, :-1]]), axis=1)
        above = self._bins.sum(axis=1)[:, None] - below
        within = np.full(_STEPS, np.inf)
        parts = (below[0] > 0) & (above[0] > 0)
        within[parts] = sum(squares - total**2 / n for n, total, squares in (below[:, parts], above[:, parts]))
        best = np.flatnonzero(within == within.min())
        return float(best[len(best) // 2]) / _STEPS
