"""Stage 2 (NegMining, paper Section 3.1, Algorithm 1): the candidates farthest from the ID labels."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from neglabel import UsageError
from neglabel.indexes.cores import cores
from neglabel.indexes.device import gpu_count
from neglabel.pipeline.candidates import Stores, open_stores
from neglabel.pipeline.choose_rows import choose_for_each
from neglabel.pipeline.engine import check_engine
from neglabel.pipeline.labels import is_parquet, load_labels, read_lines
from neglabel.pipeline.lock import one_writer
from neglabel.pipeline.mine_arrays import select
from neglabel.pipeline.mine_rows import LabelSet, best_rows
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.mine_sizes import asked_for, group_sizes
from neglabel.pipeline.mine_work import Work
from neglabel.pipeline.mined import check_out, write_negatives
from neglabel.pipeline.models import LoadedModel, load_known, resolve_device
from neglabel.pipeline.presets import PRESETS, Preset
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.prompts import check_template
from neglabel.pipeline.search_device import on_gpu
from neglabel.pipeline.text_encoder import TextEncoder

if TYPE_CHECKING:
    from neglabel.pipeline.mine_ray import RayFiles

__all__ = ["check", "mine", "select"]


@one_writer(
    lambda settings, *_: [*(("--out", one.out) for one in settings.each()), ("--text-out", settings.text_out)]
)
def mine(settings: MineSettings, reporter: Reporter) -> dict[str, Any]:
    """Mine negative labels from stores into ``settings.out`` (see ``docs/formats.md``).

    Returns:
        the summary: ``out, counts, farthest, nearest`` (ten kept words each), ``seconds``; with several label sets the
        counts are sums and ``sets`` holds the summary of each.

    Raises:
        UsageError: files that don't fit each other, a preset other than the candidates', a missing option.
        NeglabelError: damaged files, weights that can't be read.
    """
    start = time.monotonic()
    excluded = check(settings)
    with _elsewhere(settings, reporter) as files:
        return _mine(settings, excluded, files, start, reporter)


def _elsewhere(settings: MineSettings, reporter: Reporter) -> AbstractContextManager[RayFiles | None]:
    if settings.engine == "local":
        return nullcontext()
    from neglabel.pipeline.mine_ray import RayFiles

    return RayFiles(settings, reporter)


def _mine(
    settings: MineSettings, excluded: list[str], files: RayFiles | None, start: float, reporter: Reporter
) -> dict[str, Any]:
    stores = open_stores(settings.candidates)
    if settings.preset and stores.preset and settings.preset != stores.preset:
        raise UsageError(
            f"--preset {settings.preset}, but the candidates were encoded with preset {stores.preset}; "
            "encode them again or leave --preset out"
        )
    preset = PRESETS[settings.preset or stores.preset or "paper"]  # type: ignore[index]
    work = Work(settings.work, stores)
    model: list[LoadedModel] = []
    encoder = _encoder(settings, stores, model)
    all_labels = [
        load_labels(path, _label_prompts(settings, stores, preset), encoder, reporter) for path in settings.label_sets
    ]
    for path, labels in zip(settings.label_sets, all_labels, strict=True):
        if labels.embedding.shape[1] != stores.dimension:
            raise UsageError(
                f"labels {path} have {labels.embedding.shape[1]} dimensions, the candidates "
                f"{stores.dimension}; use one model for both"
            )
    keep_ids = preset.keep_id_names if settings.keep_id_names is None else settings.keep_id_names
    per_pos = preset.per_pos if settings.per_pos is None else settings.per_pos
    percentile = preset.percentile if settings.percentile is None else settings.percentile
    near_last = preset.near_labels_last if settings.near_labels_last is None else settings.near_labels_last
    if near_last is not None and settings.both_ends:
        raise UsageError("--both-ends keeps the nearest, which --near-labels-last puts last; give one of the two")
    selections = choose_for_each(
        stores, settings.dedupe or stores.dedupe, [() if keep_ids else labels.names for labels in all_labels], excluded,
        per_pos, settings.sample, settings.seed, files.words(work) if files else work.words,
    )  # fmt: skip
    for selection in selections:
        if settings.sample and selection.rows < settings.sample:
            reporter.warn(
                f"{selection.rows:,} candidates are left, fewer than --sample {settings.sample:,}; taking all of them"
            )
    sets = [
        LabelSet(labels, selection, group_sizes(settings, preset, selection, reporter))
        for labels, selection in zip(all_labels, selections, strict=True)
    ]
    gpu = not files and any(on_gpu(labels.embedding, percentile, settings.device) is not None for labels in all_labels)
    reporter.say(
        f"mine: {max(each.rows for each in selections):,} candidates, "
        f"{' + '.join(f'{len(labels.names):,}' for labels in all_labels)} labels, "
        f"on {files or ('the GPU' if gpu else f'{cores()} cores')}, float32 then float64"
    )
    spread_files = None
    if files is not None:
        spread_files = files.second_pass(
            [each.labels.embedding for each in sets], percentile, [each.sizes for each in sets], stores.dimension,
            near_last,
        )
    found = best_rows(settings, stores, sets, percentile, near_last, work, reporter, spread_files)
    identity = model[0].identity if model else stores.model
    top, share = asked_for(settings, preset)
    summaries = []
    for each, one, mined in zip(settings.each(), sets, found, strict=True):
        effective = each.model_copy(
            update={
                "preset": settings.preset or stores.preset or "paper", "percentile": percentile, "per_pos": per_pos,
                "keep_id_names": keep_ids, "dedupe": settings.dedupe or stores.dedupe, "top": top, "top_share": share,
                "near_labels_last": near_last,
                "label_prompt": one.labels.prompts, "work": None, "engine": "local", "address": None,
            }
        )  # fmt: skip
        summaries.append(write_negatives(effective, stores, one.selection, one.labels, mined, identity))
    rest = {"seconds": round(time.monotonic() - start, 3), "warnings": reporter.warnings}
    if len(summaries) == 1:
        return {**summaries[0], **rest}
    counts = {name: sum(one["counts"][name] for one in summaries) for name in summaries[0]["counts"]}
    return {"out": str(settings.out), "counts": counts, "farthest": [], "nearest": [], "random": settings.random,
            "sets": summaries, **rest}  # fmt: skip


def check(settings: MineSettings) -> list[str]:
    """Refuse what can be refused before any work. Returns the words to exclude.

    Raises:
        UsageError: an output that would overwrite something, a missing file, a prompt without ``{}``.
    """
    check_engine(settings.engine, settings.address)
    if settings.device == "cuda" and settings.engine == "local" and not gpu_count():
        resolve_device(settings.device)  # the labels at least are encoded there, or it is refused
    if len(settings.label_sets) > 1 and settings.out.suffix:
        raise UsageError(f"--out {settings.out}: name a folder, for there are several --labels")
    for each in settings.each():
        check_out(each)
    for template in settings.label_prompt:
        check_template(template, f"--label-prompt {template}")
    for path in settings.label_sets:
        if not path.is_file():
            raise UsageError(f"--labels {path} does not exist; give a text file, one name a line, or Parquet")
        if not is_parquet(path):
            read_lines(path, "labels")
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
        if not used:
            used.append(
                load_known(
                    stores.model, "the candidates", settings.model, settings.pretrained, settings.quickgelu,
                    # A driver needs no GPU, nor does it take one from its workers.
                    settings.device if settings.engine == "local" else "cpu",
                )
            )  # fmt: skip
        return TextEncoder.of(used[0])

    return load
