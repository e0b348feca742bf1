"""The third stage: pictures against ID labels and negative labels → scores (docs/formats.md)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel import UsageError
from neglabel.indexes.flat import NegativeIndex
from neglabel.pipeline import config, store
from neglabel.pipeline.files import claim_folder, versions, write_json, write_text
from neglabel.pipeline.negatives import Negatives, load_negatives, negatives_metadata
from neglabel.pipeline.presets import PRESETS
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.score_model import ModelOnDemand
from neglabel.pipeline.score_plan import DataSet, data_sets, options_checked
from neglabel.pipeline.score_rows import Scorer
from neglabel.pipeline.score_sets import remove_stale, score_set, unreadable_table
from neglabel.pipeline.scores import SCORES, group_negatives
from neglabel.pipeline.scores.neglabel import Groups
from neglabel.pipeline.settings import ScoreSettings

FORMAT = "neglabel-scores"
VERSION = 1


def score(settings: ScoreSettings, reporter: Reporter) -> dict[str, Any]:
    """Score every data set of ``settings`` and write the folder ``settings.out``.

    Nothing is written before everything but the pictures has been read and found to fit together. A model is loaded
    only where text or pictures need one.

    Returns:
        A summary: ``out``, ``device``, ``negatives``, ``labels``, ``datasets`` (``name, role, rows, unreadable,
        id_share``: the mean, None without evidence), ``warnings``, ``seconds``.

    Raises:
        UsageError: what was asked can't be done as asked (see :mod:`neglabel.pipeline.score_plan`).
        NeglabelError: a damaged input, or with ``strict`` a picture that can't be decoded.
    """
    begun = time.monotonic()
    temperatures = options_checked(settings)
    metadata = negatives_metadata(settings.negatives)
    if not settings.labels.exists():
        raise UsageError(f"--labels {settings.labels} does not exist; give a text file, one name a line, or Parquet")
    sets = data_sets(settings)
    claim_folder(settings.out, FORMAT, create=False)  # a refusal should not wait for the model
    model = ModelOnDemand(settings, metadata.get("model"), reporter)
    negatives = load_negatives(settings.negatives, settings.negatives_prompt, model.text)
    if not len(negatives):
        reporter.warn(f"{settings.negatives} has no negative labels: NegLabel scores are NaN (no evidence)")
    names, labels, prompts = _labels(settings, negatives, model, reporter)
    # What was left to a default is written down as what it came to.
    effective = settings.model_copy(update={"temperature": dict(temperatures), "label_prompt": prompts})
    _same_dimension(settings, negatives, labels, sets, model)
    model.prepare(any(data.source.embeddings is None for data in sets))
    groups = _groups(settings, temperatures, len(negatives))
    scorer = Scorer(
        names,
        labels,
        NegativeIndex(negatives.embedding if len(negatives) else np.empty((0, labels.shape[1]), np.float32)),
        negatives.texts,
        temperatures,
        groups,
        temperatures.get("neglabel", SCORES["neglabel"].temperature),
    )
    claim_folder(settings.out, FORMAT)
    pictures = sum(len(data.source.items) for data in sets)
    reporter.say(
        f"score: {model.words()}; {pictures:,} pictures in {len(sets)} data sets, "
        f"{len(names):,} ID labels, {len(negatives):,} negative labels"
    )
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "settings": effective.model_dump(mode="json"),
        "model": model.identity,
        "labels": list(names),
        "datasets": [],
        "scores": [
            {"name": n, "temperature": t, "groups": len(groups) if groups is not None and SCORES[n].grouped else None}
            for n, t in temperatures.items()
        ],
        "negatives": {"path": str(settings.negatives), "count": len(negatives), "random": negatives.random},
        "versions": versions(),
        "seconds": 0.0,
        "complete": False,
    }
    # First a manifest that promises nothing: an interrupted run leaves a folder that is ours, and that lists no file
    # of an earlier run beside files of this one.
    write_json(settings.out / "manifest.json", manifest)
    remove_stale(settings.out, sets)
    results, unreadable = [], []
    for data in sets:
        result, failures = score_set(data, scorer, model, settings, reporter)
        results.append(result)
        unreadable += failures
    store.write_table(settings.out / "unreadable.parquet", unreadable_table(unreadable))
    store.write_table(
        settings.out / "negatives.parquet", negatives.table.replace_schema_metadata(None), negatives.metadata or None
    )
    write_text(settings.out / "settings.toml", config.dump(effective))
    seconds = round(time.monotonic() - begun, 3)
    listed = [{k: v for k, v in row.items() if k != "id_share"} for row in results]
    write_json(
        settings.out / "manifest.json",
        {**manifest, "model": model.identity, "datasets": listed, "seconds": seconds, "complete": True},
    )
    return {
        "out": str(settings.out),
        "device": model.device,
        "negatives": len(negatives),
        "labels": len(names),
        "datasets": results,
        "warnings": list(reporter.warnings),
        "seconds": seconds,
    }


def _labels(
    settings: ScoreSettings, negatives: Negatives, model: ModelOnDemand, reporter: Reporter
) -> tuple[tuple[str, ...], NDArray[np.float32], tuple[str, ...]]:
    """Names, (K, D) unit vectors, and the prompts used (as given where the labels are embeddings already)."""
    from neglabel.pipeline.labels import load_labels

    prompts = settings.label_prompt or negatives.label_prompts or PRESETS["paper"].label_prompts
    labels = load_labels(settings.labels, prompts, model.text, reporter)
    mined_for = negatives.metadata.get("labels", {}).get("names", list(labels.names))
    if mined_for != list(labels.names):
        reporter.warn(
            f"{settings.negatives} was mined for {len(mined_for):,} other labels than {settings.labels}; "
            "mine again unless that is meant"
        )
    return labels.names, labels.embedding, labels.prompts or settings.label_prompt


def _groups(settings: ScoreSettings, temperatures: Mapping[str, float], count: int) -> Groups | None:
    if settings.groups == 1 or not count or not any(SCORES[name].grouped for name in temperatures):
        return None
    return group_negatives(count, settings.groups, settings.group_order, settings.group_drop, settings.seed)


def _same_dimension(
    settings: ScoreSettings,
    negatives: Negatives,
    labels: NDArray[np.float32],
    sets: Sequence[DataSet],
    model: ModelOnDemand,
) -> None:
    """Raises UsageError naming the two whose embeddings can't be compared."""
    wanted = labels.shape[1]
    others = [(f"negatives {settings.negatives}", negatives.embedding.shape[1])] if len(negatives) else []
    for data in sets:
        if data.source.embeddings is not None:
            others.append((f"pictures {data.source.spec}", store.dimension(data.source.embeddings) or wanted))
    if any(data.source.embeddings is None for data in sets):
        others.append((f"model {model.name}", int(model.loaded.identity["embed_dim"])))
    for what, dimension in others:
        if dimension != wanted:
            raise UsageError(
                f"labels {settings.labels} have {wanted} dimensions and {what} {dimension}; use one model for all"
            )
