"""A folder of ``report`` or of ``score`` → its rows, and what made each run."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, get_args

from neglabel import NeglabelError, UsageError
from neglabel.corpora.uri import Location
from neglabel.pipeline import files
from neglabel.pipeline.leaderboard_settings import LeaderboardSettings
from neglabel.pipeline.metrics import Convention
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report import intervals, measure
from neglabel.pipeline.report.measure import Row
from neglabel.pipeline.report.read import read_runs
from neglabel.pipeline.report.tables import COLUMNS
from neglabel.pipeline.scores import REGISTRY

#: Needs that a user has or hasn't got; the others come with the stage.
NEEDS = ("labels", "negatives", "bank", "stream", "no-texts", "generated")
_COUNTS, _TEXTS = ("n_id", "n_ood"), ("run", "score", "id", "ood")
_FIGURES = tuple(name for name in COLUMNS if name not in (*_TEXTS, *_COUNTS))


@dataclass(frozen=True)
class Made:
    """What made a run: ``model`` as it is told from others, ``shown`` as it is written; ``streams``: by score that
    reads a stream of pictures, how (empty text: not said)."""

    run: str
    folder: str
    model: str
    shown: str
    labels: int
    negatives: int
    random: bool
    convention: Convention
    streams: Mapping[str, str]


def needs(score: str, stream: bool = False) -> tuple[str, ...]:
    """What of :data:`NEEDS` a score needs; of a score that isn't in the registry nothing is known."""
    spec = REGISTRY.get(score)
    found = {str(need) for need in spec.needs} if spec else set()
    return tuple(need for need in NEEDS if need in found or (need == "stream" and stream))


def kind_of(folder: Location) -> str:
    """``neglabel-report`` or ``neglabel-scores``; UsageError where it is neither."""
    path = folder / "manifest.json"
    if not path.is_file():
        raise UsageError(f"{folder} has no manifest.json; name a folder that `report` or `score` wrote")
    for kind in ("neglabel-report", "neglabel-scores"):
        try:
            files.read_json(path, kind)
        except UsageError as error:
            if "newer" in str(error):
                raise
        else:
            return kind
    raise UsageError(f"{folder} is the output of neither `report` nor `score`; name one that is")


#: Rows, and by the name that they give the run what made it.
Part = tuple[list[Row], dict[str, Made]]


def measured(folders: Sequence[Location], settings: LeaderboardSettings, reporter: Reporter) -> dict[Location, Part]:
    """Folders of scores, measured as ``report`` does, the pictures of all of them drawn alike."""
    runs = read_runs(folders)
    drawings = intervals.drawn(runs, settings.fpr, settings.bootstrap, "picture", settings.seed, reporter)
    found = {}
    for folder, run in zip(folders, runs, strict=True):
        rows = intervals.with_intervals(measure.metric_rows(run, settings.fpr), drawings)
        described = {
            "name": run.name, "folder": str(folder.resolve()), "random": run.random, "labels": len(run.labels),
            "negatives": run.negatives.count, "scores": run.manifest["scores"], "model": run.manifest.get("model"),
        }  # fmt: skip
        found[folder] = (rows, {run.name: _made(described, settings.fpr)})
    return found


def reported(folder: Location) -> Part:
    """A folder of ``report``: its figures as they are."""
    path = folder / "manifest.json"
    manifest = files.read_json(path, "neglabel-report")
    try:
        convention = manifest["convention"]
        made = {str(run["name"]): _made(run, convention) for run in manifest["runs"]}
        if convention not in get_args(Convention):
            raise ValueError("convention")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NeglabelError(f"{path} is damaged ({type(error).__name__}: {error}); run `report` again") from None
    table = folder / "metrics.csv"
    try:
        lines = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"))))
    except FileNotFoundError:
        raise UsageError(f"{table} does not exist; run `report` again") from None
    except (OSError, ValueError, csv.Error) as error:
        raise NeglabelError(f"{table} can't be read: {error}; run `report` again") from None
    return [_row(line, number, table, made) for number, line in enumerate(lines, 2)], made


def _row(line: Mapping[str, str], number: int, path: Location, made: Mapping[str, Made]) -> Row:
    try:
        texts = {name: str(line[name]) for name in _TEXTS}
        counts = {name: int(line[name]) for name in _COUNTS}
        # Reports of before there were intervals have fewer columns.
        figures = {name: float(value) if (value := line.get(name)) else None for name in _FIGURES}
        if texts["run"] not in made or not all(v is None or isfinite(v) for v in figures.values()):
            raise ValueError("a run that the manifest lacks" if texts["run"] not in made else "no finite number")
    except (KeyError, TypeError, ValueError) as error:
        raise NeglabelError(f"{path}, line {number}, is damaged ({error}); run `report` again") from None
    return Row(**texts, **counts, **figures)  # type: ignore[arg-type]


def _made(run: Mapping[str, Any], convention: Convention) -> Made:
    model = dict(run.get("model") or {})
    name, tag = str(model.get("model") or "model not recorded"), model.get("pretrained")
    # The same weights have many names; where there is no checksum, the names must do.
    weights = model.get("checkpoint_sha256") or json.dumps([name, tag])
    streams = {str(s["name"]): _protocol(s.get("stream")) for s in run["scores"] if _streams(s)}
    shown = f"{name} · {tag}" if tag and "/" not in str(tag) else name
    return Made(
        str(run["name"]), str(run["folder"]), str(weights), shown, int(run["labels"]), int(run["negatives"]),
        bool(run["random"]), convention, streams,
    )  # fmt: skip


def _protocol(stream: Any) -> str:
    return str((stream.get("protocol") if isinstance(stream, Mapping) else stream) or "")


def _streams(entry: Mapping[str, Any]) -> bool:
    spec = REGISTRY.get(str(entry["name"]))
    return bool(entry.get("stream")) or (spec is not None and "stream" in {str(need) for need in spec.needs})
