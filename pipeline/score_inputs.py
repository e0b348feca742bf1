"""What the pictures of a ``score`` run are compared with: labels, groups of negatives; and whether it all fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel import NeglabelError, UsageError
from neglabel.pipeline import store
from neglabel.pipeline.labels import is_parquet, load_labels
from neglabel.pipeline.negatives import Negatives
from neglabel.pipeline.presets import PRESETS
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.score_model import ModelOnDemand
from neglabel.pipeline.score_plan import DataSet
from neglabel.pipeline.score_settings import ScoreSettings
from neglabel.pipeline.score_streams import about_stream
from neglabel.pipeline.scores import SCORES, fused_groups, group_negatives
from neglabel.pipeline.scores.neglabel import N_GROUPS, Groups


def foreign(settings: ScoreSettings, metadata: Mapping[str, Any], sets: Sequence[DataSet]) -> str | None:
    """A file of embeddings that doesn't say which model made them; None where there is none.

    Args:
        metadata: of the negatives' file.
    """
    if is_parquet(settings.negatives) and not metadata.get("model"):
        return str(settings.negatives)
    if is_parquet(settings.labels):
        return str(settings.labels)
    return next((data.source.spec for data in sets if data.source.embeddings is not None), None)


def read_labels(
    settings: ScoreSettings, negatives: Negatives, model: ModelOnDemand, reporter: Reporter
) -> tuple[tuple[str, ...], NDArray[np.float32], tuple[str, ...]]:
    """Names, (K, D) unit vectors, and the prompts used (as given where the labels are embeddings already).

    Raises:
        UsageError: as :func:`neglabel.pipeline.labels.load_labels`.
    """
    prompts = settings.label_prompt or negatives.label_prompts or PRESETS["paper"].label_prompts
    labels = load_labels(settings.labels, prompts, model.text, reporter)
    mined_for = (negatives.metadata.get("labels") or {}).get("names", list(labels.names))
    if mined_for != list(labels.names):
        reporter.warn(
            f"{settings.negatives} was mined for {len(mined_for):,} other label{'s' * (len(mined_for) != 1)} than "
            f"{settings.labels} has; mine again unless that is meant"
        )
    return labels.names, labels.embedding, labels.prompts or settings.label_prompt


def group(
    settings: ScoreSettings, temperatures: Mapping[str, float], negatives: Negatives, reporter: Reporter
) -> tuple[int, Groups | None]:
    """The number of groups, given or by default, and the groups that count; None where no score has a use for them.

    Raises:
        UsageError: more groups asked for than there are negatives, or more fused than there are groups.
    """
    few = len(negatives) < N_GROUPS
    number = settings.groups or (1 if few else N_GROUPS)
    if settings.fused_groups and not any(SCORES[name].grouped for name in temperatures):
        grouped = ", ".join(name for name, spec in SCORES.items() if spec.grouped)
        raise UsageError(f"--fused-groups {settings.fused_groups}: no score asked for has groups; ask for {grouped}")
    if not len(negatives) or not any(SCORES[name].grouped for name in temperatures):
        return number, None
    if settings.groups is None and few:
        reporter.warn(f"{settings.negatives} has fewer than {N_GROUPS} negative labels: scored as one group")
    if settings.fused_groups and settings.fused_groups > number:
        raise UsageError(
            f"--fused-groups {settings.fused_groups} is more than the {number} group{'s' * (number != 1)} there "
            f"{'are' if number != 1 else 'is'}; choose 1 to {number}, or more --groups"
        )
    if number == 1:
        return number, None
    groups = group_negatives(len(negatives), number, settings.group_order, settings.group_drop, settings.seed)
    return number, fused_groups(groups, settings.fused_groups, settings.seed) if settings.fused_groups else groups


def grouping(settings: ScoreSettings, name: str, number: int, groups: Groups | None) -> dict[str, Any]:
    """What the manifest says of a score's groups: how many there are, and how many of them count (None: all); and of
    its stream."""
    grouped = groups is not None and SCORES[name].grouped
    return {"groups": number if grouped else None, "fused": settings.fused_groups if grouped else None,
            "stream": about_stream(settings, name)}  # fmt: skip


def same_dimension(
    settings: ScoreSettings,
    negatives: Negatives,
    labels: NDArray[np.float32],
    sets: Iterable[DataSet],
    model: ModelOnDemand,
) -> None:
    """Raises UsageError naming the two whose embeddings can't be compared."""
    wanted = labels.shape[1]
    others = [(f"negatives {settings.negatives}", negatives.embedding.shape[1])] if len(negatives) else []
    for data in sets:
        if data.source.embeddings is not None:
            others.append((f"pictures {data.source.spec}", store.dimension(data.source.embeddings) or wanted))
        else:
            others.append((f"model {model.name}", int(model.loaded.identity["embed_dim"])))
    for what, dimension in others:
        if dimension != wanted:
            raise UsageError(
                f"labels {settings.labels} have {wanted} dimensions and {what} {dimension}; use one model for all"
            )


def check_embeddings(sets: Iterable[DataSet], dimension: int, reporter: Reporter) -> None:
    """Read every picture that is an embedding once, before anything is written.

    Raises:
        UsageError: embeddings that are no floats.
        NeglabelError: NaN, infinite or zero embeddings, or of differing length, with file and row.
    """
    for data in sets:
        path = data.source.embeddings
        if path is None:
            continue
        blocks = reporter.track(
            store.stream(path), f"check {data.name}", len(data.source.items), size=lambda block: len(block.embedding)
        )
        for block in blocks:
            if block.embedding.shape[1] != dimension:
                raise NeglabelError(
                    f"{path}, row {block.start + 1:,}: an embedding of {block.embedding.shape[1]} dimensions "
                    f"among others of {dimension}; leave that row out"
                )
