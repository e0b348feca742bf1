"""Token ids: the same as open_clip's tokenizer gives, for any text."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer

from neglabel.corpora import open_corpus
from neglabel.pipeline import bpe_words, tokens
from neglabel.pipeline.clean import _PLAIN, Cleaner
from neglabel.pipeline.tokens import Tokens

from .any_text import outcome, prompts
from .conftest import ROOT

KINDS: dict[str, tuple[Any, int]] = {
    "lower": (SimpleTokenizer(), 77),
    "whitespace": (SimpleTokenizer(clean="whitespace", context_length=9), 9),
    "canonicalize": (SimpleTokenizer(clean="canonicalize", context_length=2), 2),
    "emoji": (SimpleTokenizer(str(ROOT / "pipeline" / "emoji" / "bpe.txt.gz"), context_length=24), 24),
}
FAST = {name: Tokens(*kind) for name, kind in KINDS.items()}


def check(kind: str, words: list[str]) -> None:
    tokenizer, context = KINDS[kind]
    ids, cut = FAST[kind].encode(words)
    assert (ids.dtype, ids.shape, cut.dtype, cut.shape) == (np.int32, (len(words), context), np.bool_, (len(words),))
    differ = np.flatnonzero((ids != tokenizer(words).numpy()).any(axis=1))
    assert not len(differ), [words[i] for i in differ[:5]]


@pytest.mark.parametrize("kind", KINDS)
@example(words=[])
@example(words=[""])
@example(words=["", "!", "! !", "", " "])
@example(words=["a b ", "a b  c", "a b "])
@example(words=["dog " * 80, "dog " * 80 + "x", "dog " * 90])
@given(words=prompts)
def test_any_text_has_the_ids_of_open_clip(kind: str, words: list[str]) -> None:
    tokenizer, context = KINDS[kind]
    assert FAST[kind].is_fast
    assert outcome(FAST[kind].ids, words) == outcome(tokenizer, words)
    if not isinstance(outcome(tokenizer, words), type):
        _, cut = FAST[kind].encode(words)
        assert cut.tolist() == [len(tokenizer.encode(word)) + 2 > context for word in words]


@pytest.mark.parametrize("kind", KINDS)
@given(words=prompts, template=st.sampled_from(["the nice {}", "A  photo_of &amp; a {} here", "x<end_of_text> {}"]))
def test_any_text_under_a_template_has_the_ids_of_open_clip(kind: str, words: list[str], template: str) -> None:
    words = [template.replace("{}", word) for word in words]
    assert outcome(FAST[kind].ids, words) == outcome(KINDS[kind][0], words)


@pytest.mark.parametrize("left", [76, 75, 74, 1, 0])
def test_a_prompt_is_cut_exactly_where_it_no_longer_fits(left: int) -> None:
    words = ["dog " * left + more for more in ("", "dog", "dog dog", "doggerelly")]
    check("lower", words)
    assert FAST["lower"].encode(words)[1].tolist() == [len(KINDS["lower"][0].encode(w)) > 75 for w in words]


def test_every_character_that_skips_ftfy_is_left_alone_by_it() -> None:
    plain = [c for c in map(chr, range(0x110000)) if re.fullmatch(f"[{_PLAIN}]", c)]
    assert len(plain) > 32_000
    rng = np.random.default_rng(0)
    mixed = ["".join(plain[i] for i in rng.integers(0, n, 12)) for n in (200, 400, len(plain)) for _ in range(300)]
    words = [f"Ice {a}{b}a {c}" for a, b, c in zip(plain[::3], plain[1::3], plain[2::3], strict=False)] + mixed
    for kind in ("lower", "whitespace", "canonicalize"):
        clean = KINDS[kind][0].clean_fn
        assert Cleaner(clean).texts(words) == [clean(word) for word in words]


def characters(step: int) -> list[str]:
    return [f"The a{chr(c)}B {chr(c)}" for c in range(0, 0x110000, step)]


def test_characters_of_all_planes() -> None:
    for kind in KINDS:
        check(kind, characters(397))


def shared_words(folder: Path) -> dict[str, list[str]]:
    """Words of every corpus in the shared data, as they stand there."""

    def lines(path: Path) -> list[str]:
        return path.read_text(encoding="utf-8").split("\n")

    omw = sorted((folder / "nltk_data" / "corpora" / "omw-2.0").rglob("*.tab"))
    return {
        "wordnet": [word.text for word in open_corpus("wordnet")],
        "pos": [line.split(",")[1] for line in lines(folder / "pos_tags" / "words_pos.csv") if line.count(",") > 1],
        "labels": [line for path in sorted((folder / "labels").glob("*.txt")) for line in lines(path)],
        **{path.stem: lines(path) for path in sorted((folder / "titles").glob("*.txt"))},
        **{path.stem: [line.split("\t")[-1] for line in lines(path)] for path in omw},
    }


def test_words_of_all_shared_corpora(shared_data: Path) -> None:
    for words in shared_words(shared_data).values():
        check("lower", [template.replace("{}", w) for w in words[::211] for template in ("{}", "A nice {}, isn't it?")])
        check("canonicalize", words[::1009])
        check("emoji", words[::811])


@pytest.mark.soak
def test_every_word_of_all_shared_corpora_and_every_character(shared_data: Path) -> None:
    counts = {}
    for name, words in shared_words(shared_data).items():
        counts[name] = len(words)
        for kind in ("lower", "whitespace"):
            check(kind, words)
        check("lower", [f"the nice {word}" for word in words])
        check("emoji", [f"A nice {word}, isn't it?" for word in words])
    check("lower", characters(1))
    print(counts)
    assert counts["wordnet"] == 139_277
    assert sum(counts.values()) > 1_200_000


def test_what_is_remembered_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = KINDS["lower"][0]
    words = [f"w{i}x{i % 7} {'q' * i}" for i in range(300)]
    expected = tokenizer(words).numpy()
    monkeypatch.setattr(tokens, "BLOCK", 7)
    for limit, value in (("MAX_WORDS", 20), ("MAX_CHARACTERS", 200), ("MAX_TOKENS", 100)):
        with monkeypatch.context() as patch:
            patch.setattr(bpe_words, limit, value)
            small = bpe_words.BpeWords(tokenizer)
            for at in range(0, 300, 7):
                ids = np.zeros((len(words[at : at + 7]), 77), np.int32)
                small.encode(words[at : at + 7], ids)
                assert np.array_equal(ids, expected[at : at + 7])
                assert len(small) < 60
            assert np.array_equal(Tokens(tokenizer, 77).ids(words), expected)


def test_an_interrupt_leaves_no_word_without_its_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = bpe_words.BpeWords(tokenizer := KINDS["lower"][0])
    words = ["one fresh", "two fresh", "three fresh"]
    with monkeypatch.context() as patch:
        merge = fast._merge
        patch.setattr(fast, "_merge", lambda w: merge(w) if w != "two" else (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fast.encode(words, np.zeros((3, 77), np.int32))
    ids = np.zeros((3, 77), np.int32)
    fast.encode(words, ids)
    assert np.array_equal(ids, tokenizer(words).numpy())


def test_a_vocabulary_whose_merges_are_not_unique_is_merged_by_open_clip(tmp_path: Path) -> None:
    path = tmp_path / "bpe.txt.gz"
    path.write_bytes(gzip.compress(b"#\na b\nb c\nab c\na bc\nabc abc</w>\nq r s\n"))
    tokenizer = SimpleTokenizer(str(path))
    words = ["".join(w) for w in np.random.default_rng(1).choice(list("abcd"), (200, 9))]
    assert np.array_equal(Tokens(tokenizer, 77).ids(words), tokenizer(words).numpy())


class Shouting(SimpleTokenizer):
    def encode(self, text: str) -> list[int]:
        return super().encode(text.upper())[::-1]


def test_other_tokenizers_are_used_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["a b", "x " * 99, "<tag> [b] b", "", "dog " * 75, "dog " * 76]
    for tokenizer in (Shouting(), SimpleTokenizer(additional_special_tokens=["[b] ", "<tag>"])):
        mine = Tokens(tokenizer, 77)
        assert not mine.is_fast
        ids, cut = mine.encode(words)
        assert np.array_equal(ids, tokenizer(words).numpy())
        assert cut.tolist() == [False, True, False, False, False, True]
    assert not Tokens(SimpleTokenizer(reduction_mask="simple"), 77).is_fast
    monkeypatch.setattr(SimpleTokenizer, "encode", lambda self, text: [len(text)])  # an open_clip of another time
    changed = SimpleTokenizer()
    mine = Tokens(changed, 77)
    assert not mine.is_fast
    assert np.array_equal(mine.ids(words), changed(words).numpy())


def test_the_context_may_be_another_than_the_tokenizers() -> None:
    tokenizer = SimpleTokenizer(context_length=None)
    mine = Tokens(tokenizer, 11)
    assert mine.is_fast
    words = ["a b", "dog " * 9, "dog " * 10]
    assert np.array_equal(mine.ids(words), tokenizer(words, context_length=11).numpy())


def test_a_callable_with_nothing_to_ask_cuts_nothing() -> None:
    ids, cut = Tokens(lambda prompts: np.full((len(prompts), 5), 3, np.int64), 5).encode(["a", "b"])
    assert ids.tolist() == [[3] * 5] * 2
    assert not cut.any()
