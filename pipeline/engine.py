"""Where a stage's work is done: options of `encode`, `mine` and `score`, and whether Ray is there."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from neglabel import UsageError

Engine = Annotated[
    Literal["local", "ray"], Field(description="local: this machine; ray: a Ray cluster (pip install 'neglabel[ray]')")
]
Address = Annotated[
    str | None,
    Field(description="with --engine ray: the cluster, HOST:PORT or auto; default: RAY_ADDRESS, else Ray started here"),
]
ShardOf = Annotated[str | None, AfterValidator(lambda value: _shard_of(value))]


def _shard_of(value: str | None) -> str | None:
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", value.strip())
    if not found or not int(found[1]) < int(found[2]):
        raise ValueError(f"is I/N with I from 0 to N-1, as 0/4 and 3/4 of four parts, not {value!r}")
    return f"{int(found[1])}/{int(found[2])}"


def check_engine(engine: str, address: str | None) -> None:
    """Raises UsageError where Ray is asked for and not installed, or an address is given that nothing uses."""
    if engine == "ray" and find_spec("ray") is None:
        raise UsageError("--engine ray needs Ray, which is not installed; type: pip install 'neglabel[ray]'")
    if engine != "ray" and address is not None:
        raise UsageError(f"--address {address} is of --engine ray; add that, or leave --address out")
