"""The folder of a ``score`` run, from a manifest that promises nothing to one that is complete."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.pipeline import config, store
from neglabel.pipeline.files import write_json, write_text
from neglabel.pipeline.negatives import Negatives
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.score_embeddings import LABELS, labels_table, with_embeddings
from neglabel.pipeline.score_model import STEPS, ModelOnDemand
from neglabel.pipeline.score_plan import DataSet
from neglabel.pipeline.score_resume import Resume, listed
from neglabel.pipeline.score_rows import Scorer
from neglabel.pipeline.score_sets import claimed, remove_stale, score_set
from neglabel.pipeline.score_settings import ScoreSettings

FORMAT = "neglabel-scores"


def write_folder(
    sets: Sequence[DataSet], settings: ScoreSettings, scorer: Scorer, model: ModelOnDemand, negatives: Negatives,
    resume: Resume, manifest: Mapping[str, Any], begun: float, reporter: Reporter,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:  # fmt: skip
    """Score ``sets`` into ``settings.out``, each whole or not at all, behind those that a killed run had finished.

    Args:
        settings: the effective ones; they are written down.
        manifest: what is known before the first picture; gets ``datasets``, ``model``, ``seconds`` since ``begun``
            (of ``time.monotonic()``), ``time`` and ``complete``.

    Returns:
        Of each data set what :func:`neglabel.pipeline.score_sets.score_set` says, and the manifest as written last.

    Raises:
        UsageError: the folder holds something else. NeglabelError: as ``score_set``.
    """
    path = settings.out / "manifest.json"
    results = []
    with claimed(settings.out, FORMAT):
        kept = resume.finished(sets)
        unreadable = {name: failures for name, (_, failures) in kept.items()}
        entries = {data.name: resume.entry(data, kept[data.name][0]) for data in sets if data.name in kept}
        # First a manifest that promises no more than this run, or a killed one like it, has finished: it lists no file
        # of an earlier run beside files of this one, and an interrupted run leaves a folder that is ours.
        write_json(path, {**manifest, "datasets": list(entries.values())})
        remove_stale(settings.out, sets, settings.keep_embeddings)
        for data in sets:
            if data.name in kept:
                result, _ = kept[data.name]
                reporter.say(f"score: {data.name} was finished by an earlier run; going on with the next")
            else:
                result, unreadable[data.name] = score_set(data, scorer, model, settings, reporter)
                if unreadable[data.name]:
                    resume.keep(sets, unreadable)
                entries[data.name] = resume.entry(data, result)
                write_json(path, {**manifest, "datasets": list(entries.values())})
            results.append(result)
        resume.keep(sets, unreadable)
        _write_texts(settings, scorer.names, scorer.labels, negatives)
        write_text(settings.out / "settings.toml", config.dump(settings))
        finished = {
            **manifest,
            "model": model.identity,
            "datasets": [listed(row) for row in results],
            "seconds": round(time.monotonic() - begun, 3),
            "time": {step: round(sum(row["time"][step] for row in results), 3) for step in STEPS},
            "complete": True,
        }
        write_json(path, finished)
    return results, finished


def _write_texts(
    settings: ScoreSettings, names: Sequence[str], labels: NDArray[np.float32], negatives: Negatives
) -> None:
    """The negatives used, and with ``keep_embeddings`` the vectors of both."""
    used = negatives.table.replace_schema_metadata(None)
    if settings.keep_embeddings:
        used = with_embeddings(used, negatives.embedding, labels.shape[1])
        store.write_table(settings.out / LABELS, labels_table(names, labels))
    store.write_table(settings.out / "negatives.parquet", used, negatives.metadata or None)
