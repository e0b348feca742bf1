"""Words of WordNet, read through nltk."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from neglabel import UsageError
from neglabel.corpora.candidate import POS_NAMES, Candidate, OnReject
from neglabel.corpora.spec import Letters, Names
from neglabel.corpora.spec import Options as _Options
from neglabel.corpora.subtree import Depth, Lineage, Range
from neglabel.corpora.wordnet_data import (
    PRINCETON,
    UNREADABLE,
    Version,
    about,
    damaged,
    forget_synsets,
    lexicographer_files,
    reader,
    version_of,
)  # fmt: skip

LICENCE, SOURCE = PRINCETON
TYPICAL_SIZE = "117,798 nouns and 21,479 adjectives, 11,529 verbs, 4,481 adverbs (3.0)"
HOW_TO_GET = (
    "3.0 is in this package; others: python -m nltk.downloader wordnet31 (wordnet2021, wordnet2022), or put it into "
    "`corpora/` of the folder that NLTK_DATA names"
)

#: Synsets after which nltk's cache is emptied.
_FORGET = 1_024
#: What the authors' code leaves out (``preset=official``).
OFFICIAL_EXCLUDE = ("noun.animal", "noun.food")
#: What CSP leaves out (``preset=csp``), and the superclasses that it combines adjectives with.
CSP_EXCLUDE = ("noun.person", "noun.quantity", "noun.group", "adj.pert")
SUPERCLASSES = (
    "environment", "space", "object", "scene", "place", "item", "area", "view", "thing", "pattern", "structure",
    "landscape", "vista", "creature",
)  # fmt: skip


class Options(_Options):
    """Options of the ``wordnet`` corpus."""

    preset: Literal["paper", "official", "csp"] = Field(
        "paper", description="official: first lemmas, lower-cased, without noun.animal and noun.food; csp: the same, "
        "without noun.person, noun.quantity, noun.group and adj.pert instead, adjectives combined"
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
    combine: bool = Field(
        False, description="combine each adjective with one of CSP's 14 superclasses: `silky` becomes `silky object`"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="of the superclasses")
    lower: bool = Field(False, description="lower-case the words")
    version: Version | None = Field(
        None, description="3.0 (packaged), 3.1, 2021 or 2022; by default what NLTK_DATA has as `wordnet`, else 3.0"
    )

    @field_validator("version", mode="before")
    @classmethod
    def _written_as_a_number(cls, value: Any) -> Any:
        """TOML has ``version = 3.1`` too."""
        return str(value) if isinstance(value, (int, float)) else value

    @model_validator(mode="before")
    @classmethod
    def _published(cls, values: Any) -> Any:
        """``official`` and ``csp`` set what is not given."""
        if isinstance(values, dict) and values.get("preset") == "official":
            return {"lemmas": "first", "exclude": OFFICIAL_EXCLUDE, "lower": True, **values}
        if isinstance(values, dict) and values.get("preset") == "csp":
            return {"lemmas": "first", "exclude": CSP_EXCLUDE, "lower": True, "combine": True, **values}
        return values


def check(options: Options) -> None:
    """Raises UsageError for a lexicographer file or a synset that WordNet doesn't have."""
    for name in (*options.exclude, *options.include):
        if name not in lexicographer_files(options.version):
            letters = [POS_NAMES[p][:3] for p in options.pos]
            valid = ", ".join(n for n in lexicographer_files(options.version) if n[:3] in letters)
            raise UsageError(f"corpus wordnet: no lexicographer file `{name}`; valid: {valid}")
    wordnet = reader(options.version)
    try:
        Lineage(wordnet, options.domain, options.depth)
    except UNREADABLE as error:
        raise damaged(error, options.version) from None


def expected(options: Options) -> int | None:
    """Lemmas of the parts of speech asked for; None where only some synsets or lemmas count."""
    if options.lemmas == "first" or options.exclude or options.include or options.domain or options.depth.limits:
        return None
    return sum(1 for letter in options.pos for _ in reader(options.version).all_lemma_names(letter))


def provenance(options: Options) -> dict[str, Any]:
    """The version that was found, and its licence."""
    return about(options.version)


def superclass(adjective: str, seed: int) -> str:
    """One of CSP's superclasses by a keyed hash: for an adjective the same whatever else the corpus holds.

    Their code draws from Python's generator in the order of its files instead, so its phrases are others.
    """
    digest = blake2b(adjective.lower().encode(), digest_size=8, key=seed.to_bytes(8, "little")).digest()
    return SUPERCLASSES[int.from_bytes(digest, "little") % len(SUPERCLASSES)]


def candidates(options: Options, on_reject: OnReject) -> Iterator[Candidate]:
    """Each word once a part of speech, at the first synset (in WordNet's file order) that has it.

    ``key`` is the synset's name (``dog.n.01``), ``gloss`` its definition, ``source`` ``wordnet-3.0``; underscores
    become spaces, which is what WordNet means by them.
    """
    from nltk.corpus.reader.wordnet import WordNetError

    check(options)
    wordnet = reader(options.version)
    source = f"wordnet-{version_of(options.version)}"
    lineage = Lineage(wordnet, options.domain, options.depth)
    try:
        for letter in options.pos:
            seen: set[str] = set()
            for number, synset in enumerate(wordnet.all_synsets(letter)):
                if number % _FORGET == 0:
                    forget_synsets(wordnet)
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
                    if options.combine and letter == "a":
                        text = f"{text} {superclass(text, options.seed)}"
                    yield Candidate(
                        text.lower() if options.lower else text, POS_NAMES[letter], "en", source, synset.name(),
                        synset.definition() or "",
                    )  # fmt: skip
        forget_synsets(wordnet)
    except (*UNREADABLE, WordNetError) as error:
        raise damaged(error, options.version) from None
