"""Prompts → token ids: those of the model's own tokenizer, by the fastest way that gives them exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.pipeline.bpe_words import BpeWords, Ids
from neglabel.pipeline.clean import Cleaner

#: Prompts worked on at once: bounds what lies beside the ids.
BLOCK = 8_192
#: Encoded both ways at the start, cut prompts among them. A difference (another open_clip) means the slow way.
_PROBES = [
    "", "dog", "The nice Ice  Cream.", "it's 1,024 o'clock", "Tom &amp;amp; Jerry", "naïve café", "!!", "_a_b_",
    "日本語 東京", "ÃŸ ﬁ Σ\u0301ΑΣ", "👩\u200d🔬", "x<end_of_text>Y <START_OF_TEXT>", "a\x00b\r\n\x7f c",
    "long " * 100, "z9" * 300,
]  # fmt: skip


class Tokens:
    """A tokenizer of open_clip, faster.

    ``SimpleTokenizer`` goes a remembered word at a time, ``HFTokenizer`` (BERT, T5, SigLIP) in one call of
    the tokenizer that it wraps with cheaper cleaning, anything else as it is. For one thread at a time.

    Args:
        tokenizer: as ``open_clip.get_tokenizer`` gives it.
        context_length: columns of the ids.
    """

    def __init__(self, tokenizer: Any, context_length: int) -> None:
        self.tokenizer = tokenizer
        self.context_length = context_length
        self._words: BpeWords | None = None
        self._cleaner: Cleaner | None = None
        try:
            if BpeWords.suits(tokenizer):
                self._words = BpeWords(tokenizer)
            elif _one_call(tokenizer):
                self._cleaner = Cleaner(_clean_of(tokenizer))
            same = not self.is_fast or np.array_equal(self.ids(_PROBES), self._original(_PROBES))
        except (AttributeError, KeyError, TypeError, ValueError):
            same = False
        if not same:
            self._words = self._cleaner = None

    @property
    def is_fast(self) -> bool:
        """Whether a way of our own is used; False: the tokenizer itself."""
        return self._words is not None or self._cleaner is not None

    def ids(self, prompts: Sequence[str]) -> Ids:
        """``n`` prompts → (n, context_length) int32: what ``tokenizer(list(prompts))`` gives.

        Raises what the tokenizer raises.
        """
        return self._encode(prompts)[0]

    def encode(self, prompts: Sequence[str]) -> tuple[Ids, NDArray[np.bool_]]:
        """:meth:`ids`, and (n,) bool: whether the tokenizer had to cut a prompt to the context.

        A tokenizer that is none of open_clip's, has no ``encode`` and wraps no tokenizer of ``transformers`` can't be
        asked: False for its prompts.
        """
        return self._encode(prompts, True)

    def _encode(self, prompts: Sequence[str], ask: bool = False) -> tuple[Ids, NDArray[np.bool_]]:
        ids = np.zeros((len(prompts), self.context_length), np.int32)
        cut = np.zeros(len(prompts), bool)
        for at in range(0, len(prompts), BLOCK):
            part = prompts[at : at + BLOCK]
            to = slice(at, at + len(part))
            if self._words is not None:
                cut[to] = self._words.encode(part, ids[to])
                continue
            ids[to], full = self._rows(part)
            if ask:
                cut[to] = self._cut(part, full)
        return ids, cut

    def _rows(self, prompts: Sequence[str]) -> tuple[Ids, NDArray[np.bool_]]:
        """Ids, and for each prompt whether it may have been cut."""
        if self._cleaner is None:
            ids, pad = self._original(prompts), getattr(self.tokenizer, "pad_id", None)
            return ids, np.ones(len(prompts), bool) if pad is None else ids[:, -1] != pad
        out = self.tokenizer.tokenizer(
            self._cleaner.texts(prompts), return_tensors="np", max_length=self.context_length, padding="max_length",
            truncation=True, return_attention_mask=True, return_token_type_ids=False,
        )  # fmt: skip
        ids = out["input_ids"].astype(np.int32)
        if getattr(self.tokenizer, "strip_sep_token", False):
            ids[ids == self.tokenizer.tokenizer.sep_token_id] = 0
        return ids, out["attention_mask"].all(axis=1)

    def _original(self, prompts: Sequence[str]) -> Ids:
        own = getattr(self.tokenizer, "context_length", self.context_length) == self.context_length
        options = {} if own else {"context_length": self.context_length}
        return np.asarray(self.tokenizer(list(prompts), **options)).astype(np.int32)

    def _cut(self, prompts: Sequence[str], may_be: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of the prompts marked in ``may_be`` are longer than the context, by tokenizing them without a limit."""
        lengths = self.lengths([prompts[int(i)] for i in np.flatnonzero(may_be)])
        cut: NDArray[np.bool_] = may_be.copy()
        cut[may_be] = np.array(lengths, np.int64) > self.context_length
        return cut

    def lengths(self, prompts: Sequence[str]) -> list[int]:
        """Places that prompts would take in a context without end, special tokens included."""
        inner = getattr(self.tokenizer, "tokenizer", None)
        if not prompts or (inner is None and not hasattr(self.tokenizer, "encode")):
            return [0] * len(prompts)
        if inner is None or hasattr(self.tokenizer, "bpe_ranks"):
            return [len(self.tokenizer.encode(prompt)) + 2 for prompt in prompts]
        if self._cleaner:
            texts = self._cleaner.texts(prompts)
        else:
            texts = [_clean_of(self.tokenizer)(prompt) for prompt in prompts]
        # Mode "clips" of open_clip adds three of its own: start, end and, in the last place, the class token.
        clips = getattr(self.tokenizer, "tokenizer_mode", "") == "clips"
        found = inner(texts, add_special_tokens=not clips, return_attention_mask=False, verbose=False)["input_ids"]
        return [len(ids) + 3 * clips for ids in found]


def _one_call(tokenizer: Any) -> bool:
    """Whether ``tokenizer`` is open_clip's wrapper of one of ``transformers``, with no tokens of its own."""
    from open_clip.tokenizer import HFTokenizer, SigLipTokenizer

    return type(tokenizer) in (HFTokenizer, SigLipTokenizer) and getattr(tokenizer, "tokenizer_mode", "") != "clips"


def _clean_of(tokenizer: Any) -> Callable[[str], str]:
    from open_clip.tokenizer import SigLipTokenizer, _clean_canonicalize

    if isinstance(tokenizer, SigLipTokenizer):
        return _clean_canonicalize  # type: ignore[no-any-return]
    return getattr(tokenizer, "clean_fn", str)
