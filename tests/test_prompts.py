"""Prompts by part of speech and language: which template a word gets, and what is no key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neglabel import UsageError
from neglabel.corpora.candidate import POS
from neglabel.corpora.languages import BCP47
from neglabel.pipeline.presets import PRESETS
from neglabel.pipeline.prompts import Prompts

TEMPLATES = {
    "": "all {}", "adjective": "adjective {}", "fr": "fr {}", "fr:adjective": "le joli {}", "pt": "pt {}",
    "zh": "zh {}", "zh-Hant": "hant {}", "zh:noun": "zh noun {}",
}  # fmt: skip


@pytest.mark.parametrize(
    ("pos", "language", "prompt"),
    [
        ("", "", "all x"),
        ("noun", "en", "all x"),
        ("adjective", "en", "adjective x"),
        ("adjective", "", "adjective x"),
        ("noun", "fr", "fr x"),
        ("adjective", "fr", "le joli x"),
        ("adjective", "fr-CA", "le joli x"),
        ("adjective", "pt-BR", "pt x"),  # the language before the part of speech
        ("adjective", "FR", "le joli x"),
        ("noun", "fra", "fr x"),
        ("noun", "zh-Hant", "hant x"),  # the whole tag before its language with the part of speech
        ("noun", "zh-Hant-TW", "hant x"),
        ("noun", "zh-Hans", "zh noun x"),
        ("verb", "zh-TW", "zh x"),
        ("noun", "zho", "zh noun x"),
        ("noun", "zh_Hant", "hant x"),
        ("noun", "zh-x-own", "zh noun x"),
        ("noun", "frr", "all x"),  # North Frisian is no French
    ],
)
def test_the_most_exact_key_wins(pos: str, language: str, prompt: str) -> None:
    prompts = Prompts(TEMPLATES)
    assert prompts.of("x", pos, language) == prompts.of("x", pos, language) == prompt


def test_every_language_gets_the_presets_own_prompts() -> None:
    """As in the paper, which has French words in the English prompt through CLIP's own tower."""
    for language in ("en", "fr", "zh", ""):
        assert Prompts(PRESETS["paper"].prompts).of("chien", "noun", language) == "The nice chien."
        assert Prompts(PRESETS["official"].prompts).of("chien", "noun", language) == "the nice chien"
        assert Prompts(PRESETS["official"].prompts).of("joli", "adjective", language) == "This is a joli photo"


@pytest.mark.parametrize(
    ("key", "template", "says"),
    [
        ("fr", "le joli", "needs {} once"),
        ("fr", "{} {}", "needs {} once"),
        ("nuon", "a {}", "`nuon` is no part of speech (noun, adjective, verb, adverb) and no language code"),
        ("fr:nuon", "a {}", "a language and one of noun, adjective, verb, adverb, as `fr:noun`"),
        ("noun:fr", "a {}", "a language and one of"),
        (":noun", "a {}", "a language and one of"),
        ("français", "a {}", "no language code"),
    ],
)
def test_what_is_no_key_or_template_is_one_sentence(key: str, template: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        Prompts({key: template})
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_two_keys_for_the_same_words_are_refused() -> None:
    with pytest.raises(UsageError, match="--prompt fra=…: the same words as `fr`; give one of the two"):
        Prompts({"fr": "le {}", "fra": "un {}"})


tags = st.lists(st.sampled_from(["Hant", "TW", "x", "own", "1997", "u", "co"]), max_size=3).map(
    lambda parts: "-".join(["zh", *parts])
)


@given(tags, st.sampled_from(["", *POS]), st.text(max_size=20))
def test_a_tag_never_gets_less_than_its_language(tag: str, pos: str, word: str) -> None:
    prompts = Prompts({"": "all {}", "noun": "noun {}", "zh": "zh {}"})
    assert prompts.of(word, pos, tag) == prompts.of(word, pos, "zh") == f"zh {word}"


def test_wordnets_codes_mean_the_same_as_bcp_47() -> None:
    for code, tag in BCP47.items():
        assert Prompts({code: "{}!"}).of("x", "noun", tag) == "x!"
