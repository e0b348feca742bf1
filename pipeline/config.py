"""Options, a TOML file and defaults → one settings object; and back into a TOML file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from pydantic import BaseModel, ValidationError

from neglabel import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Settings = TypeVar("Settings", bound=BaseModel)
#: Of these, one given on the command line replaces the other in the file.
EXCLUSIVE = (("top", "top_share"), ("sample", "limit"))


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dict. Raises UsageError where it can't be read or parsed."""
    try:
        with open(path, "rb") as file:
            values: dict[str, Any] = tomllib.load(file)
            return values
    except OSError as error:
        raise UsageError(f"can't read config {path}: {error.strerror}; give a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"config {path} is not valid TOML: {error}") from None


def make(kind: type[Settings], given: Mapping[str, Any], config: Path | None = None) -> Settings:
    """``given`` over the values of ``config`` over the defaults of ``kind``.

    Keys may be spelled with ``-`` or ``_``; ``None`` and empty lists in ``given`` mean "not given".

    Raises:
        UsageError: an unknown key or a value out of range, naming the option and where it was written.
    """
    values = {key.replace("-", "_"): value for key, value in (read_toml(config) if config else {}).items()}
    from_file = set(values)
    overrides = {k: v for k, v in given.items() if v is not None and v != [] and v != ()}
    for one, other in EXCLUSIVE:
        if one in overrides:
            values.pop(other, None)
        if other in overrides:
            values.pop(one, None)
    values.update(overrides)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        in_file = config is not None and name in from_file and name not in overrides
        raise UsageError(_sentence(kind, name, first, f" in {config}" if in_file else "")) from None


def _sentence(kind: type[BaseModel], name: str, error: Any, where: str) -> str:
    positional = name and name == getattr(kind, "argument", None)
    option = name.upper() if positional else "--" + name.replace("_", "-") if name else "the options"
    if error["type"] == "extra_forbidden":
        return f"unknown option `{name}`{where}; valid: {', '.join(sorted(kind.model_fields))}"
    if error["type"] == "missing":
        return f"{option} is required{where}: {kind.model_fields[name].description}; see --help"
    message = error["msg"].removeprefix("Value error, ")
    got = "" if error["type"] == "value_error" else f", got {error['input']!r}"
    return f"{option}{where}: {message[0].lower()}{message[1:]}{got}"


def dump(settings: BaseModel) -> str:
    """Settings as TOML that :func:`make` reads back from any folder: paths are absolute, unset options left out."""
    values = settings.model_dump(exclude_none=True)
    return tomli_w.dumps({key: _plain(value) for key, value in values.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value.absolute()) if isinstance(value, Path) else value
