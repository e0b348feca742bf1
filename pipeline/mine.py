"""Stage 2 (NegMining, paper Section 3.1, Algorithm 1): the candidates farthest from the ID labels."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel import UsageError
from neglabel.indexes.percentile import Device, PercentileIndex
from neglabel.pipeline.candidates import Stores, open_stores
from neglabel.pipeline.choose_rows import choose_rows
from neglabel.pipeline.labels import is_parquet, load_labels, read_lines
from neglabel.pipeline.mine_rows import asked_for, best_rows, group_sizes
from neglabel.pipeline.mined import check_out, write_negatives
from neglabel.pipeline.models import LoadedModel, load_known
from neglabel.pipeline.presets import PRESETS, Preset
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.prompts import check_template
from neglabel.pipeline.settings import MineSettings
from neglabel.pipeline.store import unit
from neglabel.pipeline.text_encoder import TextEncoder
from neglabel.pipeline.topm import TopM

_BLOCK = 8_192


def select(
    candidates: NDArray[np.floating[Any]],
    labels: NDArray[np.floating[Any]],
    percentile: float = 0.05,
    top: int = 10_000,
    device: Device = "auto",
) -> NDArray[np.int64]:
    """NegMining on plain arrays: ``Y⁻ = topk({d_i}, Y^c, M)`` with ``d_i = percentile_η({-cos(e_i, e_k)}_k)`` (Eq. 4).

    Args:
        candidates: (C, D) embeddings of any length above zero; labels: (K, D).
        percentile: η as a share in [0, 1].
        top: M.

    Returns:
        (min(M, C),) int64 indices into ``candidates``, farthest first, ties by the lower index.

    Raises:
        ValueError: wrong shapes, no labels, η outside [0, 1], M below 1, NaN, infinite or zero rows.
    """
    if top < 1:
        raise ValueError(f"top is {top}: keep at least one")
    for name, rows in (("candidates", candidates), ("labels", labels)):
        if rows.ndim != 2 or rows.shape[1] != labels.shape[-1]:
            raise ValueError(f"{name} has shape {rows.shape}, not (n, {labels.shape[-1]})")
        bad = ~np.isfinite(rows).all(axis=1) | ~rows.any(axis=1)
        if bad.any():
            raise ValueError(f"{name}, row {int(np.flatnonzero(bad)[0])}: NaN, infinite or all zero")
    index = PercentileIndex(unit(labels), percentile, device)
    best = TopM(min(top, len(candidates)), labels, index)
    for start in range(0, len(candidates), _BLOCK):
        block = candidates[start : start + _BLOCK]
        best.push(index.distances(unit(block)), np.arange(start, start + len(block)), block)
    return np.asarray(best.result().get("position", []), np.int64)


def mine(settings: MineSettings, reporter: Reporter) -> dict[str, Any]:
    """Mine negative labels from stores into ``settings.out`` (see ``docs/formats.md``).

    Returns:
        the summary: ``out, counts, farthest, nearest`` (ten kept words each), ``seconds``.

    Raises:
        UsageError: files that don't fit each other, a preset other than the candidates', a missing option.
        NeglabelError: damaged files, weights that can't be read.
    """
    start = time.monotonic()
    excluded = check(settings)
    stores = open_stores(settings.candidates)
    if settings.preset and stores.preset and settings.preset != stores.preset:
        raise UsageError(
            f"--preset {settings.preset}, but the candidates were encoded with preset {stores.preset}; "
            "encode them again or leave --preset out"
        )
    preset = PRESETS[settings.preset or stores.preset or "paper"]  # type: ignore[index]
    model: list[LoadedModel] = []
    labels = load_labels(settings.labels, _label_prompts(settings, stores, preset),
                         _encoder(settings, stores, model), reporter)  # fmt: skip
    if labels.embedding.shape[1] != stores.dimension:
        raise UsageError(
            f"labels {settings.labels} have {labels.embedding.shape[1]} dimensions, the candidates "
            f"{stores.dimension}; use one model for both"
        )
    keep_ids = preset.keep_id_names if settings.keep_id_names is None else settings.keep_id_names
    per_pos = preset.per_pos if settings.per_pos is None else settings.per_pos
    percentile = preset.percentile if settings.percentile is None else settings.percentile
    selection = choose_rows(
        stores, settings.dedupe or stores.dedupe, () if keep_ids else labels.names, excluded, per_pos,
        settings.sample, settings.seed,
    )  # fmt: skip
    if settings.sample and selection.rows < settings.sample:
        reporter.warn(
            f"{selection.rows:,} candidates are left, fewer than --sample {settings.sample:,}; taking all of them"
        )
    sizes = group_sizes(settings, preset, selection, reporter)
    index = PercentileIndex(labels.embedding, percentile, settings.device)
    reporter.say(
        f"mine: {selection.rows:,} candidates, {len(labels.names):,} labels, "
        f"on {'the GPU' if index.on_gpu else 'the CPU'}, float32 then float64"
    )
    rows, distances = best_rows(settings, stores, selection, labels, index, sizes, reporter)
    identity = model[0].identity if model else stores.model
    top, share = asked_for(settings, preset)
    effective = settings.model_copy(
        update={
            "preset": settings.preset or stores.preset or "paper", "percentile": percentile, "per_pos": per_pos,
            "keep_id_names": keep_ids, "dedupe": settings.dedupe or stores.dedupe, "top": top, "top_share": share,
            "label_prompt": labels.prompts,
        }
    )  # fmt: skip
    summary = write_negatives(effective, stores, selection, labels, rows, distances, identity)
    return {**summary, "seconds": round(time.monotonic() - start, 3), "warnings": reporter.warnings}


def check(settings: MineSettings) -> list[str]:
    """Refuse what can be refused before any work. Returns the words to exclude.

    Raises:
        UsageError: an output that would overwrite something, a missing file, a prompt without ``{}``.
    """
    check_out(settings)
    for template in settings.label_prompt:
        check_template(template, f"--label-prompt {template}")
    if not settings.labels.is_file():
        raise UsageError(f"--labels {settings.labels} does not exist; give a text file, one name a line, or Parquet")
    if not is_parquet(settings.labels):
        read_lines(settings.labels, "labels")
    return [word for path in settings.exclude for word in read_lines(path, "--exclude")]


def _label_prompts(settings: MineSettings, stores: Stores, preset: Preset) -> tuple[str, ...]:
    """As given; else the candidates' own for nouns, since Algorithm 1 uses one prompt for both; else the preset's."""
    if settings.label_prompt:
        return settings.label_prompt
    own = stores.prompts or {}
    template = own.get("noun", own.get(""))
    return (template,) if template else preset.label_prompts


def _encoder(settings: MineSettings, stores: Stores, used: list[LoadedModel]) -> Callable[[], TextEncoder] | None:
    """How label names are encoded: by the candidates' model, or the one given; None where neither is known."""
    if stores.model is None and settings.model is None:
        return None

    def load() -> TextEncoder:
        used.append(
            load_known(
                stores.model, "the candidates", settings.model, settings.pretrained, settings.quickgelu,
                settings.device,
            )
        )  # fmt: skip
        return TextEncoder.of(used[0])

    return load
