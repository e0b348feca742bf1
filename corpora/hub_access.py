"""The Hugging Face hub and its libraries: quietly, without long waits, and one sentence for what goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from neglabel import NeglabelError, UsageError

#: Seconds that the hub has to answer whether it knows a name.
TIMEOUT = 10.0
#: Who writes retries, addresses and advice to stderr while something loads.
_TALKERS = ("datasets", "fsspec", "httpx", "httpx2", "huggingface_hub", "transformers", "urllib3")
#: Of `datasets`' messages, those that say that what was asked for isn't there.
_ASKED_WRONGLY = ("BuilderConfig", "Unknown split", "Bad split")


class Wanted(NamedTuple):
    """A data set for which `datasets` is asked, and the words for what can go wrong.

    Attributes:
        what: how an error names it: ``corpus hf: OWNER/NAME``.
        files: what it must hold: ``image files``.
        instead: what helps where the hub can't be reached.
        remote: whether it is on the hub, not a folder.
        revision: the revision that was asked for.
    """

    what: str
    files: str
    instead: str
    remote: bool = True
    revision: str | None = None


def loaded(wanted: Wanted, load: Callable[[], Any]) -> Any:
    """Run ``load`` and say in one sentence what went wrong; its own messages name addresses, stack upon stack.

    Raises:
        UsageError: no such data set, configuration, split or revision, or it is empty.
        NeglabelError: the hub can't be reached, or what is there can't be read.
    """
    import datasets
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    what = wanted.what
    try:
        return load()
    except NeglabelError:
        raise
    except StopIteration:  # what `datasets` lets through where a file is empty
        raise UsageError(f"{what} holds no rows") from None
    except RevisionNotFoundError:
        raise UsageError(f"{what} has no revision `{wanted.revision}`; name a commit, tag or branch of it") from None
    except (datasets.exceptions.DatasetNotFoundError, RepositoryNotFoundError, HFValidationError):
        raise UsageError(f"{what}: there is no such data set (or it needs an account); check the name") from None
    except datasets.data_files.EmptyDatasetError:
        raise UsageError(f"{what} holds no {wanted.files}") from None
    except Exception as error:
        if is_network(error) and wanted.remote and not isinstance(error, HfHubHTTPError):
            raise NeglabelError(f"{what}: the Hugging Face hub can't be reached; {wanted.instead}") from None
        first = first_line(error)
        if isinstance(error, ValueError) and first.startswith(_ASKED_WRONGLY):
            raise UsageError(f"{what}: {first}") from None
        raise NeglabelError(f"{what} can't be read by `datasets`: {type(error).__name__}: {first}") from None


def answers(name: str, kind: Literal["dataset", "model"] = "dataset") -> bool:
    """Whether the hub can be asked; one try, since its library's own retries take half a minute."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    with quiet():
        try:
            if kind == "dataset":
                HfApi().dataset_info(name, timeout=TIMEOUT)
            else:
                HfApi().model_info(name, timeout=TIMEOUT)
        except (HfHubHTTPError, HFValidationError):
            return True  # that is an answer, which the library that asks next gets as well
        except Exception:  # the HTTP library of the day has its own
            return False
    return True


def first_line(error: BaseException) -> str:
    """The first line of a message that says anything, at most 200 characters."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")[:200]


def is_network(error: BaseException | None) -> bool:
    """Whether it, or what it came from, is a connection that failed (``requests``, ``httpx``, offline mode)."""
    while error is not None:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if kinds & {"ConnectionError", "TransportError", "TimeoutError", "OfflineModeIsEnabled", "gaierror"}:
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def offline(wanted: bool) -> Iterator[None]:
    """Where ``wanted``, take what the hub's cache holds without asking the hub (as with ``HF_HUB_OFFLINE=1``)."""
    if not wanted:
        yield
        return
    import datasets
    import huggingface_hub

    switches: list[Any] = [huggingface_hub.constants, datasets.config]  # what HF_HUB_OFFLINE=1 sets
    before = [switch.HF_HUB_OFFLINE for switch in switches]
    for switch in switches:
        switch.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.HF_HUB_OFFLINE = value


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, and of what the libraries log only errors."""
    import datasets

    levels = {name: logging.getLogger(name).level for name in _TALKERS}
    bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    for name in levels:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if not bars:
            datasets.enable_progress_bars()
