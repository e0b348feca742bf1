"""The one registry of scores: a line a score.

What a line says: name, needs, the function of a block and a temperature (or ``fit``, or ``start``), the score's own
temperature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from neglabel.pipeline.scores import linear, proportional
from neglabel.pipeline.scores.adaneg import start_adaneg
from neglabel.pipeline.scores.block import Block
from neglabel.pipeline.scores.clipn import agreeing_to_differ, competing_to_win
from neglabel.pipeline.scores.clipscope import start_clipscope
from neglabel.pipeline.scores.gradnorm import gradnorm
from neglabel.pipeline.scores.knn import fit_knn
from neglabel.pipeline.scores.logits import unbounded
from neglabel.pipeline.scores.mahalanobis import fit_mahalanobis, fit_mahalanobis_mcm
from neglabel.pipeline.scores.neglabel import id_share
from neglabel.pipeline.scores.similarity import by_similarity
from neglabel.pipeline.scores.softmargin import of_block as soft_margin
from neglabel.pipeline.scores.softmax import largest_share
from neglabel.pipeline.scores.spec import Need, Result, ScoreSpec
from neglabel.pipeline.scores.tanl import start_tanl
from neglabel.pipeline.scores.vim import fit_vim
from neglabel.pipeline.scores.zoc import zoc

#: What the score stage supplies (the bank where ``--bank`` is given). A score that needs more is refused by
#: :func:`spec_of`.
SUPPLIED: frozenset[Need] = frozenset({"labels", "negatives", "groups", "embeddings", "bank", "stream", "gradients"})
#: γ of the binarised forms.
_GAMMA = linear.THRESHOLD


def _ungrouped(b: Block, t: float) -> Result:
    return id_share(b.positive_lse(t), b.negative_lse(t)[:, None])


def _needs(*needs: Need) -> frozenset[Need]:
    return frozenset(needs)


_BOTH = _needs("labels", "negatives")
_LABELS = _needs("labels")
_BANK = _needs("embeddings", "bank")
_ALL: Sequence[ScoreSpec] = (
    ScoreSpec("neglabel", _BOTH | {"groups"}, lambda b, t: b.group_share(t, id_share), 0.01),
    ScoreSpec("neglabel-ungrouped", _BOTH, _ungrouped, 0.01),
    ScoreSpec("mcm", _LABELS, lambda b, t: largest_share(*b.top_and_rest(t))),
    ScoreSpec("msp", _LABELS, lambda b, t: largest_share(*b.top_and_rest(t)), 0.01),
    ScoreSpec("tempered-msp", _LABELS, lambda b, t: largest_share(*b.top_and_rest(t)), 10.0),
    ScoreSpec("odin", _LABELS | {"gradients"}, lambda b, t: largest_share(*b.top_and_rest(t)), 10.0),
    ScoreSpec("maxlogit", _LABELS, lambda b, _: unbounded(b.top()), tempered=False),
    ScoreSpec("energy", _LABELS, lambda b, t: unbounded(t * b.positive_lse(t)), 0.01),
    ScoreSpec("softmargin", _BOTH | {"embeddings"}, soft_margin, 0.01),
    ScoreSpec("linear-sum", _BOTH, lambda b, _: linear.linear_sum(*b.sums()), tempered=False),
    ScoreSpec("linear-binarised", _BOTH, lambda b, _: linear.linear_binarised(*b.counts(_GAMMA)), tempered=False),
    ScoreSpec("toy", _needs("negatives"), lambda b, _: linear.toy(b.counts(_GAMMA)[1]), tempered=False),
    ScoreSpec("max-exp", _BOTH, lambda b, t: proportional.max_exp(*b.top_and_rest(t), b.negative_lse(t)), 0.01),
    ScoreSpec("sum-cos", _BOTH, lambda b, _: proportional.sum_cos(*b.sums()), tempered=False),
    ScoreSpec("max-cos", _BOTH, lambda b, _: proportional.max_cos(b.top(), *b.sums()), tempered=False),
    ScoreSpec("binarised", _BOTH, lambda b, _: proportional.binarised(*b.counts(_GAMMA)), tempered=False),
    ScoreSpec("neglabel-l1", _BOTH | {"groups", "embeddings"}, lambda b, t: by_similarity(b, "l1", t), 0.01),
    ScoreSpec("neglabel-kl", _BOTH | {"groups", "embeddings"}, lambda b, t: by_similarity(b, "kl", t), 0.01),
    ScoreSpec(
        "gradnorm",
        _LABELS | {"embeddings"},
        lambda b, t: gradnorm(np.divide(b.label_cosines(), t, dtype=np.float64), b.given(b.embeddings, "embeddings")),
        0.01,
    ),
    ScoreSpec("knn", _BANK, fit=fit_knn, tempered=False),
    ScoreSpec("vim", _BANK, fit=fit_vim, tempered=False),
    ScoreSpec("mahalanobis", _BANK, fit=fit_mahalanobis, tempered=False),
    ScoreSpec("mahalanobis-mcm", _BANK, fit=fit_mahalanobis_mcm, tempered=False),
    ScoreSpec("adaneg", _BOTH | {"groups", "embeddings", "stream"}, start=start_adaneg, temperature=0.01),
    ScoreSpec("clipscope", _BOTH | {"embeddings", "stream"}, start=start_clipscope, temperature=0.01),
    ScoreSpec("tanl", _BOTH | {"embeddings", "stream"}, start=start_tanl, temperature=0.01),
    ScoreSpec(
        "clipn-ctw",
        _LABELS | {"no-texts"},
        lambda b, t: competing_to_win(b.positive, b.given(b.no_positive, "no-texts"), t),
        0.01,
    ),
    ScoreSpec(
        "clipn-atd",
        _LABELS | {"no-texts"},
        lambda b, t: agreeing_to_differ(b.positive, b.given(b.no_positive, "no-texts"), t),
        0.01,
    ),
    ScoreSpec("zoc", _LABELS | {"generated"}, lambda b, t: zoc(b.positive, b.given(b.generated, "generated"), t), 0.01),
)


class Scores(Mapping[str, ScoreSpec]):
    """Scores by name; ``NAME@T`` is the tempered score NAME at the temperature T, for several of them in one pass."""

    def __init__(self, specs: Sequence[ScoreSpec]) -> None:
        self._specs = {spec.name: spec for spec in specs}

    def __getitem__(self, name: str) -> ScoreSpec:
        base, at, written = name.partition("@")
        spec = self._specs[base]
        if not at:
            return spec
        try:
            temperature = float(written)
        except ValueError:
            raise KeyError(name) from None
        if not (spec.tempered and 0 < temperature < np.inf):
            raise KeyError(name)
        return replace(spec, name=name, temperature=temperature, tempered=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)


#: Every score by name.
REGISTRY = Scores(_ALL)
#: Those that the score stage can compute, by name.
SCORES = Scores([spec for spec in _ALL if spec.needs <= SUPPLIED])
#: Those that cosines alone are enough for, by name: :func:`neglabel.pipeline.scores.compute` takes them.
FROM_COSINES = Scores([spec for spec in SCORES.values() if spec.needs <= {"labels", "negatives", "groups"}])
