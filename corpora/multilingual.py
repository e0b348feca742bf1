"""Words of the Open Multilingual Wordnet, in any of its languages, found through nltk.

Both layouts are read: ``corpora/omw-2.0`` (nltk 3.10) and ``corpora/omw-1.4``, unpacked or as the zip that nltk's
downloader leaves.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Any, Literal
from zipfile import BadZipFile

from pydantic import Field

from neglabel import UsageError
from neglabel.corpora.candidate import POS_NAMES, Candidate, OnReject, Rejection
from neglabel.corpora.languages import bcp47
from neglabel.corpora.lines import MAX_LINE
from neglabel.corpora.nltk_lookup import find, unreadable
from neglabel.corpora.spec import Letters, Names
from neglabel.corpora.spec import Options as _Options

LICENCE = "each language's own (wordnet, CC BY, CC BY-SA, CeCILL-C, …); `languages` names it"
SOURCE = "Open Multilingual Wordnet, https://omwn.org"
TYPICAL_SIZE = "5,000 to 150,000 words a language, some 30 languages"
HOW_TO_GET = (
    "python -m nltk.downloader omw-2.0 (nltk before 3.10: omw-1.4), or put it into `corpora/` of the folder that "
    "NLTK_DATA names"
)

_RELEASES = ("omw-2.0", "omw-1.4")
_FILE = re.compile(r"(?:.*/)?wn-data-([a-z]{3})\.tab")
_SYNSET = re.compile(r"\d{8}-[nvasr]", re.ASCII)
_DAMAGED = (OSError, EOFError, BadZipFile, zlib.error, ValueError, LookupError)


class Options(_Options):
    """Options of the ``multilingual`` corpus."""

    language: Names = Field(description="languages in the order given, as BCP 47 or ISO 639-3: fr, fra, zh+ar")
    pos: Letters = Field(
        ("n", "a"), description="parts of speech, in the order given: n, a (satellites included), v, r"
    )
    release: Literal["omw-2.0", "omw-1.4"] | None = Field(
        None, description="omw-2.0 or omw-1.4; by default the first of them that is there"
    )


def check(options: Options) -> None:
    """Raises UsageError where the data or a language is missing, NeglabelError where nltk can't read them."""
    _Data(options)


def expected(options: Options) -> int | None:
    """Not known without reading the files."""
    return None


def provenance(options: Options) -> dict[str, Any]:
    """The release, and of each language its wordnet and licence, as the first line of its file says."""
    data = _Data(options)
    about = {}
    for code, file in data.chosen:
        head = next(data.lines(file), b"").decode("utf-8", "replace").removeprefix("#").strip().split("\t")
        about[bcp47(code)] = {"name": head[0], "licence": head[3].strip() if len(head) > 3 else ""}
    return {"release": data.release, "languages": about}


def candidates(options: Options, on_reject: OnReject) -> Iterator[Candidate]:
    """Each word once a language and part of speech, in the order of its file.

    ``key`` is the synset as the file names it (``02084071-n``: offset in WordNet 3.0), ``source`` the release and the
    file's language (``omw-2.0/fra``). Roots, plurals, definitions and examples are passed over.
    """
    data = _Data(options)
    for code, file in data.chosen:
        source, language = f"{data.release}/{code}", bcp47(code)
        labels = ("lemma", f"{code}:lemma")
        for turn, letter in enumerate(options.pos):
            seen: set[str] = set()
            letters = ("a", "s") if letter == "a" else (letter,)
            for number, raw in enumerate(data.lines(file), 1):
                line = raw.decode("utf-8", "surrogateescape")
                synset, _, rest = line.partition("\t")
                label, tab, word = rest.partition("\t")
                if line.startswith("#") or not line.strip():
                    continue
                if not _SYNSET.fullmatch(synset) or not tab:
                    if turn == 0:
                        on_reject(Rejection(line, "malformed-row", source, str(number)))
                    continue
                if label not in labels or synset[-1] not in letters:
                    continue
                text = _word(word, language)
                if text.lower() not in seen:
                    seen.add(text.lower())
                    yield Candidate(text, POS_NAMES[letter], language, source, synset)


def _word(lemma: str, language: str) -> str:
    text = lemma.strip().replace("_", " ")
    # The Chinese Open Wordnet marks a particle that isn't part of the stem: 红+的.
    return text.replace("+的", "的").replace("+地", "地") if language == "zh" else text


class _Data:
    """The files of the languages asked for, of the release that is there."""

    def __init__(self, options: Options) -> None:
        from nltk.corpus.reader import CorpusReader

        releases = (options.release,) if options.release else _RELEASES
        resource, root = find([f"corpora/{release}" for release in releases], "multilingual")
        self._resource = resource
        self.release = resource.rpartition("/")[2]
        try:
            # Without an encoding nltk gives bytes: one bad line is rejected instead of ending the file.
            self._reader = CorpusReader(root, _FILE.pattern, encoding=None)
            files = list(self._reader.fileids())
        except _DAMAGED as error:
            raise unreadable(resource, "multilingual", error) from None
        there: dict[str, str] = {}
        for file in sorted(files):
            found = _FILE.fullmatch(file)
            # Where two wordnets are of one language, the one in the folder of that name is meant.
            if found and (found[1] not in there or file.split("/")[-2:-1] == [found[1]]):
                there[found[1]] = file
        self.chosen = [self._choose(name, there) for name in options.language]

    def _choose(self, name: str, there: dict[str, str]) -> tuple[str, str]:
        wanted = name.strip().lower().replace("_", "-")
        for code in there:
            if wanted in (code, bcp47(code).lower()):
                return code, there[code]
        english = "; English is the corpus `wordnet`" if wanted in ("en", "eng") else ""
        valid = ", ".join(sorted(f"{bcp47(code)} ({code})" for code in there)) or "none"
        raise UsageError(f"corpus multilingual: no language `{name}` in {self.release}; valid: {valid}{english}")

    def lines(self, file: str) -> Iterator[bytes]:
        """Lines of a file without their ends; what is longer than any word is cut into several."""
        try:
            with self._reader.open(file) as stream:
                while line := stream.readline(MAX_LINE):
                    yield line.rstrip(b"\r\n")
        except _DAMAGED as error:
            raise unreadable(f"{self._resource}/{file}", "multilingual", error) from None
