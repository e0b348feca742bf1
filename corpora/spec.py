"""``name:key=value,…`` and the same as a TOML table → an adapter's options. One syntax, one error style."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from neglabel import UsageError
from neglabel.corpora.candidate import POS_NAMES
from neglabel.corpora.uri import is_uri, location

Spec = str | Mapping[str, Any]


class Options(BaseModel):
    """Base of an adapter's options: frozen, nothing unknown, lists written ``a+b`` on the command line."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def parse(spec: Spec, known: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A spec → the adapter's name and its options as written.

    A text whose head (before the first ``:``) is not in ``known`` is a file's path, possibly with options after the
    last ``:``.

    Raises:
        UsageError: neither a known corpus nor an existing file, or an option that isn't ``key=value``.
    """
    if not isinstance(spec, str):
        table = dict(spec)
        name = str(table.pop("name", "file" if "path" in table else ""))
        if name not in known:
            raise UsageError(f"corpus table {dict(spec)}: `name` must be one of {', '.join(known)}")
        return name, table
    head, _, tail = spec.partition(":")
    if head in known:
        return head, _options(spec, tail)
    if _is_there(spec):
        return "file", {"path": spec}
    path, colon, tail = spec.rpartition(":")
    # An option `path` would be another file: then the head is meant to be a corpus.
    # The last colon of a URI may be its endpoint's port.
    colon = colon if not is_uri(spec) or re.match(r"[a-z_-]+=", tail) else ""
    if colon and "=" in tail and _is_there(path) and "path" not in (options := _options(spec, tail)):
        return "file", {"path": path, **options}
    corpora = ", ".join(name for name in known if name != "file")
    missing = path if colon and "=" in tail else spec
    raise UsageError(f"no corpus or file `{missing}`; corpora: {corpora}; or the path of a file of words")


def _is_there(path: str) -> bool:
    try:
        return location(path).exists()
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise UsageError(f"corpus `{path[:100]}` can't be looked for ({error.strerror}); name another path") from None


def _options(spec: str, tail: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for part in filter(None, tail.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"corpus `{spec}`: `{part}` is not key=value")
        if key in options:
            raise UsageError(f"corpus `{spec}`: `{key}` is given twice")
        options[key] = value
    return options


def split_list(value: Any) -> Any:
    """``a+b`` → ("a", "b"), for options that take several values."""
    return tuple(value.split("+")) if isinstance(value, str) else value


def _known_letters(pos: tuple[str, ...]) -> tuple[str, ...]:
    for letter in pos:
        if letter not in POS_NAMES:
            raise ValueError(f"no part of speech `{letter}`; valid: {', '.join(POS_NAMES)}")
    return pos


#: Several values: ``a+b`` on the command line, a list in TOML.
Names = Annotated[tuple[str, ...], BeforeValidator(split_list)]
#: Parts of speech as WordNet's letters.
Letters = Annotated[Names, AfterValidator(_known_letters)]


def validate(name: str, kind: type[Options], values: Mapping[str, Any]) -> Options:
    """Options as written → the adapter's model. Raises UsageError naming the corpus, the option and what is valid."""
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "extra_forbidden":
            valid = ", ".join(kind.model_fields)
            raise UsageError(f"corpus {name} has no option `{option}`; valid: {valid}") from None
        if first["type"] == "missing":
            raise UsageError(f"corpus {name} needs `{option}`") from None
        message = first["msg"].removeprefix("Value error, ")
        if not option:
            raise UsageError(f"corpus {name} {message}") from None
        raise UsageError(f"corpus {name}, option `{option}`={first['input']!r}: {message}") from None
