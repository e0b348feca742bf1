"""open_clip's cleaning of prompts, without its cost where it changes next to nothing.

``ftfy``, which open_clip runs over every prompt, takes longer than the whole rest of tokenising. It leaves text of
the characters below as it is, so for such prompts only the step behind it is done here. Any other prompt goes
through open_clip's own function.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence

# Printable ASCII without `&` (HTML entities), CJK ideographs, kana without combining marks and Hangul syllables:
# ftfy's rules (mojibake, ligatures, widths, quotes, surrogates, control characters, NFC) name none of them.
_PLAIN = r" -%'-~ぁ-ゖァ-ヺー一-鿿가-힣"
_plain_text = re.compile(f"[{_PLAIN}]*").fullmatch
_plain_lines = re.compile(f"[\n{_PLAIN}]*").fullmatch
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _canonical(text: str) -> str:
    return text.replace("_", " ").translate(_PUNCTUATION).lower()


class Cleaner:
    """What a ``clean_fn`` of an open_clip tokenizer does, over many prompts.

    Raises KeyError for a function that isn't one of open_clip's three (lower, whitespace, canonicalize).
    """

    def __init__(self, clean_fn: Callable[[str], str]) -> None:
        from open_clip import tokenizer

        known: dict[Callable[[str], str], Callable[[str], str]] = {
            tokenizer._clean_lower: str.lower,
            tokenizer._clean_whitespace: str,
            tokenizer._clean_canonicalize: _canonical,
        }
        self._plain = known[clean_fn]
        self._original = clean_fn

    def lines(self, prompts: Sequence[str]) -> str:
        """The cleaned prompts, one a line; unlike open_clip's they may have several spaces in a row and at the ends."""
        joined = "\n".join(prompts)
        if _plain_lines(joined) and joined.count("\n") == len(prompts) - 1:
            return self._plain(joined)
        plain, original = self._plain, self._original
        # No cleaned prompt has a line end: open_clip makes every run of space one space.
        return "\n".join([plain(p) if _plain_text(p) else original(p) for p in prompts])

    def texts(self, prompts: Sequence[str]) -> list[str]:
        """The cleaned prompts, exactly as open_clip gives them."""
        return [" ".join(line.split()) for line in self.lines(prompts).split("\n")] if prompts else []


def without_shared(lines: str) -> tuple[str, list[str]]:
    """Lines without the whole words that all of them begin with, and those words: what a template puts first."""
    first, last = lines.split("\n", 1)[0], lines.rsplit("\n", 1)[-1]
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    prefix = first[: first.rfind(" ", 0, same) + 1]
    if not prefix or lines.count("\n" + prefix) != lines.count("\n"):
        return lines, []
    return lines[len(prefix) :].replace("\n" + prefix, "\n"), prefix.split(" ")
