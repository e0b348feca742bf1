"""Which text may be a candidate, and the form in which texts are compared.

The text that is encoded is never changed; the normalised form only serves comparing.
"""

from __future__ import annotations

import unicodedata

#: Categories that no word holds: control and private-use characters, surrogates (bytes that were no UTF-8),
#: code points that Unicode leaves unassigned.
_FORBIDDEN = {"Cc": "control-character", "Cs": "invalid-utf8", "Co": "control-character", "Cn": "control-character"}
#: Characters; no word is longer, and no model's context either.
MAX_TEXT = 10_000
#: Format characters (Cf) that Unicode says to ignore where they can't be shown: soft hyphen, Arabic letter mark,
#: Mongolian vowel separator, zero-width space, marks of direction, word joiner and its like, byte-order mark, marks of
#: shorthand and music. Not ZWNJ and ZWJ (U+200C, U+200D), nor the tags that make a flag of an emoji: they make words.
_INVISIBLE = dict.fromkeys(
    [0xAD, 0x61C, 0x180E, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2065),
     *range(0x2066, 0x2070), 0xFEFF, *range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B), 0xE0001]
)  # fmt: skip


def normalise(text: str) -> str:
    """NFKC, case-folded, invisible characters taken out, underscores and runs of space as one space. Idempotent."""
    if text.isascii():
        folded = text.lower()  # what NFKC and case folding come to here
    else:
        if not text.isprintable():  # no format character is printable
            text = text.translate(_INVISIBLE)
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.replace("_", " ").split())


def defect(text: str) -> str | None:
    """Why ``text`` can't be a candidate, or None.

    ``empty``, ``too-long``, ``invalid-utf8``, ``control-character``, or ``format-character``: one that can't be seen
    and would change the tokens. Joiners stay: Persian and emoji need them.
    """
    if len(text) > MAX_TEXT:
        return "too-long"
    # No letter or digit is normalised to nothing.
    if not text[:1].isalnum() and not normalise(text):
        return "empty"
    if text.isprintable():
        return None
    for character in text:
        if reason := _FORBIDDEN.get(unicodedata.category(character)):
            return reason
    return "format-character" if any(ord(character) in _INVISIBLE for character in text) else None
