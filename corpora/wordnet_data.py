"""WordNet's data, in the version asked for, and nltk's reader of them.

Without a version it is what nltk finds as ``corpora/wordnet`` (``NLTK_DATA`` first), and last what this package holds:
WordNet 3.0. A version that has its own name in nltk's data is looked for under that name.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any, Literal

from neglabel import NeglabelError
from neglabel.corpora.nltk_lookup import find

Version = Literal["3.0", "3.1", "2021", "2022"]

#: nltk's names of the versions that aren't in this package.
RESOURCES: dict[str, str] = {"3.1": "wordnet31", "2021": "wordnet2021", "2022": "wordnet2022"}
PRINCETON = ("WordNet 3.0 licence (Princeton): free use, notice kept", "Princeton WordNet, https://wordnet.princeton.edu")
#: Licence and source where they are others than of 3.0.
_ABOUT = {
    "3.1": ("WordNet 3.1 licence (Princeton): free use, notice kept", PRINCETON[1]),
    "2021": ("CC BY 4.0, and WordNet's licence (Princeton)", "Open English WordNet 2021, https://en-word.net"),
    "2022": ("CC BY 4.0, and WordNet's licence (Princeton)", "Open English WordNet 2022, https://en-word.net"),
}
#: What nltk raises on files that are none of WordNet's: its parser has no error of its own for them.
UNREADABLE = (LookupError, OSError, ValueError, AttributeError, TypeError, StopIteration, AssertionError)


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
def reader(version: Version | None = None) -> Any:
    """nltk's WordNet reader.

    Args:
        version: ``3.0`` is the packaged one; None is what nltk finds first.

    Raises:
        UsageError: the version isn't in nltk's data.
        NeglabelError: the data can't be read.
    """
    try:
        found = _reader(version)
        found.get_version()
    except NeglabelError:
        raise
    except UNREADABLE as error:
        raise damaged(error, version) from None
    return found


@cache
def lexicographer_files(version: Version | None = None) -> tuple[str, ...]:
    """Names of WordNet's lexicographer files (``noun.animal``, …)."""
    return tuple(reader(version)._lexnames)


def version_of(version: Version | None) -> str:
    """The version that the data name; where they name none, the one asked for."""
    return str(reader(version).get_version() or version or "unknown")


def about(version: Version | None) -> dict[str, str]:
    """``version``, and ``licence`` and ``source`` where they are others than of WordNet 3.0."""
    found = version_of(version)
    known = _ABOUT.get(version or "") or _ABOUT.get(found.rstrip("+"))
    return {"version": found, **({"licence": known[0], "source": known[1]} if known else {})}


def damaged(error: BaseException, version: Version | None) -> NeglabelError:
    """The one sentence for data that are there and can't be read."""
    reason = (str(error).strip().splitlines() or [""])[0].strip("* ")[:200] or type(error).__name__
    place = f"corpora/{RESOURCES.get(version or '', 'wordnet')}"
    return NeglabelError(f"WordNet can't be read ({reason}); mend or remove the `{place}` found through NLTK_DATA")


def forget_synsets(wordnet: Any) -> None:
    """Empty nltk's cache of synsets, which would hold all of WordNet (225 MB) by the end of a stream."""
    for synsets in getattr(wordnet, "_synset_offset_cache", {}).values():
        synsets.clear()


def _reader(version: Version | None) -> Any:
    import nltk.data

    # nltk opens no archive outside its path. Last, so that what the user has is found first.
    if str(packaged_data()) not in nltk.data.path:
        nltk.data.path.append(str(packaged_data()))
    from nltk.corpus.reader import WordNetCorpusReader

    class Reader(WordNetCorpusReader):  # type: ignore[misc]
        """Without the map to other versions' synsets, which only translations need and which takes half the time."""

        def map_wn(self, version: str = "wordnet") -> None:
            return None

    if version == "3.0":
        root = nltk.data.find("corpora/wordnet.zip/wordnet/", paths=[str(packaged_data())])
    else:
        root = find([f"corpora/{RESOURCES[version] if version else 'wordnet'}"], "wordnet")[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are no translations
        return Reader(root, None)
