"""Whether what a scores folder says beside its scores has the shape that tables, figures and pages take it to have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from neglabel import NeglabelError
from neglabel.corpora.uri import Location

_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Floats = NDArray[np.float64]
_Table = dict[str, Any] | None


class _Manifest(TypedDict, total=False):
    settings: _Table
    model: _Table
    versions: _Table
    time: dict[str, _Number] | None


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
    nearest: list[_Near] | None


_MANIFEST, _MINED = TypeAdapter(_Manifest), TypeAdapter(_Mined)
_WORDS, _NUMBERS = ("text", "pos", "nearest_label"), ("rank", "distance", "nearest_cosine")


def check_manifest(manifest: Mapping[str, Any], path: Location) -> None:
    """Raises NeglabelError where a value of ``score``'s manifest is of another kind."""
    _check(_MANIFEST, manifest, path, "run `score` again")


def check_mined(table: pa.Table, metadata: Mapping[str, Any], path: Location) -> None:
    """Raises NeglabelError where columns of the negatives, or what ``mine`` said of them, are of another kind."""
    _check(_MINED, metadata, path, "run `mine` and `score` again")
    for field in table.schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        words = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        numbers = pa.types.is_floating(kind) or pa.types.is_integer(kind)
        if (field.name in _WORDS and not words) or (field.name in _NUMBERS and not numbers):
            raise NeglabelError(f"{path}: `{field.name}` is {kind}; run `score` again")


def histogram_of(metadata: Mapping[str, Any]) -> tuple[Floats, Floats, Floats] | None:
    """(B + 1,) edges, (B,) counts of all candidates and (B,) of those kept, of what ``mine`` said of the negatives.

    None where there is none, or one that nothing can be drawn from: it costs a figure, not the report.
    """
    try:
        edges, every, kept = (np.asarray(metadata["histogram"][key], np.float64) for key in ("edges", "all", "kept"))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if not edges.ndim == every.ndim == kept.ndim == 1 or not len(edges) - 1 == len(every) == len(kept) > 0:
        return None
    finite = all(np.isfinite(part).all() for part in (edges, every, kept))
    whole = finite and (np.diff(edges) > 0).all() and min(every.min(), kept.min()) >= 0 and every.sum() > 0
    return (edges, every, kept) if whole else None


def _check(kind: TypeAdapter[Any], value: Mapping[str, Any], path: Location, remedy: str) -> None:
    try:
        kind.validate_python(value)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise NeglabelError(f"{path} is damaged ({where}); {remedy}") from None
