"""Prompts that a tokenizer may stumble over, for property tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

PIECES = [
    " ", "  ", "\t", "\n", "\r\n", "\u3000", "\u2028", "\x85", "\x1c",  # spaces, to one rule or another
    "\x00", "\x01", "\x7f", "\x1b[31m", "\u200b", "\ufeff", "\U000e0041",  # unseen
    "\ud800", "\udc80", "\ud83d\ude00",  # surrogates
    "&amp;amp;", "&amp;", "&lt;", "&#1;", "&#10;", "&#xD800;", "&nbsp;", "&", "<b>",
    "<end_of_text>", "<START_of_Text>", "<end_of_tex", "</w>", "Ġ",
    "'s", "'LL", "’re", "'ſ", "dog", "Dog", "ice_cream", "don't", "1st", "!", "!!!", "x" * 10_000, "1" * 300,
    "ÃŸ", "voilÃ le", "€™", "ﬁ", "Ａ", "ﾊﾟ", "½", "²", "Ⅷ", "𝒳",  # what ftfy or \p{N} is about
    "İ", "ΑΣ", "ΑΣ.", "e\u0301", "\u0301", "か\u3099", "가", "\u11a8",  # lower case and composition
    "日本語", "שלום", "سلام", "हिन्दी", "🇩🇪", "👩\u200d🔬",
]  # fmt: skip
_piece = st.sampled_from(PIECES) | st.text(max_size=5) | st.text(st.characters(max_codepoint=0x2FF))
prompts = st.lists(st.lists(_piece, max_size=7).map("".join), max_size=4)


def outcome(function: Callable[[list[str]], Any], given_prompts: list[str]) -> Any:
    """Ids, or what is raised."""
    try:
        return np.asarray(function(given_prompts)).tolist()
    except Exception as error:
        return type(error)
