"""Where words come from: adapters behind one function.

An adapter is a module with an ``Options`` model and ``candidates(options, on_reject)``, a generator of
:class:`Candidate`. To add one: write the module, add its line to :data:`ADAPTERS`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Iterator

from neglabel.corpora.candidate import Candidate, OnReject, Rejection
from neglabel.corpora.spec import Spec, parse, validate
from neglabel.corpora.text import defect

__all__ = ["ADAPTERS", "Candidate", "OnReject", "Rejection", "Spec", "check_corpus", "open_corpus"]

#: Name in a spec → module.
ADAPTERS = {
    "wordnet": "neglabel.corpora.wordnet",
    "file": "neglabel.corpora.files",
}


def check_corpus(spec: Spec) -> None:
    """Refuse a spec that can't be opened, before any work. Raises UsageError."""
    name, values = parse(spec, ADAPTERS)
    adapter = import_module(ADAPTERS[name])
    adapter.check(validate(name, adapter.Options, values))


def open_corpus(spec: Spec, on_reject: OnReject | None = None) -> Iterator[Candidate]:
    """The candidates of a corpus, streamed in a fixed order, duplicates included.

    Args:
        spec: ``wordnet``, ``wordnet:pos=n+a,lemmas=first``, a file's path (``words.csv:column=term``), or the same
            as a table (``{"name": "wordnet", "pos": ["n"]}``).
        on_reject: called for what can't become a candidate; by default such words are passed over.

    Raises:
        UsageError: an unknown corpus or option, a missing file; when the iterator is started.
    """
    name, values = parse(spec, ADAPTERS)
    adapter = import_module(ADAPTERS[name])
    reject = on_reject or (lambda rejection: None)
    for candidate in adapter.candidates(validate(name, adapter.Options, values), reject):
        if reason := defect(candidate.text):
            reject(Rejection(candidate.text, reason, candidate.source, candidate.key))
        else:
            yield candidate
