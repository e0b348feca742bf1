"""A stage's settings → the parameters of its command: every option is written once, in the settings."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.markup import escape

from neglabel.corpora.uri import Remote
from neglabel.pipeline.completion import completion

JSON_HELP = "Print the summary as JSON on stdout."
QUIET_HELP = "No progress and no summary, only warnings."
_METAVARS: dict[Any, str] = {int: "INT", Path: "PATH"}
#: Options of every stage that are no settings.
EXTRA: Mapping[str, tuple[Any, Any]] = {
    "config": (Path | None, typer.Option(None, "--config", help="TOML file with these options; options win.")),
    "json": (bool, typer.Option(False, "--json", help=JSON_HELP)),
    "quiet": (bool, typer.Option(False, "--quiet", "-q", help=QUIET_HELP)),
}


def parameters(kind: type[BaseModel]) -> list[inspect.Parameter]:
    """The parameters of a command: the fields of ``kind``, then :data:`EXTRA`; None means "not given"."""
    positional = getattr(kind, "argument", None)
    found = [_parameter(name, field, name == positional) for name, field in kind.model_fields.items()]
    return found + [_keyword(name, default, annotation) for name, (annotation, default) in EXTRA.items()]


def _parameter(name: str, field: FieldInfo, argument: bool) -> inspect.Parameter:
    kind, choices = _cli_type(field)
    place = kind is str and _is_place(field.annotation)
    help_text = field.description or ""
    if field.is_required():
        help_text += " (required)"
    elif field.default not in (None, (), {}) and not argument:
        value = " ".join(field.default) if isinstance(field.default, tuple) else field.default
        help_text += f" (default: {value})"
    help_text = escape(help_text)  # else a `[ray]` is taken for a style, and not shown
    if argument:
        return _keyword(
            name, typer.Argument(None, help=help_text, metavar=name.upper(), show_default=False), kind | None
        )
    flag = "--" + name.replace("_", "-")
    flags = [f"{flag}/--no-{flag[2:]}"] if kind is bool else [flag]
    metavar = None if kind is bool else "|".join(choices) or ("PATH|URI" if place else _METAVARS.get(kind, "TEXT"))
    option = typer.Option(
        None, *flags, help=help_text, metavar=metavar, show_default=False,
        autocompletion=completion(name, choices, place),
    )  # fmt: skip
    return _keyword(name, option, kind | None)


def _keyword(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _cli_type(field: FieldInfo) -> tuple[Any, list[str]]:
    """The type an option is read as (pydantic validates it), and the values it is limited to."""
    kind: Any = field.annotation
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(a for a in get_args(kind) if a is not type(None))
        kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    origin = get_origin(kind)
    if origin is Literal:
        return str, [str(a) for a in get_args(kind)]
    if origin is tuple or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return list[str], []
    # As text where it may be a URI, whose two slashes a path would lose.
    return (kind, []) if kind in (int, bool) or (kind is Path and not _is_place(field.annotation)) else (str, [])


def _is_place(kind: Any) -> bool:
    """Whether a value may be a path or a URI."""
    return kind is Remote or any(_is_place(arm) for arm in get_args(kind))
