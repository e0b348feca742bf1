"""How an option's value is read, on the command line and in TOML alike; the base of all settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from neglabel.corpora.uri import Location, Remote
from neglabel.pipeline.named_labels import NamedLabels

__all__ = [
    "Convention", "Device", "Location", "Many", "NumberPairs", "Pairs", "Share", "StageSettings", "Templates",
    "Weights",
]  # fmt: skip

Device = Literal["auto", "cpu", "cuda"]
#: Of FPR95 (:func:`neglabel.pipeline.metrics.fpr95`). The last serves to match the NegLabel authors' figures.
Convention = Literal["id-positive", "ood-positive", "nearest-recall"]
#: What no file system of the common three has in a name; a leading dot would hide the file.
UNSAFE = re.compile(r'[\x00-\x1f/\\<>:"|?*]|^\.|[. ]$')
#: Share in [0, 1]; a whole percentage is the usual slip, so its refusal says what was meant.
Share = Annotated[float, BeforeValidator(lambda v: _share(v))]


def _share(value: Any) -> Any:
    if not isinstance(value, (int, float, str)):
        raise ValueError(f"is a number, got {value!r}")
    number = float(value)
    if 1 < number <= 100:
        raise ValueError(f"is a share between 0 and 1, not a percentage; did you mean {number / 100:g}?")
    if not 0 <= number <= 1:
        raise ValueError(f"is a share between 0 and 1, got {value}")
    return number


def _pairs(value: Any) -> Any:
    """``["a=b", ...]`` (command line), ``"a=b"`` or ``{a = "b"}`` (TOML) → dict."""
    items = (value,) if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)):
        return value
    pairs: dict[str, str] = {}
    for item in items:
        key, equals, rest = str(item).partition("=")
        if not equals or not key.strip() or not rest.strip():
            raise ValueError(f"is NAME=VALUE, got {item!r}")
        if key.strip() in pairs:
            raise ValueError(f"names {key.strip()!r} twice")
        pairs[key.strip()] = rest.strip()
    return pairs


def _templates(value: Any) -> Any:
    """As :func:`_pairs`, but a template alone (no ``key=`` before its ``{}``) is for all words: key ``""``."""
    items = (value,) if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)):
        return value
    templates: dict[str, str] = {}
    for item in items:
        key, equals, rest = str(item).partition("=")
        keyed = bool(equals) and key.strip().replace(":", "").replace("-", "").isalnum()
        name, template = (key.strip(), rest) if keyed else ("", str(item))
        if name in templates:
            raise ValueError(f"is given twice for {name or 'all words'}")
        templates[name] = template
    return templates


def _weights(value: Any) -> Any:
    """``3+1+1``, ``["3", "1+1"]`` (command line), ``[3, 1, 1]`` or ``3`` (TOML) → positive numbers."""
    items = value if isinstance(value, (list, tuple)) else (value,)
    parts = [part for item in items for part in (item.split("+") if isinstance(item, str) else (item,))]
    try:
        numbers = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        raise ValueError(f"takes a number for each corpus, as in 3+1+1, not {value!r}") from None
    for number in numbers:
        if not 0 < number < float("inf"):
            raise ValueError(f"takes a positive number for each corpus, not {number:g}")
    return numbers


Pairs = Annotated[Mapping[str, str], BeforeValidator(_pairs)]
NumberPairs = Annotated[Mapping[str, float], BeforeValidator(_pairs)]
Templates = Annotated[Mapping[str, str], BeforeValidator(_templates)]
Weights = Annotated[tuple[float, ...], BeforeValidator(_weights)]
#: One value or several: a TOML file may say ``x = "a"`` for ``x = ["a"]``.
Many = BeforeValidator(lambda v: (v,) if isinstance(v, (str, Path, Remote, NamedLabels, dict)) else v)


class StageSettings(BaseModel):
    """Base of all settings: frozen, nothing unknown."""

    #: The option that the command line takes as its arguments.
    argument: ClassVar[str | None] = None
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())
