"""The third stage: pictures against ID labels and negative labels → scores (docs/formats.md)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from neglabel import UsageError
from neglabel.indexes.flat import index_on
from neglabel.pipeline.files import VERSION, claim_folder, versions
from neglabel.pipeline.images import Source
from neglabel.pipeline.lock import one_writer
from neglabel.pipeline.negatives import load_negatives, negatives_metadata
from neglabel.pipeline.places import pictures_in
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.score_bank import bank_set, fit_bank
from neglabel.pipeline.score_folder import FORMAT, write_folder
from neglabel.pipeline.score_inputs import check_embeddings, foreign, group, grouping, read_labels, same_dimension
from neglabel.pipeline.score_model import ModelOnDemand
from neglabel.pipeline.score_plan import ODIN, data_sets, options_checked
from neglabel.pipeline.score_resume import Resume
from neglabel.pipeline.score_rows import Scorer
from neglabel.pipeline.score_settings import ScoreSettings
from neglabel.pipeline.score_streams import Streams
from neglabel.pipeline.scores import SCORES, Texts
from neglabel.pipeline.scores.neglabel import Groups

if TYPE_CHECKING:
    from neglabel.pipeline.score_ray import RayScoring


@one_writer(lambda settings, *_: [("--out", settings.out)])
def score(settings: ScoreSettings, reporter: Reporter) -> dict[str, Any]:
    """Score every data set of ``settings`` and write the folder ``settings.out``.

    Nothing is written before everything but the pictures has been read and found to fit together. A model is loaded
    only where text or pictures need one.

    Returns:
        A summary: ``out``, ``device``, ``negatives``, ``labels``, ``datasets`` (``name, role, rows, unreadable,
        id_share``: the mean, None without evidence or pictures), ``cached`` (pictures that the cache had, None without
        one), ``warnings``, ``seconds``, ``time`` (seconds by step, over all data sets).

    Raises:
        UsageError: what was asked can't be done as asked (see :mod:`neglabel.pipeline.score_plan`).
        NeglabelError: a damaged input, or with ``strict`` a picture that can't be decoded.
    """
    with ExitStack() as open_:
        return _score(settings, open_, reporter)


def _scorer(
    names: Sequence[str], labels: NDArray[np.float32], negatives: NDArray[np.float32], texts: Sequence[str],
    temperatures: Mapping[str, float], groups: Groups | None, device: str,
    fitted: Mapping[str, Any],
) -> Scorer:  # fmt: skip
    share = temperatures.get("neglabel", SCORES["neglabel"].temperature)
    return Scorer(names, labels, index_on(device, negatives, groups, labels), texts, temperatures, share, fitted)


def _score(settings: ScoreSettings, open_: ExitStack, reporter: Reporter) -> dict[str, Any]:
    begun = time.monotonic()
    temperatures = options_checked(settings)
    metadata = negatives_metadata(settings.negatives)
    if not settings.labels.exists():
        raise UsageError(f"--labels {settings.labels} does not exist; give a text file, one name a line, or Parquet")
    sets = data_sets(settings)
    bank = bank_set(settings, sets, reporter)
    read = [*sets, *bank]
    sources = [data.source for data in read]
    claim_folder(settings.out, FORMAT, create=False)  # a refusal should not wait for the model
    # A driver needs no GPU, nor does it take one from its workers.
    local = settings if settings.engine == "local" else settings.model_copy(update={"device": "cpu"})
    model = ModelOnDemand(local, metadata.get("model"), foreign(settings, metadata, read), reporter)
    model.check(sources)
    negatives = load_negatives(settings.negatives, settings.negatives_prompt, model.text)
    silent = [name for name in temperatures if SCORES[name].needs_negatives and not len(negatives)]
    if silent:
        reporter.warn(f"{settings.negatives} has no negative labels: no evidence for {', '.join(silent)} (NaN)")
    names, labels, prompts = read_labels(settings, negatives, model, reporter)
    if settings.odin_noise is not None:
        from neglabel.pipeline.odin import Noise

        model.noise = Noise(settings.odin_noise, labels, temperatures[ODIN])
    number, groups = group(settings, temperatures, negatives, reporter)
    # What was left to a default is written down as what it came to, and paths so that any folder finds them.
    placed = pictures_in(Path.cwd(), settings)
    effective = settings.model_copy(
        update={"temperature": dict(temperatures), "label_prompt": prompts, "groups": number, **placed}
    )
    same_dimension(settings, negatives, labels, read, model)
    far = _elsewhere(settings, model, sources, reporter)
    if far is not None:
        open_.enter_context(far)
    model.prepare(sources)
    check_embeddings(read, labels.shape[1], reporter)
    fit = fit_bank(bank, settings, model, names, labels, reporter)
    vectors = negatives.embedding if len(negatives) else np.empty((0, labels.shape[1]), np.float32)
    device = "cpu" if far is not None else model.device if settings.device == "auto" else settings.device
    streams = Streams(settings, temperatures, Texts(labels, vectors, groups))
    parts = (names, labels, vectors, list(negatives.texts), streams.static, groups, device, fit.fitted)
    scorer = _scorer(*parts) if far is None else cast(Scorer, far.scorer(_scorer, parts))
    pictures = sum(len(data.source.items) for data in sets)
    reporter.say(
        f"score: {model.words()}; {_counted(pictures, 'picture')} in {_counted(len(sets), 'data set')}, "
        f"{_counted(len(names), 'ID label')}, {_counted(len(negatives), 'negative label')}"
    )
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "settings": effective.model_dump(mode="json"),
        "model": model.identity,
        "labels": list(names),
        "datasets": [],
        "scores": [
            {"name": n, "temperature": t, **grouping(settings, n, number, groups)} for n, t in temperatures.items()
        ],
        "bank": fit.about,
        "embeddings": settings.keep_embeddings,
        "negatives": {"path": str(settings.negatives), "count": len(negatives), "random": negatives.random},
        "versions": versions(),
        "seconds": 0.0,
        "complete": False,
    }
    # What was fitted to the bank travels as functions; the bank is known by its digests.
    texts = (names, labels, vectors, negatives.texts)
    made_of: tuple[Any, ...] = (*texts, [] if groups is None else groups, model.identity, fit.about)
    results, finished = write_folder(
        sets, effective, scorer, streams, model, negatives, Resume(effective, made_of), manifest, begun, reporter
    )
    if model.cached is not None:
        found, asked = model.cached
        reporter.say(f"score: {found:,} of {_counted(asked, 'picture')} from the cache")
    return {
        "out": str(settings.out),
        "device": model.device,
        "negatives": len(negatives),
        "labels": len(names),
        "datasets": results,
        "cached": None if model.cached is None else model.cached[0],
        "warnings": list(reporter.warnings),
        "seconds": finished["seconds"],
        "time": finished["time"],
    }


def _elsewhere(
    settings: ScoreSettings, model: ModelOnDemand, sources: Sequence[Source], reporter: Reporter
) -> RayScoring | None:
    """The workers of another engine, ready; ``model`` then has pictures encoded by them."""
    if settings.engine == "local":
        return None
    from neglabel.pipeline.score_ray import RayScoring

    pictures = any(source.embeddings is None for source in sources)
    far = RayScoring(settings, model.loaded.identity if pictures else None, model.times, reporter)
    if pictures:
        model.encode_by(far.encoder)
    return far


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
