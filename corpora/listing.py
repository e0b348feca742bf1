"""What there is to name: every adapter with its options, licence, size and how to get the data."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from neglabel.corpora import ADAPTERS
from neglabel.corpora.subtree import Range
from neglabel.corpora.uri import Remote


def list_corpora() -> dict[str, Any]:
    """Every adapter, in the registry's order; read from the adapters themselves.

    Returns:
        ``corpora``: a list of ``name, what, options, licence, source, typical_size, how_to_get``; an option is
        ``name, type, required, default`` (None where there is none) and ``help``.
    """
    return {"corpora": [_about(name, import_module(module)) for name, module in ADAPTERS.items()]}


def _about(name: str, adapter: Any) -> dict[str, Any]:
    return {
        "name": name,
        "what": " ".join((adapter.__doc__ or "").partition("\n\n")[0].replace("``", "`").split()),
        "options": [_option(option, field) for option, field in adapter.Options.model_fields.items()],
        "licence": adapter.LICENCE,
        "source": adapter.SOURCE,
        "typical_size": adapter.TYPICAL_SIZE,
        "how_to_get": adapter.HOW_TO_GET,
    }


def _option(name: str, field: FieldInfo) -> dict[str, Any]:
    required = field.is_required()
    return {
        "name": name,
        "type": _type(field.annotation),
        "required": required,
        "default": None if required else _written(field.default),
        "help": field.description or "",
    }


def _type(annotation: Any) -> str:
    """How an option's value is written in a spec."""
    arms = [arm for arm in get_args(annotation) if arm is not type(None)]
    if get_origin(annotation) is Literal:
        return "|".join(str(value) for value in arms if value != "")
    if annotation is Range:
        return "MIN-MAX"
    if get_origin(annotation) is tuple:
        return "A+B"
    if Remote in arms:
        return "PATH|URI"
    if arms:
        return _type(arms[0])
    return {int: "INT", bool: "true|false", Path: "PATH"}.get(annotation, "TEXT")


def _written(default: Any) -> Any:
    """A default as it would be written in a spec; None where nothing is said."""
    if isinstance(default, Range):
        return str(default) if default.limits else None
    if isinstance(default, tuple):
        return "+".join(default) or None
    return default if isinstance(default, (bool, int)) else default or None
