"""All four stages from one TOML file.

The top of the file holds what the stages share (``out, labels, corpus, model, …``); the tables ``[encode]``,
``[mine]``, ``[score]``, ``[report]`` hold the stages' own options. Paths are relative to the file's folder. Everything
is written under ``out`` (docs/formats.md). With ``[sources]`` the run compares sources of words
(:mod:`neglabel.pipeline.run_sources`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neglabel.corpora.uri import Location
from neglabel.pipeline import config
from neglabel.pipeline.files import VERSION, claim_folder, versions, write_json
from neglabel.pipeline.lock import one_writer
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.run_settings import RunSettings
from neglabel.pipeline.run_stages import Stages

FORMAT = "neglabel-run"


@one_writer(lambda settings, reporter, folder=Path(): [("out", folder / settings.out)])
def run(settings: RunSettings, reporter: Reporter, folder: Path = Path()) -> dict[str, Any]:
    """Run the stages one after the other; each resumes or repeats what is there.

    Args:
        folder: what relative paths are relative to.

    Returns:
        the summaries of ``encode``, ``mine``, ``score``, ``report``, and ``out``; with ``[sources]`` as
        :func:`neglabel.pipeline.run_sources.run_sources`.

    Raises:
        UsageError: what any stage would refuse of its options and inputs, before any work.
    """
    from neglabel.pipeline.encode import encode
    from neglabel.pipeline.mine import check, mine
    from neglabel.pipeline.report import report
    from neglabel.pipeline.score import score
    from neglabel.pipeline.score_plan import data_sets, options_checked

    if settings.sources is not None:
        from neglabel.pipeline.run_sources import run_sources

        return run_sources(settings, reporter, folder)
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


def claim(out: Location) -> None:
    """Make ``out`` a run's folder. Raises UsageError where it holds something else."""
    claim_folder(out, FORMAT)
    if not (out / "manifest.json").exists():
        write_json(out / "manifest.json", {"format": FORMAT, "version": VERSION, "versions": versions()})


def stages(settings: RunSettings, folder: Path = Path()) -> dict[str, Any]:
    """The settings of every stage: ``encode``, ``pairs`` of (mine, score), the first the mined one, and ``report``."""
    make = Stages(settings, folder)
    out = make.out
    encode = make.encode(settings.corpus, out / "candidates")
    pairs = []
    for seed in (None, *range(settings.random_seeds)):
        name = "mined" if seed is None else f"random-{seed}"
        negatives = out / ("negatives.parquet" if seed is None else f"{name}.parquet")
        mining = make.mine([out / "candidates"], negatives, **({} if seed is None else {"random": seed}))
        words = None if seed is not None or mining.text_out is None else folder / mining.text_out
        pairs.append((mining.model_copy(update={"text_out": words}), make.score(negatives, out / name)))
    return {"encode": encode, "pairs": pairs, "report": make.report([scoring.out for _, scoring in pairs])}
