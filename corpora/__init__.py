"""Where words come from: adapters behind one function.

An adapter is a module with an ``Options`` model; ``candidates(options, on_reject)``, a generator of
:class:`Candidate`; ``check(options)``, which refuses what can't be opened; ``expected(options)``, the number of
words if it is cheap to know; the constants LICENCE, SOURCE, TYPICAL_SIZE, HOW_TO_GET; and, where more is known of the
data that were found, ``provenance(options)``. To add one: write the module, add its line to :data:`ADAPTERS`
(``docs/corpora.md`` shows one).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from neglabel.corpora.candidate import Candidate, OnReject, Rejection
from neglabel.corpora.spec import Options, Spec, parse, validate
from neglabel.corpora.text import defect

__all__ = [
    "ADAPTERS", "Candidate", "OnReject", "Rejection", "Spec", "check_corpus", "open_corpus", "provenance",
    "rows_expected",
]  # fmt: skip

#: Name in a spec → module.
ADAPTERS = {
    "wordnet": "neglabel.corpora.wordnet",
    "wikipedia": "neglabel.corpora.wikipedia",
    "pos-tags": "neglabel.corpora.pos_tags",
    "multilingual": "neglabel.corpora.multilingual",
    "hf": "neglabel.corpora.hf",
    "file": "neglabel.corpora.files",
}


def check_corpus(spec: Spec) -> None:
    """Refuse a spec that can't be opened, before any work. Raises UsageError."""
    adapter, options = _adapter(spec)
    adapter.check(options)


def rows_expected(specs: Sequence[Spec], limit: int | None = None) -> int | None:
    """How many words ``specs`` give at most, duplicates included; None where that isn't cheap to know."""
    counts = [adapter.expected(options) for adapter, options in map(_adapter, specs)]
    known = sum(c for c in counts if c is not None) if None not in counts else None
    return known if limit is None else limit if known is None else min(limit, known)


def provenance(spec: Spec) -> dict[str, Any]:
    """``corpus``, ``licence`` and ``source`` of a spec, and what its adapter knows of the data that were found."""
    adapter, options = _adapter(spec)
    more = adapter.provenance(options) if hasattr(adapter, "provenance") else {}
    name, _ = parse(spec, ADAPTERS)
    return {"corpus": name, "licence": adapter.LICENCE, "source": adapter.SOURCE, **more}


def open_corpus(spec: Spec, on_reject: OnReject | None = None) -> Iterator[Candidate]:
    """The candidates of a corpus, streamed in a fixed order, duplicates included.

    Args:
        spec: ``wordnet``, ``wordnet:pos=n+a,lemmas=first``, a file's path (``words.csv:column=term``), or the same
            as a table (``{"name": "wordnet", "pos": ["n"]}``).
        on_reject: called for what can't become a candidate; by default such words are passed over.

    Raises:
        UsageError: an unknown corpus or option, a missing file; when the iterator is started.
    """
    adapter, options = _adapter(spec)
    reject = on_reject or (lambda rejection: None)
    for candidate in adapter.candidates(options, reject):
        if reason := defect(candidate.text):
            reject(Rejection(candidate.text, reason, candidate.source, candidate.key))
        else:
            yield candidate


def _adapter(spec: Spec) -> tuple[Any, Options]:
    name, values = parse(spec, ADAPTERS)
    adapter = import_module(ADAPTERS[name])
    return adapter, validate(name, adapter.Options, values)
