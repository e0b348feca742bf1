"""Scores: functions of plain cosine arrays, and the one registry of them.

Adding a score is one module with a function of ``(positive, negative, temperature, groups)`` or fewer of these, and
one line in :data:`SCORES`. Every score is high for ID and returns ``(score, logit)``: the logit orders pictures as the
score does without ever tying by rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel import UsageError
from neglabel.pipeline.scores.neglabel import Groups, group_negatives, neglabel
from neglabel.pipeline.scores.softmax import mcm, msp
from neglabel.pipeline.scores.stable import Floats

__all__ = ["SCORES", "ScoreSpec", "compute", "group_negatives", "mcm", "msp", "neglabel", "spec_of"]

Cosines = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ScoreSpec:
    """A score: ``function(positive, negative, temperature, groups)`` → ``(score, logit)``.

    ``needs_negatives``: without negative labels it says nothing (NaN). ``grouped``: it uses groups of them.
    """

    name: str
    temperature: float
    needs_negatives: bool
    grouped: bool
    function: Callable[[Cosines, Cosines, float, Groups | None], tuple[Floats, Floats]]


_ALL: Sequence[ScoreSpec] = (
    ScoreSpec("neglabel", 0.01, True, True, neglabel),
    ScoreSpec("neglabel-ungrouped", 0.01, True, False, neglabel),
    ScoreSpec("mcm", 1.0, False, False, lambda positive, _negative, temperature, _groups: mcm(positive, temperature)),
    ScoreSpec("msp", 0.01, False, False, lambda positive, _negative, temperature, _groups: msp(positive, temperature)),
)
#: The scores by name.
SCORES: Mapping[str, ScoreSpec] = MappingProxyType({spec.name: spec for spec in _ALL})


def spec_of(name: str) -> ScoreSpec:
    """The score called ``name``. Raises UsageError naming the valid ones."""
    try:
        return SCORES[name]
    except KeyError:
        raise UsageError(f"unknown score {name!r}; valid: {', '.join(SCORES)}") from None


def compute(
    name: str,
    positive: Cosines,
    negative: Cosines,
    temperature: float | None = None,
    groups: Groups | None = None,
) -> tuple[Floats, Floats]:
    """Score pictures from their cosines.

    Args:
        name: a key of :data:`SCORES`.
        positive: (n, K) cosines to the ID labels, K ≥ 1.
        negative: (n, M) cosines to the negative labels; M may be 0.
        temperature: T > 0; None takes the score's own.
        groups: (n_g, m) indices of negatives, from :func:`group_negatives`; None: all together.

    Returns:
        score and logit, each (n,) float64; high = ID.

    Raises:
        UsageError: an unknown score.
        ValueError: K = 0, or a temperature that is not above 0.
    """
    spec = spec_of(name)
    return spec.function(positive, negative, spec.temperature if temperature is None else temperature, groups)
