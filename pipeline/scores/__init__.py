"""Scores: functions of plain arrays, and the one registry of them.

Adding a score is one module with a pure function, and one line in ``registry.py``. Every score is high for ID and
returns ``(score, logit)``: the logit orders pictures as the score does without ever tying by rounding. Scores of a
block share one pass over its cosines (:mod:`neglabel.pipeline.scores.block`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np

from neglabel import UsageError
from neglabel.pipeline.scores.bank import Bank, Fitted
from neglabel.pipeline.scores.block import Block, Cosines
from neglabel.pipeline.scores.neglabel import Groups, fused_groups, group_negatives, neglabel
from neglabel.pipeline.scores.registry import FROM_COSINES, REGISTRY, SCORES, SUPPLIED
from neglabel.pipeline.scores.softmax import mcm, msp
from neglabel.pipeline.scores.spec import WORDS, Result, ScoreSpec
from neglabel.pipeline.scores.stable import check
from neglabel.pipeline.scores.stream import Stream, Texts

__all__ = [
    "FROM_COSINES", "REGISTRY", "SCORES", "Bank", "Block", "ScoreSpec", "Texts", "compute", "compute_all", "fit_all",
    "fused_groups", "group_negatives", "mcm", "msp", "neglabel", "spec_of", "start_stream",
]  # fmt: skip


def spec_of(name: str) -> ScoreSpec:
    """The score called ``name``, of those that the score stage can compute.

    Raises:
        UsageError: naming the valid ones where there is no such score, and what is missing where it needs more than
            the stage supplies.
    """
    if name not in REGISTRY:
        if "@" in name and (base := name.partition("@")[0]) in REGISTRY:
            what = "NAME@T takes a number above 0" if REGISTRY[base].tempered else f"{base} has no temperature"
            raise UsageError(f"score {name!r}: {what}, as in neglabel@0.01")
        raise UsageError(f"unknown score {name!r}; valid: {', '.join(SCORES)}")
    if name not in SCORES:
        missing = " and ".join(words for need, words in WORDS.items() if need in REGISTRY[name].needs - SUPPLIED)
        raise UsageError(
            f"score {name!r} needs {missing}, which `neglabel score` doesn't supply; call it from Python "
            "(neglabel.pipeline.scores: fit_all, compute_all)"
        )
    return SCORES[name]


def fit_all(names: Iterable[str], bank: Bank) -> dict[str, Fitted]:
    """Fit those of the scores that need a bank, once a run. Raises as the scores' own ``fit``."""
    return {name: fit(bank) for name in names if (fit := REGISTRY[name].fit) is not None}


def start_stream(name: str, texts: Texts, temperature: float | None = None) -> Stream:
    """A new stream of the score ``name``: call it with the next pictures, (n, D) unit vectors, while there are any.

    Args:
        temperature: T; None takes the score's own.

    Raises:
        UsageError: no such score, or one that is not of a stream.
        ValueError: K = 0, or a temperature that is not above 0.
    """
    spec = spec_of(name)
    if spec.start is None:
        streaming = ", ".join(name for name, spec in SCORES.items() if spec.streaming)
        raise UsageError(f"score {name!r} is not one of a stream ({streaming}); use compute_all")
    return spec.start(texts, spec.temperature if temperature is None else temperature)


def compute_all(
    temperatures: Mapping[str, float | None], block: Block, fitted: Mapping[str, Fitted] = MappingProxyType({})
) -> dict[str, Result]:
    """Every score asked for, of one block of pictures, from one pass over its cosines.

    Args:
        temperatures: T by name (a key of :data:`REGISTRY`, or NAME@T); None takes the score's own.
        block: the pictures; what a score needs must be there.
        fitted: of :func:`fit_all`.

    Returns:
        By name, in the order asked: score and logit, each (n,) float64; high = ID. Scores that need negatives are NaN
        where there are none.

    Raises:
        UsageError: an unknown score, a temperature for one that has none, or something needed that is not there.
        ValueError: K = 0, or a temperature that is not above 0.
    """
    return {name: _one(name, temperature, block, fitted) for name, temperature in temperatures.items()}


def _one(name: str, temperature: float | None, block: Block, fitted: Mapping[str, Fitted]) -> Result:
    spec = REGISTRY[name] if name in REGISTRY else spec_of(name)
    t = spec.temperature if temperature is None else temperature
    check(block.positive, t)
    if not spec.tempered and t != spec.temperature:
        raise UsageError(f"score {name!r} has no temperature; leave --temperature {name}={t:g} out")
    if spec.start is not None:
        raise UsageError(
            f"score {name!r} needs {WORDS['stream']}; start one (neglabel.pipeline.scores.start_stream) and give it "
            "the pictures"
        )
    if spec.needs_negatives and (not block.negative.shape[1] or (spec.grouped and block.no_groups)):
        return np.full(len(block), np.nan), np.full(len(block), np.nan)
    if spec.function is not None:
        return spec.function(block, t)
    if name not in fitted:
        raise UsageError(f"score {name!r} needs {WORDS['bank']}; fit it first (neglabel.pipeline.scores.fit_all)")
    return fitted[name](block.given(block.embeddings, "embeddings"))


def compute(
    name: str,
    positive: Cosines,
    negative: Cosines,
    temperature: float | None = None,
    groups: Groups | None = None,
) -> Result:
    """One score of pictures from their cosines; for several of them :func:`compute_all` takes one pass.

    Args:
        name: a key of :data:`FROM_COSINES`.
        positive: (n, K) cosines to the ID labels, K ≥ 1.
        negative: (n, M) cosines to the negative labels; M may be 0.
        temperature: T > 0; None takes the score's own.
        groups: (n_g, m) indices of negatives, from :func:`group_negatives`; None: all together.

    Returns and raises as :func:`compute_all`.
    """
    return compute_all({spec_of(name).name: temperature}, Block(positive, negative, groups))[name]
