"""Options of ``sweep``, and the model of its files: a run file with axes or rows (docs/sweep.md)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from neglabel import UsageError
from neglabel.pipeline import config
from neglabel.pipeline.option_types import Many, StageSettings
from neglabel.pipeline.run_settings import RunSettings, local_folder

#: Tables of a run file: what stands in them has a dotted key.
STAGES = ("encode", "mine", "score", "report")
#: Names of a run file that a sweep has other means for.
_NOT_HERE = {
    "sources": "list them as the values of an axis with key = \"corpus\"",
    "source_candidates": "give encode.sample",
    "source_seed": "give encode.seed",
    "random_seeds": "give a row repeats = {\"mine.random\" = [0, 1, …]}",
    "out": "give --out",
}  # fmt: skip


class SweepSettings(StageSettings):
    """Every row of a table: grids and lists of runs from TOML files, with what they share computed once."""

    argument = "file"
    file: Annotated[tuple[Path, ...], Many] = Field(description="sweep files (docs/sweep.md)")
    out: Annotated[Path, BeforeValidator(local_folder)] = Field(description="folder of everything it writes")
    root: Annotated[Path, BeforeValidator(local_folder)] | None = Field(
        None, description="folder of the data sets that `dataset:NAME` names; default: the variable NEGLABEL_DATA"
    )
    small: bool = Field(False, description="the same on the embedded world, as the file's [small] says")
    only: Annotated[tuple[str, ...], Many] = Field((), description="rows of these names alone, or AXIS=VALUE")
    dry_run: bool = Field(False, description="write nothing: count rows and steps")
    page: bool = Field(True, description="also a page of each file's rows")

    @model_validator(mode="after")
    def _apart(self) -> SweepSettings:
        stems = [path.stem.casefold() for path in self.file]
        for stem in stems:
            if stems.count(stem) > 1:
                raise ValueError(f"two files are called {stem}, and would write into one folder; rename one")
            if stem in RESERVED:
                raise ValueError(f"{stem}.toml would write into {self.out / stem}, which the sweep needs; rename it")
        return self


#: Folders of a sweep beside those of its files.
RESERVED = ("steps", "cache", "world")


def _flat(values: Any) -> Any:
    """``{mine = {top = 5}}`` → ``{"mine.top": 5}``; options are spelled with ``_``."""
    if not isinstance(values, Mapping):
        return values
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = value.items() if key in STAGES and isinstance(value, Mapping) else None
        found.update({dotted(f"{key}.{k}"): v for k, v in inner} if inner is not None else {dotted(key): value})
    return found


def dotted(key: str) -> str:
    """A key of a run file, checked: at the top, or of a stage's table.

    Raises:
        ValueError: no such key, or one that is not for sweeps.
    """
    key = key.replace("-", "_")
    stage, dot, option = key.partition(".")
    if dot and stage in STAGES and option:
        return key
    if key in _NOT_HERE:
        raise ValueError(f"`{key}` is not for sweeps; {_NOT_HERE[key]}")
    if dot or key in STAGES or key not in RunSettings.model_fields:
        top = [name for name in RunSettings.model_fields if name not in (*STAGES, *_NOT_HERE)]
        raise ValueError(f"no key `{key}` of a run file; valid: {', '.join(top)}, and encode., mine., score., report.…")
    return key


Changes = Annotated[dict[str, Any], BeforeValidator(_flat)]
Keys = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda v: tuple(map(dotted, (v,) if isinstance(v, str) else v))),
]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Change(_Table):
    """What is otherwise than in the file: keys unset, then values set."""

    set: Changes = {}
    unset: Keys = ()
    repeats: Annotated[dict[str, list[Any]], BeforeValidator(_flat)] = {}

    @field_validator("repeats")
    @classmethod
    def _some(cls, repeats: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for key, values in repeats.items():
            if not values or len({repr(value) for value in values}) < len(values):
                raise ValueError(f"`repeats` of {key} needs values, each once")
        return repeats


class Point(Change):
    """A row, or a value of an axis."""

    name: str
    small: Change | None = None


class Axis(_Table):
    """``values`` that multiply with those of the other axes."""

    name: str
    key: str | None = None
    values: tuple[Point, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _points(cls, table: Any) -> Any:
        """Plain values of ``key`` → points."""
        if not isinstance(table, Mapping) or not isinstance(table.get("values"), list):
            return table
        key, points = table.get("key"), []
        for value in table["values"]:
            if isinstance(value, Mapping) and "name" in value:
                points.append(value)
            elif not isinstance(key, str):
                raise ValueError(f"the value {value!r} needs a `key` of the axis, or to be a table with a `name`")
            else:
                points.append({"name": spelled(value), "set": {key: value}})
        return {"name": key, **table, "values": points}


class Published(_Table):
    """Where published figures are: ``file`` beside the sweep's, and which table of it."""

    file: str
    table: str


class Small(_Table):
    """The file on the embedded world: changes of its base, and the values and rows that are kept."""

    set: Changes = {}
    unset: Keys = ()
    values: dict[str, tuple[str, ...]] = {}
    rows: tuple[str, ...] = ()


class SweepFile(_Table):
    """A sweep's file; ``run`` is what it says as a run file."""

    path: Path
    title: str = ""
    baseline: str = ""
    axes: tuple[Axis, ...] = ()
    rows: tuple[Point, ...] = ()
    published: Published | None = None
    small: Small = Small()
    run: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_kind(self) -> SweepFile:
        if self.axes and self.rows:
            raise ValueError("[[axes]] and [[rows]] exclude each other; name the points of the grid as rows")
        return self


def spelled(value: Any) -> str:
    """A plain value as a row's name."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return " + ".join(map(spelled, value))
    return str(value)


def read_sweep(path: Path) -> SweepFile:
    """Raises UsageError: no TOML, an unknown key, axes and rows at once."""
    values = {key.replace("-", "_"): value for key, value in config.read_toml(path).items()}
    own = {key: values.pop(key) for key in ("title", "baseline", "axes", "rows", "published", "small") if key in values}
    try:
        for key in values:
            if key not in STAGES:
                dotted(key)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None
    run = {key: dict(_flat({key: value}) or {}) if key in STAGES else {key: value} for key, value in values.items()}
    flat = {key: value for table in run.values() for key, value in table.items()}
    try:
        return SweepFile.model_validate({"path": path, "run": flat, **own})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part + 1) if isinstance(part, int) else part for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{path}: {where + ': ' if where else ''}{message[0].lower()}{message[1:]}") from None
