"""CLIP's byte-pair encoding a word at a time, remembered: the ids of open_clip's ``SimpleTokenizer``.

No token crosses a space, so a prompt's ids are those of its words in a row. A word met before costs a look-up; a new
one is split by open_clip's own pattern and merged by the ``tokenizers`` library (Rust), which is given single
pre-tokens only: its own splitting differs from open_clip's for thousands of characters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.pipeline.clean import Cleaner, without_shared

Ids = NDArray[np.int32]
#: What is remembered before everything is forgotten: words, their characters, their tokens (in all about 50 MB).
MAX_WORDS, MAX_CHARACTERS, MAX_TOKENS = 200_000, 8_000_000, 4_000_000
#: Words that stand for no token: the mark between two prompts, and what splitting finds between two spaces.
_BREAK, _NOTHING = "\n", ""


class BpeWords(dict[str, int]):
    """Word → its number, from which its ids are found; a missing word gets the next number. For one thread at a time.

    Args:
        tokenizer: one for which :meth:`suits` says so.
    """

    _lengths: Ids
    _starts: Ids
    _tokens: Ids

    @staticmethod
    def suits(tokenizer: Any) -> bool:
        """Whether ``tokenizer`` is a ``SimpleTokenizer`` without options that need more than its words."""
        from open_clip.tokenizer import SimpleTokenizer

        # Additional special tokens become part of a pattern unescaped: they may match anything, also across spaces.
        known = type(tokenizer) is SimpleTokenizer and tokenizer.reduction_fn is None
        return known and len(tokenizer.all_special_ids) == 2

    def __init__(self, tokenizer: Any) -> None:
        super().__init__()
        self._cleaner = Cleaner(tokenizer.clean_fn)
        self._start, self._end = int(tokenizer.sot_token_id), int(tokenizer.eot_token_id)
        self._special = {token: [tokenizer.encoder[token]] for token in ("<start_of_text>", "<end_of_text>")}
        self._find: Callable[[str], list[str]] = tokenizer.pat.findall
        self._bytes = {byte: ord(char) for byte, char in tokenizer.byte_encoder.items()}
        self._merge = _merger(tokenizer)
        # Words with marks and several parts (`Foo_Bar`, `-in-law`) are rarely met again, their parts often.
        self._merge_part = lru_cache(1 << 16)(self._merge)
        self._forget()

    def encode(self, prompts: Sequence[str], ids: Ids) -> NDArray[np.bool_]:
        """Writes the ids of ``n`` ≥ 1 prompts into ``ids``, (n, context_length) zeros.

        Returns:
            (n,) whether a prompt was cut.
        """
        if len(self) > MAX_WORDS or self._characters > MAX_CHARACTERS or self._used > MAX_TOKENS:
            self._forget()
        context_length = ids.shape[1]
        lines, shared = without_shared(self._cleaner.lines(prompts))
        numbers = self._numbers(lines.replace("\n", f" {_BREAK} ").split(" "))
        lengths = self._lengths[numbers]
        ends = np.cumsum(lengths, dtype=np.int32)  # of a word's tokens, in the row of all tokens of all prompts
        place = np.arange(ends[-1], dtype=np.int32)
        tokens = self._tokens[place + np.repeat(self._starts[numbers] - (ends - lengths), lengths)]
        ends = np.append(ends[numbers == self[_BREAK]], ends[-1])  # of a prompt's tokens
        lengths = np.diff(ends, prepend=np.int32(0))
        begin = [self._start]
        for word in shared:
            begin += self._ids(word)
        rows = np.arange(len(prompts))
        # From a token's place in that row to its place in ``ids``, behind what all prompts begin with.
        target = place + np.repeat(rows * context_length + len(begin) - (ends - lengths), lengths)
        lengths = lengths + len(begin) + 1
        truncated: NDArray[np.bool_] = lengths > context_length
        if truncated.any():
            fits = target < np.repeat((rows + 1) * context_length, lengths - len(begin) - 1)
            target, tokens = target[fits], tokens[fits]
        ids.reshape(-1)[target] = tokens
        ids[:, : len(begin)] = begin[:context_length]
        ids[rows, np.minimum(lengths, context_length) - 1] = self._end
        return truncated

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        self._new.append(word)
        return number

    def _numbers(self, words: list[str]) -> NDArray[np.int32]:
        """Numbers of words, with the ids of new ones filled in."""
        ids: list[int] = []
        ends = [0]
        self._new.clear()
        try:
            numbers = np.fromiter(map(self.__getitem__, words), np.int32, len(words))
            for word in self._new:
                ids += self._ids(word)
                ends.append(len(ids))
        except BaseException:  # Ctrl+C, no memory: no number without its ids
            self._forget()
            raise
        if not self._new:
            return numbers
        places = np.array(ends, np.int32)
        first = len(self) - len(self._new)
        self._lengths = _put(self._lengths, first, places[1:] - places[:-1])
        self._starts = _put(self._starts, first, places[:-1] + np.int32(self._used))
        self._tokens = _put(self._tokens, self._used, np.array(ids, np.int32))
        self._used += len(ids)
        self._characters += sum(map(len, self._new))
        return numbers

    def _ids(self, word: str) -> list[int]:
        """Ids of a cleaned word without spaces."""
        if word.isascii() and word.isalpha():
            return self._merge(word)
        ids: list[int] = []
        for part in self._find(word):
            if part in self._special:
                ids += self._special[part]
                continue
            if not (part.isascii() and part.isprintable()):  # such characters stand for themselves
                part = part.encode("utf-8").decode("latin-1").translate(self._bytes)
            ids += self._merge_part(part) if len(part) < 100 else self._merge(part)
        return ids

    def _forget(self) -> None:
        self.clear()
        self.update({_BREAK: 0, _NOTHING: 1})
        self._lengths = np.zeros(1024, np.int32)
        self._starts = np.zeros(1024, np.int32)
        self._tokens = np.zeros(1024, np.int32)
        self._new: list[str] = []  # words with a number whose ids are still to be found
        self._used: int = 0
        self._characters: int = 0


def _put(array: Ids, at: int, values: Ids) -> Ids:
    """``values`` written at ``at``; into a larger copy where they don't fit, so that growth is cheap."""
    need = at + len(values)
    if need > len(array):
        array = np.concatenate([array, np.zeros(max(need - len(array), len(array)), array.dtype)])
    array[at:need] = values
    return array


def _merger(tokenizer: Any) -> Callable[[str], list[int]]:
    """One pre-token (bytes as CLIP's letters) → its ids."""
    merges, encoder = tokenizer.bpe_ranks, tokenizer.encoder
    known = set(tokenizer.byte_encoder.values())
    known |= {letter + "</w>" for letter in known}
    # The library applies the merge of the lowest rank wherever it stands; open_clip all places of one pair before the
    # next. The two agree where a merge is made of earlier ones and no two give the same string.
    for pair in merges:
        if len(pair) != 2 or pair[0] not in known or pair[1] not in known or "".join(pair) in known:
            return lambda word: [encoder[token] for token in tokenizer.bpe(word).split(" ")]
        known.add("".join(pair))
    from tokenizers import models

    bpe = models.BPE(vocab=encoder, merges=list(merges), end_of_word_suffix="</w>", cache_capacity=0)
    tokenize = bpe.tokenize
    return lambda word: [token.id for token in tokenize(word)]
