"""The ``datasets`` library and the Hugging Face hub for pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from neglabel.corpora import hub_access
from neglabel.corpora.hub_access import answers as answers


def loaded(spec: str, load: Callable[[], Any], offline: bool = False) -> Any:
    """Run ``load`` quietly and say in one sentence what went wrong.

    Args:
        offline: take what the hub's cache holds, without asking the hub.

    Raises:
        UsageError, NeglabelError: as :func:`neglabel.corpora.hub_access.loaded`.
    """
    wanted = hub_access.Wanted(spec, "image files", "download the pictures and name their folder instead")
    with hub_access.quiet(), hub_access.offline(offline):
        return hub_access.loaded(wanted, load)
