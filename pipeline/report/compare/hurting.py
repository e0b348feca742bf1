"""Words that hurt: negatives that ID pictures answer to, chosen on half of these pictures and judged on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neglabel.pipeline.bootstrap import Difference, Floats, difference, draws
from neglabel.pipeline.metrics import Convention
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report.compare.activation import mean_shares
from neglabel.pipeline.report.compare.judge import Halves, judged
from neglabel.pipeline.report.compare.kept import Kept, same_words
from neglabel.pipeline.report.compare.removal import Indices
from neglabel.pipeline.report.measure import ROUNDING, SPREADS

#: Other numbers of words, shown as information.
OTHERS = (10, 30, 100, 300)
#: Random choices that the words are compared with.
CONTROLS = 5


@dataclass(frozen=True)
class Figures:
    """AUROC and FPR95 in percent, averaged over all pairs of an ID and an OOD set."""

    auroc: float
    fpr95: float


@dataclass(frozen=True)
class Study:
    """What taking out the ``count`` words that half A answers to does on half B, and what random words do."""

    run: str
    score: str
    seed: int
    #: Words taken out and their mean share in percent over half A, most activated first.
    words: tuple[tuple[str, float], ...]
    before: Figures
    after: Figures
    #: After minus before, with intervals over the pictures of half B and the OOD sets.
    auroc: Difference
    fpr95: Difference
    #: Mean and sample standard deviation over random choices of as many words.
    random: Figures
    spread: Figures
    others: tuple[tuple[int, Figures], ...]
    #: Pictures in half A and in half B.
    sizes: tuple[int, int]
    #: Ids of half A's pictures, by ID set.
    half_a: Mapping[str, tuple[str, ...]]

    @property
    def verdict(self) -> str:
        """``helps``, ``harms`` or ``nothing``: by AUROC, beyond the pictures' and the random choices' spread."""
        beyond = abs(self.after.auroc - self.random.auroc) > max(SPREADS * self.spread.auroc, ROUNDING)
        if not self.auroc.shown or not beyond or abs(self.auroc.value) <= ROUNDING:
            return "nothing"
        better = self.auroc.value > 0
        # Worse than before but better than at random, or the reverse, is neither.
        if better != (self.after.auroc > self.random.auroc):
            return "nothing"
        return "helps" if better else "harms"


def halves(kept: Kept, seed: int) -> dict[str, NDArray[np.bool_]]:
    """Half A of every ID set: (pictures,) True; the others are half B.

    Each class (pictures without a label are one) is split in equal halves but for an odd picture, and so is the whole.
    """
    found = {}
    for place, data in enumerate(kept.run.of_role("id")):
        generator = np.random.default_rng([seed, place])
        _, classes = np.unique(np.array(data.texts("label"), dtype=object).astype(str), return_inverse=True)
        order = np.lexsort((generator.permutation(data.rows), classes))
        in_a = np.zeros(data.rows, np.bool_)
        in_a[order[int(generator.integers(2)) :: 2]] = True
        found[data.name] = in_a
    return found


def study(
    kept: Kept, score: str, count: int, seed: int, convention: Convention, bootstrap: int, reporter: Reporter
) -> Study | None:
    """None where it can't be made: as many words asked for as there are, or a half without pictures."""
    run = kept.run
    in_a = halves(kept, seed)
    pairs = [(a.name, b.name) for a in run.of_role("id") for b in run.of_role("ood") if a.rows and b.rows]
    used = {a for a, _ in pairs}
    words, which = same_words(kept.words)
    if count >= len(words) or any(in_a[name].all() or not in_a[name].any() for name in used):
        return None
    share = _shares_of_a(kept, in_a, reporter)
    # A word that is there twice (as noun and as adjective) is one word to `mine --exclude`.
    by_word = np.bincount(which, share)
    order = np.argsort(-by_word, kind="stable")
    sizes = [count, *(n for n in OTHERS if n < len(words) and n != count)]
    controls = [np.random.default_rng([seed, 1 + i]).permutation(len(words))[:count] for i in range(CONTROLS)]
    chosen = [np.empty(0, np.int64), *(order[:n] for n in sizes), *controls]
    removed = [np.flatnonzero(np.isin(which, choice)) for choice in chosen]
    logits = judged(kept, score, removed, in_a, reporter)
    drawn = draws(logits[:2], pairs, convention, bootstrap, seed).mean(axis=2)
    plain = draws(logits, pairs, convention, 0, seed)[0].mean(axis=1)
    random = plain[1 + len(sizes) :]
    spoken = _spoken(kept.words, which, len(words))
    return Study(
        run.name, score, seed,
        tuple((spoken[i], 100 * float(by_word[i])) for i in order[:count]),
        Figures(*map(float, plain[0])), Figures(*map(float, plain[1])),
        difference(drawn[:, 1, 0], drawn[:, 0, 0]), difference(drawn[:, 1, 1], drawn[:, 0, 1]),
        Figures(*map(float, random.mean(axis=0))), Figures(*map(float, random.std(axis=0, ddof=1))),
        tuple(sorted((n, Figures(*map(float, row))) for n, row in zip(sizes, plain[1:], strict=False))),
        (sum(int(in_a[name].sum()) for name in used), sum(int((~in_a[name]).sum()) for name in used)),
        {d.name: tuple(i for i, yes in zip(d.texts("id"), in_a[d.name], strict=True) if yes)
         for d in run.of_role("id")},
    )  # fmt: skip


def _shares_of_a(kept: Kept, in_a: Halves, reporter: Reporter) -> Floats:
    """(M,) mean share of each negative in the run's own softmax, over all pictures of half A."""
    total, pictures = np.zeros(len(kept.negatives)), 0
    for data in kept.run.of_role("id"):
        if in_a[data.name].any():
            rows = int(in_a[data.name].sum())
            total += rows * mean_shares(kept, data, kept.negatives, reporter, in_a[data.name])
            pictures += rows
    return total / pictures


def _spoken(texts: Sequence[str], which: Indices, count: int) -> list[str]:
    """Each distinct word as it was first written."""
    found = [""] * count
    for text, place in zip(reversed(texts), reversed(which.tolist()), strict=True):
        found[place] = text
    return found

