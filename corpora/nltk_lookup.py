"""Data of nltk's, found as nltk finds it (``NLTK_DATA`` first), and one sentence where they can't be used."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any
from zipfile import BadZipFile

from neglabel import NeglabelError, UsageError


def find(resources: Sequence[str], corpus: str) -> tuple[str, Any]:
    """The first of ``resources`` (``corpora/omw-2.0``) that is there: its name, and nltk's pointer to it.

    Raises:
        NeglabelError: nltk refuses what is there, because another account could have written it, or can't read it.
        UsageError: it is nowhere.
    """
    import nltk.data

    refused: list[str] = []
    for resource in resources:
        for name in (resource, f"{resource}.zip/{resource.rpartition('/')[2]}/"):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # nltk warns of what the sentence below says
                    return resource, nltk.data.find(name)
            except LookupError as error:
                refused += [str(path) for path in getattr(error, "_nltk_refused_writable", ())]
                refused += [str(path) for path, _ in getattr(error, "_nltk_found_but_unreadable", ())]
            except (OSError, ValueError, BadZipFile) as error:
                raise unreadable(resource, corpus, error) from None
    if refused:
        raise NeglabelError(
            f"corpus {corpus}: nltk refuses {refused[0]}, which another account could have written or this one can't "
            f"read; make it your own (`chmod -R go-w {refused[0]}`)"
        )
    packages = [resource.rpartition("/")[2] for resource in resources]
    folder = resources[0].rpartition("/")[0]
    raise UsageError(
        f"corpus {corpus}: no {' or '.join(packages)} in nltk's data; run `python -m nltk.downloader {packages[0]}`, "
        f"or put it into `{folder}/{packages[0]}` of the folder that NLTK_DATA names"
    )


def unreadable(resource: str, corpus: str, error: BaseException) -> NeglabelError:
    """The one sentence for data that are there and can't be read."""
    reason = next((line.strip("* ") for line in str(error).splitlines() if line.strip("* ")), type(error).__name__)
    return NeglabelError(f"corpus {corpus}: {resource} of nltk's data can't be read ({reason}); get it again")
