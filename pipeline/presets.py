"""The two ways to do NegLabel that are published: the paper's text and the authors' code.

Where they differ, a preset sets the value and an option of the same name overrides it.

==================  =============================  =====================================================
what                ``paper``                      ``official``
==================  =============================  =====================================================
corpus              all nouns and adjectives,      first lemma of each synset, lower-cased; lexicographer
                    all lemmas                     files noun.animal and noun.food left out
prompt, nouns       ``The nice {}.`` (Table 14)    ``the nice {}``
prompt, adjectives  ``The nice {}.``               ``This is a {} photo``
prompt, labels      ``The nice {}.``               ``the nice {}``
percentile          0.05 of the distance (Eq. 4)   0.95-quantile of the cosine: the same number, since
                                                   the distance is the negated cosine
kept                the farthest 10,000 of all     the farthest 15 % of nouns and of adjectives apart
                                                   (rounded down), nouns first
ID names            dropped from the candidates    kept
==================  =============================  =====================================================

Sources: the paper, Section 3.1, Appendix A and Table 14; the authors' public code (github.com/tmlr-group/NegLabel).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

PresetName = Literal["paper", "official"]


@dataclass(frozen=True)
class Preset:
    """What a published variant fixes in ``encode`` and ``mine``."""

    corpus: str
    prompts: Mapping[str, str]
    label_prompts: tuple[str, ...]
    percentile: float
    top: int | None
    top_share: float | None
    per_pos: bool
    keep_id_names: bool


PRESETS: Mapping[PresetName, Preset] = MappingProxyType(
    {
        "paper": Preset(
            corpus="wordnet",
            prompts={"": "The nice {}."},
            label_prompts=("The nice {}.",),
            percentile=0.05,
            top=10_000,
            top_share=None,
            per_pos=False,
            keep_id_names=False,
        ),
        "official": Preset(
            corpus="wordnet:preset=official",
            prompts={"": "the nice {}", "adjective": "This is a {} photo"},
            label_prompts=("the nice {}",),
            percentile=0.05,
            top=None,
            top_share=0.15,
            per_pos=True,
            keep_id_names=True,
        ),
    }
)
