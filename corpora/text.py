"""Which text may be a candidate, and the form in which texts are compared.

The text that is encoded is never changed; the normalised form only serves comparing.
"""

from __future__ import annotations

import re
import unicodedata

_SPACES = re.compile(r"[\s_]+")
#: Categories that no word holds: control and private-use characters, surrogates (bytes that were no UTF-8),
#: code points that Unicode leaves unassigned. Format characters (joiners) stay: Persian and emoji need them.
_FORBIDDEN = {"Cc": "control-character", "Cs": "invalid-utf8", "Co": "control-character", "Cn": "control-character"}
#: Characters; no word is longer, and no model's context either.
MAX_TEXT = 10_000
_PLAIN = re.compile(r"[ -~]*\Z")


def normalise(text: str) -> str:
    """NFKC, case-folded, underscores and runs of space as one space. Idempotent."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _SPACES.sub(" ", folded).strip()


def defect(text: str) -> str | None:
    """Why ``text`` can't be a candidate: ``empty``, ``too-long``, ``invalid-utf8``, ``control-character``; or None."""
    if len(text) > MAX_TEXT:
        return "too-long"
    if not normalise(text):
        return "empty"
    if _PLAIN.match(text):
        return None
    return next((_FORBIDDEN[c] for c in map(unicodedata.category, text) if c in _FORBIDDEN), None)
