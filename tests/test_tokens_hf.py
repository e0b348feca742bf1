"""Token ids of towers with a tokenizer of transformers: small real ones, built here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from open_clip.tokenizer import HFTokenizer, SigLipTokenizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from neglabel.pipeline.tokens import Tokens

from .any_text import outcome, prompts

transformers = pytest.importorskip("transformers")

LINES = ["the nice dog", "a photo of a cat", "日本語 東京", "naïve café, isn't it?", "ice_cream 1,024 <b>"] * 5


def word_level() -> tuple[Tokenizer, dict[str, str]]:
    """Words, and an end token that is the padding too."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(LINES, trainers.WordLevelTrainer(special_tokens=["<unk>", "</s>"]))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer, {"unk_token": "<unk>", "eos_token": "</s>", "pad_token": "</s>"}


def byte_level() -> tuple[Tokenizer, dict[str, str]]:
    """As RoBERTa's: bytes, two special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<s>", "</s>"]
    tokenizer.train_from_iterator(
        LINES, trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    )
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 1))
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
    return tokenizer, names


def unigram() -> tuple[Tokenizer, dict[str, str]]:
    """As T5's and SigLIP's: pieces, an end token only."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(
        LINES, trainers.UnigramTrainer(vocab_size=120, special_tokens=special, unk_token="<unk>", show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer, {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "words": (word_level, {"context_length": 5}),
    "bytes": (byte_level, {"context_length": 12, "clean": "lower"}),
    "pieces": (unigram, {"context_length": 16, "clean": "canonicalize"}),
    "without-sep": (byte_level, {"context_length": 9, "strip_sep_token": True}),
    "clips": (byte_level, {"context_length": 9, "tokenizer_mode": "clips"}),
    "siglip": (unigram, {"context_length": 8}),
}


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Tokens]:
    """open_clip's tokenizer and ours of it."""
    build, options = KINDS[request.param]
    tokenizer, special = build()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    if request.param == "siglip":  # its constructor knows only vocabularies that are downloaded
        theirs = SigLipTokenizer.__new__(SigLipTokenizer)
        theirs.tokenizer, theirs.context_length = fast, options["context_length"]
    else:
        folder: Path = tmp_path_factory.mktemp("tokenizer")
        fast.save_pretrained(folder)
        theirs = HFTokenizer(str(folder), **options)
    return theirs, Tokens(theirs, options["context_length"])


def cut_by_open_clip(tokenizer: Any, words: list[str], context: int) -> list[bool]:
    """A prompt is cut where a context of one place more or of many more holds more of its tokens."""
    if not words:
        return []
    clips = tokenizer.__dict__.get("tokenizer_mode") == "clips"
    mask = tokenizer.tokenizer(
        [tokenizer.clean_fn(w) if hasattr(tokenizer, "clean_fn") else clean_of_siglip(w) for w in words],
        padding=True, add_special_tokens=True, return_tensors="np", return_token_type_ids=False,
    ).attention_mask  # fmt: skip
    return (mask.sum(axis=1) + clips > context).tolist()  # type: ignore[no-any-return]


def clean_of_siglip(text: str) -> str:
    from open_clip.tokenizer import basic_clean, canonicalize_text

    return canonicalize_text(basic_clean(text))  # type: ignore[no-any-return]


@example(words=[])
@example(words=["", "dog", "the nice dog", "the nice dog a", "the nice dog a cat", "the nice dog a cat of"])
@example(words=["x" * n for n in range(20)])
@given(words=prompts)
def test_any_text_has_the_ids_of_open_clip(pair: tuple[Any, Tokens], words: list[str]) -> None:
    theirs, mine = pair
    assert mine.is_fast == (getattr(theirs, "tokenizer_mode", "") != "clips")
    ids, cut = mine.encode(words)
    assert (ids.dtype, ids.shape) == (np.int32, (len(words), mine.context_length))
    if words:
        assert ids.tolist() == outcome(theirs, words)
    assert np.array_equal(mine.ids(words), ids)
    assert cut.tolist() == cut_by_open_clip(theirs, words, mine.context_length)


def test_prompts_of_every_length_around_the_context(pair: tuple[Any, Tokens]) -> None:
    theirs, mine = pair
    words = ["dog " * n + end for n in range(20) for end in ("", "cat")]
    ids, cut = mine.encode(words)
    assert ids.tolist() == theirs(words).tolist()
    assert cut.any()
    assert not cut.all()
    # Independent of special tokens: a cut prompt's ids don't tell it from the same prompt with one more word.
    longer = theirs([word + " dog dog" for word in words]).numpy()
    full = (ids == longer).all(axis=1)
    assert (full >= cut).all()
