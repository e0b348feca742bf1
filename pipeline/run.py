"""All four stages from one TOML file.

The top of the file holds what the stages share (``out, labels, corpus, model, …``); the tables ``[encode]``,
``[mine]``, ``[score]``, ``[report]`` hold the stages' own options. Paths are relative to the file's folder. Everything
is written under ``out``: ``candidates/``, ``negatives.parquet``, ``mined/``, ``cache/``, ``report/``, and for each
set of random negatives ``random-S.parquet`` and ``random-S/``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neglabel import UsageError
from neglabel.corpora import ADAPTERS
from neglabel.corpora.spec import parse
from neglabel.pipeline import config
from neglabel.pipeline.labels import is_parquet, read_lines
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.score_plan import data_sets, options_checked
from neglabel.pipeline.settings import EncodeSettings, MineSettings, ReportSettings, RunSettings, ScoreSettings

#: What the run decides for each stage, so that the stages fit together.
FIXED = {
    "encode": {"corpus", "out", "model", "pretrained", "quickgelu", "preset", "device"},
    "mine": {"candidates", "labels", "out", "preset", "model", "pretrained", "quickgelu", "device"},
    "score": {"negatives", "labels", "out", "cache", "model", "pretrained", "quickgelu", "device"},
    "report": {"scores", "out"},
}


def run(settings: RunSettings, reporter: Reporter) -> dict[str, Any]:
    """Run the stages one after the other; each resumes or repeats what is there.

    Returns:
        the summaries of ``encode``, ``mine``, ``score``, ``report``.

    Raises:
        UsageError: an option that no stage has, before any work; and what the stages raise.
    """
    from neglabel.pipeline.encode import encode
    from neglabel.pipeline.mine import mine
    from neglabel.pipeline.report import report
    from neglabel.pipeline.score import score

    plan = stages(settings)
    _, scoring = plan["pairs"][0]
    # What the later stages would refuse is refused now, before the words are encoded.
    if not is_parquet(settings.labels):
        read_lines(settings.labels, "labels")
    options_checked(scoring)
    data_sets(scoring)
    summaries: dict[str, Any] = {"encode": encode(plan["encode"], reporter)}
    for number, (mining, scoring) in enumerate(plan["pairs"]):
        mined, scored = mine(mining, reporter), score(scoring, reporter)
        if number == 0:
            summaries.update(mine=mined, score=scored)
    return {**summaries, "report": report(plan["report"], reporter), "out": str(settings.out)}


def stages(settings: RunSettings) -> dict[str, Any]:
    """The settings of every stage: ``encode``, ``pairs`` of (mine, score), the first the mined one, and ``report``."""
    out = settings.out
    model = {"model": settings.model, "pretrained": settings.pretrained, "quickgelu": settings.quickgelu}
    shared = {"device": settings.device}
    encode = _make(EncodeSettings, "encode", settings, {
        "corpus": settings.corpus, "out": out / "candidates", "preset": settings.preset, **model, **shared,
    })  # fmt: skip
    pairs = []
    for seed in (None, *range(settings.random_seeds)):
        name = "mined" if seed is None else f"random-{seed}"
        negatives = out / ("negatives.parquet" if seed is None else f"{name}.parquet")
        mining = _make(MineSettings, "mine", settings, {
            "candidates": [out / "candidates"], "labels": settings.labels, "out": negatives, **shared,
            **({} if seed is None else {"random": seed}),
        })  # fmt: skip
        scoring = _make(ScoreSettings, "score", settings, {
            "negatives": negatives, "labels": settings.labels, "out": out / name, "cache": out / "cache", **model,
            **shared,
        })  # fmt: skip
        pairs.append((mining, scoring))
    report = _make(ReportSettings, "report", settings, {
        "scores": [scoring.out for _, scoring in pairs], "out": out / "report",
    })  # fmt: skip
    return {"encode": encode, "pairs": pairs, "report": report}


def _make(kind: Any, stage: str, settings: RunSettings, decided: Mapping[str, Any]) -> Any:
    own: dict[str, Any] = {key.replace("-", "_"): value for key, value in getattr(settings, stage).items()}
    for key in own:
        if key in FIXED[stage]:
            where = "at the top of the file" if key in RunSettings.model_fields else "by `neglabel run` itself"
            raise UsageError(f"[{stage}] {key} is set {where}; leave it out of the table")
    try:
        return config.make(kind, {**own, **decided})
    except UsageError as error:
        raise UsageError(f"[{stage}] {error}") from None


def run_file(path: Path, reporter: Reporter) -> dict[str, Any]:
    """:func:`run` on a TOML file."""
    return run(relative_to(path.parent, config.make(RunSettings, {}, path)), reporter)


def relative_to(folder: Path, settings: RunSettings) -> RunSettings:
    """``settings`` with its relative paths taken from ``folder``, that of the TOML file."""

    def place(value: str) -> str:
        head, colon, rest = value.partition(":")
        if colon and head in ("hf", "wordnet"):
            inner = rest.removeprefix("imagefolder:")
            return f"hf:imagefolder:{folder / inner}" if head == "hf" and inner != rest else value
        return str(folder / value)

    def paths(table: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
        return {k: _each(v, place) if k in names else v for k, v in table.items()}

    return settings.model_copy(
        update={
            "out": folder / settings.out,
            "labels": folder / settings.labels,
            "corpus": tuple(_corpus(spec, folder) for spec in settings.corpus),
            "model": str(folder / settings.model) if (folder / settings.model).is_dir() else settings.model,
            "pretrained": _file(settings.pretrained, folder),
            "mine": paths(settings.mine, ("exclude", "text_out")),
            "score": paths(settings.score, ("id", "ood", "images")),
        }
    )


def _each(value: Any, place: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: place(v) for k, v in value.items()}
    return [place(v) for v in value] if isinstance(value, (list, tuple)) else place(value)


def _corpus(spec: Any, folder: Path) -> Any:
    """A corpus whose ``path`` is taken from ``folder``, whether it is written as text or as a table."""
    if isinstance(spec, str):
        if (folder / spec.partition(":")[0]).is_file():
            return str(folder / spec)
        if spec.partition(":")[0] not in ADAPTERS or "path=" not in spec:
            return spec
        name, options = parse(spec, ADAPTERS)
        spec = {"name": name, **options}
    return {**spec, "path": str(folder / spec["path"])} if "path" in spec else spec


def _file(name: str | None, folder: Path) -> str | None:
    return str(folder / name) if name and (folder / name).is_file() else name
