"""Whether what a scores folder says beside its scores has the shape that tables, figures and pages take it to have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import pyarrow as pa
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from neglabel import NeglabelError
from neglabel.corpora.uri import Location

_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Table = dict[str, Any] | None


class _Manifest(TypedDict, total=False):
    settings: _Table
    model: _Table
    versions: _Table
    time: dict[str, _Number] | None


class _Histogram(TypedDict):
    edges: list[_Number]
    all: list[_Number]
    kept: list[_Number]


class _Near(TypedDict, total=False):
    text: str | None
    pos: str | None
    distance: _Number | None
    nearest_label: str | None
    nearest_cosine: _Number | None


class _Mined(TypedDict, total=False):
    settings: _Table
    model: _Table
    labels: _Table
    counts: _Table
    histogram: _Histogram | None
    nearest: list[_Near] | None


_MANIFEST, _MINED = TypeAdapter(_Manifest), TypeAdapter(_Mined)
_WORDS, _NUMBERS = ("text", "pos", "nearest_label"), ("rank", "distance", "nearest_cosine")


def check_manifest(manifest: Mapping[str, Any], path: Location) -> None:
    """Raises NeglabelError where a value of ``score``'s manifest is of another kind."""
    _check(_MANIFEST, manifest, path, "run `score` again")


def check_mined(table: pa.Table, metadata: Mapping[str, Any], path: Location) -> None:
    """Raises NeglabelError where columns of the negatives, or what ``mine`` said of them, are of another kind."""
    _check(_MINED, metadata, path, "run `mine` and `score` again")
    histogram = metadata.get("histogram")
    if histogram and not len(histogram["edges"]) - 1 == len(histogram["all"]) == len(histogram["kept"]):
        raise NeglabelError(f"{path} is damaged (histogram); run `mine` and `score` again")
    for field in table.schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        words = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        numbers = pa.types.is_floating(kind) or pa.types.is_integer(kind)
        if (field.name in _WORDS and not words) or (field.name in _NUMBERS and not numbers):
            raise NeglabelError(f"{path}: `{field.name}` is {kind}; run `score` again")


def _check(kind: TypeAdapter[Any], value: Mapping[str, Any], path: Location, remedy: str) -> None:
    try:
        kind.validate_python(value)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise NeglabelError(f"{path} is damaged ({where}); {remedy}") from None
