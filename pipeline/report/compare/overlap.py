"""Which negatives two sources share: the same word, or one that the model can hardly tell from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neglabel.corpora.text import normalise
from neglabel.pipeline.report.compare.kept import BLOCK_VALUES, Floats32, Kept
from neglabel.pipeline.report.read import Run

#: Cosine above which two words count as neighbours.
NEAR = 0.95
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Overlap:
    """Of ``run``'s negatives, how many ``other`` has: the same word; or a neighbour (None without embeddings)."""

    run: str
    other: str
    negatives: int
    exact: int
    near: int | None


def exact(a: Sequence[str], b: Sequence[str]) -> Bools:
    """(len(a),): which of ``a`` are in ``b`` in normalised form."""
    there = set(map(normalise, b))
    return np.array([normalise(word) in there for word in a], dtype=np.bool_)


def nearest(a: Floats32, b: Floats32) -> tuple[Floats32, Floats32]:
    """Largest cosine of each row of ``a`` (n, D) to ``b`` (m, D), and of each of ``b`` to ``a``: (n,), (m,)."""
    ours, theirs = np.full(len(a), -np.inf, np.float32), np.full(len(b), -np.inf, np.float32)
    step = max(1, BLOCK_VALUES // max(1, len(b)))
    for start in range(0, len(a), step):
        cosines = a[start : start + step] @ b.T
        ours[start : start + step] = cosines.max(axis=1, initial=-np.inf)
        np.maximum(theirs, cosines.max(axis=0, initial=-np.inf), out=theirs)
    return ours, theirs


def shared(runs: Sequence[Run], kept: Sequence[Kept] | None) -> dict[tuple[str, str], tuple[Bools, Bools | None]]:
    """By (run, other): which of the run's negatives the other has exactly, and as a neighbour (None: not known)."""
    words = {run.name: [str(text or "") for text in run.negatives.column("text") or []] for run in runs}
    found: dict[tuple[str, str], tuple[Bools, Bools | None]] = {}
    for i, a in enumerate(runs):
        for j in range(i + 1, len(runs)):
            b = runs[j]
            near: list[Bools | None] = [None, None]
            if kept is not None:
                near = [cosines > NEAR for cosines in nearest(kept[i].negatives, kept[j].negatives)]
            found[a.name, b.name] = exact(words[a.name], words[b.name]), near[0]
            found[b.name, a.name] = exact(words[b.name], words[a.name]), near[1]
    return found


def overlaps(found: Mapping[tuple[str, str], tuple[Bools, Bools | None]]) -> list[Overlap]:
    return [
        Overlap(run, other, len(same), int(same.sum()), None if near is None else int(near.sum()))
        for (run, other), (same, near) in sorted(found.items())
    ]


def is_union_of(run: Run, other: Run) -> bool:
    """Whether ``run`` was mined from all that ``other`` was mined from, and more."""
    ours, theirs = (set((r.negatives.metadata.get("settings") or {}).get("candidates") or ()) for r in (run, other))
    return bool(theirs) and theirs < ours


def own(runs: Sequence[Run], found: Mapping[tuple[str, str], tuple[Bools, Bools | None]]) -> dict[str, Bools]:
    """By run, which negatives no other run has, exactly or as a neighbour.

    A union holds its parts' words by construction, so it doesn't count against its parts.
    """
    result = {}
    for run in runs:
        alone = np.ones(run.negatives.count, dtype=np.bool_)
        for other in runs:
            if other is run or is_union_of(other, run):
                continue
            same, near = found[run.name, other.name]
            alone &= ~same if near is None else ~(same | near)
        result[run.name] = alone
    return result
