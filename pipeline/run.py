"""All four stages from one TOML file.

The top of the file holds what the stages share (``out, labels, corpus, model, …``); the tables ``[encode]``,
``[mine]``, ``[score]``, ``[report]`` hold the stages' own options. Paths are relative to the file's folder. Everything
is written under ``out`` (docs/formats.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neglabel import UsageError
from neglabel.pipeline import config
from neglabel.pipeline.files import VERSION, claim_folder, versions, write_json
from neglabel.pipeline.places import corpus_in, images_in, model_in
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.settings import EncodeSettings, MineSettings, ReportSettings, RunSettings, ScoreSettings

FORMAT = "neglabel-run"
#: What the run decides for each stage, so that the stages fit together.
FIXED = {
    "encode": {"corpus", "out", "model", "pretrained", "quickgelu", "preset", "device"},
    "mine": {"candidates", "labels", "out", "preset", "model", "pretrained", "quickgelu", "device"},
    "score": {"negatives", "labels", "out", "cache", "model", "pretrained", "quickgelu", "device"},
    "report": {"scores", "out"},
}


def run(settings: RunSettings, reporter: Reporter, folder: Path = Path()) -> dict[str, Any]:
    """Run the stages one after the other; each resumes or repeats what is there.

    Args:
        folder: what relative paths are relative to.

    Returns:
        the summaries of ``encode``, ``mine``, ``score``, ``report``, and ``out``.

    Raises:
        UsageError: what any stage would refuse of its options and inputs, before any work.
    """
    from neglabel.pipeline.encode import encode
    from neglabel.pipeline.mine import check, mine
    from neglabel.pipeline.report import report
    from neglabel.pipeline.score import score
    from neglabel.pipeline.score_plan import data_sets, options_checked

    plan = stages(settings, folder)
    mining, scoring = plan["pairs"][0]
    # What the later stages would refuse is refused now, before the words are encoded.
    check(mining)
    options_checked(scoring)
    data_sets(scoring)
    claim(folder / settings.out)
    summaries: dict[str, Any] = {"encode": encode(plan["encode"], reporter)}
    for number, (mining, scoring) in enumerate(plan["pairs"]):
        mined, scored = mine(mining, reporter), score(scoring, reporter)
        if number == 0:
            summaries.update(mine=mined, score=scored)
    return {**summaries, "report": report(plan["report"], reporter), "out": str(folder / settings.out)}


def run_file(path: Path, reporter: Reporter) -> dict[str, Any]:
    """:func:`run` on a TOML file."""
    return run(config.make(RunSettings, {}, path), reporter, path.parent)


def claim(out: Path) -> None:
    """Make ``out`` a run's folder. Raises UsageError where it holds something else."""
    claim_folder(out, FORMAT)
    if not (out / "manifest.json").exists():
        write_json(out / "manifest.json", {"format": FORMAT, "version": VERSION, "versions": versions()})


def stages(settings: RunSettings, folder: Path = Path()) -> dict[str, Any]:
    """The settings of every stage: ``encode``, ``pairs`` of (mine, score), the first the mined one, and ``report``."""
    out, labels = folder / settings.out, folder / settings.labels
    device = {"device": settings.device}
    pretrained = settings.pretrained
    if pretrained and (folder / pretrained).is_file():
        pretrained = str(folder / pretrained)
    model = {"model": model_in(folder, settings.model), "pretrained": pretrained, "quickgelu": settings.quickgelu}
    encode = _make(EncodeSettings, "encode", settings, {
        "corpus": [corpus_in(folder, spec) for spec in settings.corpus], "out": out / "candidates",
        "preset": settings.preset, **model, **device,
    })  # fmt: skip
    pairs = []
    for seed in (None, *range(settings.random_seeds)):
        name = "mined" if seed is None else f"random-{seed}"
        negatives = out / ("negatives.parquet" if seed is None else f"{name}.parquet")
        mining = _make(MineSettings, "mine", settings, {
            "candidates": [out / "candidates"], "labels": labels, "out": negatives, **device,
            **({} if seed is None else {"random": seed}),
        })  # fmt: skip
        words = None if seed is not None or mining.text_out is None else folder / mining.text_out
        mining = mining.model_copy(
            update={"exclude": tuple(folder / path for path in mining.exclude), "text_out": words}
        )
        scoring = _make(ScoreSettings, "score", settings, {
            "negatives": negatives, "labels": labels, "out": out / name, "cache": out / "cache", **model, **device,
        })  # fmt: skip
        pictures = {
            role: {name: images_in(folder, spec) for name, spec in getattr(scoring, role).items()}
            for role in ("id", "ood", "images")
        }
        pairs.append((mining, scoring.model_copy(update=pictures)))
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
