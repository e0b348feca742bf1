"""The ``datasets`` library and the Hugging Face hub, quietly and without long waits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from neglabel import NeglabelError, UsageError

#: Seconds that the hub has to answer whether it knows a data set.
TIMEOUT = 10.0
#: Who writes retries, addresses and advice to stderr while a data set loads.
_TALKERS = ("datasets", "fsspec", "httpx", "httpx2", "huggingface_hub", "urllib3")


def answers(name: str) -> bool:
    """Whether the hub can be asked; one try, since its library's own retries take half a minute."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    with _quiet():
        try:
            HfApi().dataset_info(name, timeout=TIMEOUT)
        except (HfHubHTTPError, HFValidationError):
            return True  # that is an answer, which `datasets` gets as well
        except Exception:  # the HTTP library of the day has its own
            return False
    return True


def loaded(spec: str, load: Callable[[], Any], offline: bool = False) -> Any:
    """Run ``load`` and say in one sentence what went wrong; its own messages name addresses and stack upon stack.

    Args:
        offline: take what the hub's cache holds, without asking the hub (as with ``HF_HUB_OFFLINE=1``).
    """
    import datasets

    try:
        with _quiet(), _offline(offline):
            return load()
    except datasets.exceptions.DatasetNotFoundError:
        raise UsageError(f"{spec}: there is no such data set (or it needs an account); check the name") from None
    except datasets.data_files.EmptyDatasetError:
        raise UsageError(f"{spec} holds no image files") from None
    except ConnectionError:
        raise NeglabelError(
            f"{spec}: the Hugging Face hub can't be reached; download the pictures and name their folder instead"
        ) from None
    except Exception as error:
        first = (str(error).splitlines() or [""])[0][:200]
        raise NeglabelError(f"{spec} can't be read by `datasets`: {type(error).__name__}: {first}") from None


@contextmanager
def _offline(wanted: bool) -> Iterator[None]:
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
def _quiet() -> Iterator[None]:
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
