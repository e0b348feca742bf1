"""The two ways to do NegLabel that are published: the paper's text and the authors' code; and CSP, which extends it.

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

``csp``: the candidates of "Conjugated Semantic Pool Improves OOD Detection with Pre-trained Vision-Language Models"
(Chen, Gao & Xu, NeurIPS 2024; github.com/MengyuanChen21/NeurIPS2024-CSP, ``custom_config/clip-ViT-B16.py``). As
``official``, but: lexicographer files noun.person, noun.quantity, noun.group and adj.pert left out instead; an
adjective is combined with one of 14 superclasses (``silky object``); the mean of 8 prompts' embeddings for nouns and
labels and of 4 for adjectives, taken before they are normalised; candidates with a cosine above 0.95 to an ID label
behind all others. It scores as NegLabel does, with 100 groups, and is static: it peeks at no picture.

Sources: the paper, Section 3.1, Appendix A and Table 14; the authors' public code (github.com/tmlr-group/NegLabel).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

PresetName = Literal["paper", "official", "csp"]
#: CSP's prompts, as alternatives of one template.
_CSP_NOUN = (
    "a close-up photo of the nice {}.|a photo with the nice {}.|a good photo with the nice {}.|a photo of the nice {}.|"
    "{}|the {}|the good {}|the nice {}"
)
_CSP_ADJECTIVE = "{}|a nice photo of {}|a good photo of {}|a close-up photo of {}"


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
    near_labels_last: float | None = None


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
        "csp": Preset(
            corpus="wordnet:preset=csp",
            prompts={"": _CSP_NOUN, "adjective": _CSP_ADJECTIVE},
            label_prompts=(_CSP_NOUN,),
            percentile=0.05,
            top=None,
            top_share=0.15,
            per_pos=True,
            keep_id_names=True,
            near_labels_last=0.95,
        ),
    }
)
