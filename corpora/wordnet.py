"""Words of WordNet, read through nltk.

WordNet is found on ``nltk.data.path`` (``NLTK_DATA`` first), and last in this package: WordNet 3.0.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from neglabel import NeglabelError, UsageError
from neglabel.corpora.candidate import POS_NAMES, Candidate, OnReject
from neglabel.corpora.spec import Letters, Names
from neglabel.corpora.spec import Options as _Options
from neglabel.corpora.subtree import Depth, Lineage, Range

LICENCE = "WordNet 3.0 licence (Princeton): free use, notice kept"
SOURCE = "Princeton WordNet, https://wordnet.princeton.edu"
TYPICAL_SIZE = "117,798 nouns and 21,479 adjectives, 11,529 verbs, 4,481 adverbs (3.0)"
HOW_TO_GET = "3.0 is in this package; another version: `corpora/wordnet` of the folder that NLTK_DATA names"

#: What nltk raises on files that are none of WordNet's: its parser has no error of its own for them.
_UNREADABLE = (LookupError, OSError, ValueError, AttributeError, TypeError, StopIteration)
#: Synsets after which nltk's cache is emptied.
_FORGET = 1_024
#: What the authors' code leaves out (``preset=official``).
OFFICIAL_EXCLUDE = ("noun.animal", "noun.food")


class Options(_Options):
    """Options of the ``wordnet`` corpus."""

    preset: Literal["paper", "official"] = Field(
        "paper", description="official: first lemmas, lower-cased, without noun.animal and noun.food"
    )
    pos: Letters = Field(
        ("n", "a"), description="parts of speech, in the order given: n, a (satellites included), v, r"
    )
    lemmas: Literal["all", "first"] = Field("all", description="every lemma of a synset, or its first only")
    exclude: Names = Field((), description="lexicographer files to leave out: noun.animal+noun.food")
    include: Names = Field((), description="lexicographer files to keep to")
    domain: Names = Field(
        (), description="keep to these synsets and all that is below them, instances too: artifact.n.01"
    )
    depth: Depth = Field(
        Range(), description="keep to synsets so many steps below the top of their tree, MIN-MAX: 3-7, 3-, -7 or 5"
    )
    lower: bool = Field(False, description="lower-case the words")

    @model_validator(mode="before")
    @classmethod
    def _official(cls, values: Any) -> Any:
        """``official`` sets what is not given: first lemmas, lower-cased, without animals and food."""
        if isinstance(values, dict) and values.get("preset") == "official":
            return {"lemmas": "first", "exclude": OFFICIAL_EXCLUDE, "lower": True, **values}
        return values


@cache
def packaged_data() -> Path:
    """A private copy of the packaged WordNet 3.0 in nltk's layout, which goes with the process.

    nltk refuses data that another account could have written: a checkout under umask 002, an environment of another
    user's, a file with hard links (as uv and conda install). The package is trusted as its own code is, so its data
    are copied to where nltk's rule holds.
    """
    packaged = Path(__file__).parent / "nltk_data" / "corpora" / "wordnet.zip"
    private = Path(tempfile.mkdtemp(prefix="neglabel-wordnet-"))
    atexit.register(shutil.rmtree, private, ignore_errors=True)
    (private / "corpora").mkdir(mode=0o700)
    copy = private / "corpora" / "wordnet.zip"
    shutil.copyfile(packaged, copy)
    copy.chmod(0o600)
    return private


@cache
def reader() -> Any:
    """nltk's WordNet reader. Raises NeglabelError where the data found first can't be read."""
    import nltk.data
    from nltk.corpus import wordnet

    if str(packaged_data()) not in nltk.data.path:
        nltk.data.path.append(str(packaged_data()))
    try:
        wordnet.ensure_loaded()
        wordnet.get_version()
    except _UNREADABLE as error:
        raise _damaged(error) from None
    return wordnet


@cache
def lexicographer_files() -> tuple[str, ...]:
    """Names of WordNet's lexicographer files (``noun.animal``, …)."""
    return tuple(reader()._lexnames)


def check(options: Options) -> None:
    """Raises UsageError for a lexicographer file or a synset that WordNet doesn't have."""
    for name in (*options.exclude, *options.include):
        if name not in lexicographer_files():
            letters = [POS_NAMES[p][:3] for p in options.pos]
            valid = ", ".join(n for n in lexicographer_files() if n[:3] in letters)
            raise UsageError(f"corpus wordnet: no lexicographer file `{name}`; valid: {valid}")
    try:
        Lineage(reader(), options.domain, options.depth)
    except _UNREADABLE as error:
        raise _damaged(error) from None


def expected(options: Options) -> int | None:
    """Lemmas of the parts of speech asked for; None where only some synsets or lemmas count."""
    if options.lemmas == "first" or options.exclude or options.include or options.domain or options.depth.limits:
        return None
    return sum(1 for letter in options.pos for _ in reader().all_lemma_names(letter))


def provenance(options: Options) -> dict[str, Any]:
    """The version that was found."""
    return {"version": reader().get_version()}


def candidates(options: Options, on_reject: OnReject) -> Iterator[Candidate]:
    """Each word once a part of speech, at the first synset (in WordNet's file order) that has it.

    ``key`` is the synset's name (``dog.n.01``), ``gloss`` its definition, ``source`` ``wordnet-3.0``; underscores
    become spaces, which is what WordNet means by them.
    """
    from nltk.corpus.reader.wordnet import WordNetError

    check(options)
    wordnet = reader()
    source = f"wordnet-{wordnet.get_version()}"
    lineage = Lineage(wordnet, options.domain, options.depth)
    try:
        for letter in options.pos:
            seen: set[str] = set()
            for number, synset in enumerate(wordnet.all_synsets(letter)):
                if number % _FORGET == 0:
                    _forget_synsets(wordnet)
                lexname = synset.lexname()
                if lexname in options.exclude or (options.include and lexname not in options.include):
                    continue
                if not lineage.holds(synset):
                    continue
                names = synset.lemma_names()
                for name in names if options.lemmas == "all" else names[:1]:
                    if name.lower() in seen:
                        continue
                    seen.add(name.lower())
                    text = name.replace("_", " ")
                    yield Candidate(
                        text.lower() if options.lower else text, POS_NAMES[letter], "en", source, synset.name(),
                        synset.definition() or "",
                    )  # fmt: skip
        _forget_synsets(wordnet)
    except (*_UNREADABLE, WordNetError) as error:
        raise _damaged(error) from None


def _damaged(error: BaseException) -> NeglabelError:
    reason = (str(error).strip().splitlines() or [""])[0].strip("* ")[:200] or type(error).__name__
    return NeglabelError(
        f"WordNet can't be read ({reason}); mend or remove the `corpora/wordnet` found through NLTK_DATA"
    )


def _forget_synsets(wordnet: Any) -> None:
    """Empty nltk's cache of synsets, which would hold all of WordNet (225 MB) by the end of a stream."""
    for synsets in getattr(wordnet, "_synset_offset_cache", {}).values():
        synsets.clear()
