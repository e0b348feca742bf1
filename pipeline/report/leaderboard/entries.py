"""Folders of ``report`` and of ``score`` → figures, each with what it may be compared with."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, get_args

from neglabel import NeglabelError, UsageError
from neglabel.corpora.uri import Location
from neglabel.pipeline import files
from neglabel.pipeline.leaderboard_settings import LeaderboardSettings
from neglabel.pipeline.metrics import Convention
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report import intervals, measure
from neglabel.pipeline.report.measure import AVERAGE, Row
from neglabel.pipeline.report.read import folder_names, read_runs
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


@dataclass(frozen=True)
class Entry:
    """One figure. Only figures of equal ``peers`` may be compared: ID set, its number of labels, model, convention of
    FPR95, OOD sets, in words."""

    row: Row
    made: Made
    peers: tuple[str, str, str, str, str]

    @property
    def needs(self) -> tuple[str, ...]:
        return needs(self.row.score, self.row.score in self.made.streams)

    @property
    def stream(self) -> bool:
        return "stream" in self.needs


#: What each of ``peers`` is.
PEERS = ("ID set", "number of labels", "model", "convention of FPR95", "OOD sets")


def needs(score: str, stream: bool = False) -> tuple[str, ...]:
    """What of :data:`NEEDS` a score needs; of a score that isn't in the registry nothing is known."""
    spec = REGISTRY.get(score)
    found = {str(need) for need in spec.needs} if spec else set()
    return tuple(need for need in NEEDS if need in found or (need == "stream" and stream))


def read_entries(settings: LeaderboardSettings, reporter: Reporter) -> tuple[list[Entry], list[str]]:
    """All figures of ``settings.runs`` in their order, and sentences on runs that were given twice.

    Raises:
        UsageError: no folder, one that is neither ``report``'s nor ``score``'s output or is given twice, no figure.
        NeglabelError: something in it is damaged.
    """
    folders = settings.runs
    if not folders:
        raise UsageError("leaderboard needs at least one folder of `report` or `score`")
    for folder in folders:
        if [f.resolve() for f in folders].count(folder.resolve()) > 1:
            raise UsageError(f"{folder} is given twice; name each folder once")
    kinds = {folder: _kind(folder) for folder in folders}
    scored = [folder for folder in folders if kinds[folder] == "neglabel-scores"]
    measured = _measured(scored, settings, reporter) if scored else {}
    parts = [measured[f] if f in measured else _reported(f) for f in folders]
    names = folder_names([folder.resolve() for folder in folders])
    return _apart([(name, *part) for name, part in zip(names, parts, strict=True)])


def _kind(folder: Location) -> str:
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


_Part = tuple[list[Row], dict[str, Made]]


def _measured(folders: Sequence[Location], settings: LeaderboardSettings, reporter: Reporter) -> dict[Location, _Part]:
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


def _reported(folder: Location) -> _Part:
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
    name, tag = str(model.get("model") or "not recorded"), model.get("pretrained")
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


def _apart(parts: Iterable[tuple[str, list[Row], dict[str, Made]]]) -> tuple[list[Entry], list[str]]:
    """Entries with names of runs that tell them apart; of a run that several reports have, the first one's."""
    kept: list[tuple[Row, Made]] = []
    owner: dict[tuple[str, str], str] = {}
    names: dict[str, str] = {}
    notes = []
    for source, rows, made in parts:
        fresh: dict[str, Made] = {}
        for name, one in made.items():
            first = owner.setdefault((one.folder, one.convention), source)
            if first != source:
                notes.append(f"{name} of {source} is in {first} as well and stands on the page once")
                continue
            shown = name
            while names.setdefault(shown, one.folder + one.convention) != one.folder + one.convention:
                shown = f"{source}/{name}" if shown == name else shown + "′"
            fresh[name] = replace(one, run=shown)
        kept += [(replace(row, run=fresh[row.run].run), fresh[row.run]) for row in rows if row.run in fresh]
    if not kept:
        raise UsageError("no figure in these folders: metrics need pictures named with --id and with --ood")
    shown_as = _model_names(made for _, made in kept)
    kept = [(row, replace(made, shown=shown_as[made.model])) for row, made in kept]
    oods: dict[tuple[str, str, str], list[str]] = {}
    for row, _ in kept:
        if row.ood != AVERAGE:
            oods.setdefault((row.run, row.score, row.id), []).append(_set(row.ood, row.n_ood))
    return [Entry(row, made, _peers(row, made, oods)) for row, made in kept], notes


def _peers(
    row: Row, made: Made, oods: Mapping[tuple[str, str, str], Sequence[str]]
) -> tuple[str, str, str, str, str]:
    # An average over other sets is another quantity.
    sets = [_set(row.ood, row.n_ood)] if row.ood != AVERAGE else sorted(oods.get((row.run, row.score, row.id), []))
    return (_set(row.id, row.n_id), f"{made.labels:,}", made.shown, made.convention, ", ".join(sets))


def _set(name: str, count: int) -> str:
    return f"{name} ({count:,})"


def _model_names(made: Iterable[Made]) -> dict[str, str]:
    """By model a name; models of one name are told apart by the start of their checksum."""
    shown: dict[str, str] = {}
    for one in made:
        shown.setdefault(one.model, one.shown)
    names = list(shown.values())
    return {model: name if names.count(name) == 1 else f"{name} · {model[:8]}" for model, name in shown.items()}
