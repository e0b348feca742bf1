"""A run's log-odds with some negatives taken out, from its kept embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel import NeglabelError
from neglabel.pipeline.bootstrap import Floats
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report.compare.kept import Kept
from neglabel.pipeline.report.compare.removal import Indices, Removal
from neglabel.pipeline.scores.neglabel import Groups, fused_groups, group_negatives

#: A recomputed logit may differ from the one in the scores by this, relative to its size: float32 products.
_AGREE = 1e-3
#: By ID set: (pictures,) True in half A.
Halves = Mapping[str, NDArray[np.bool_]]


def groups_of(kept: Kept, score: str) -> Groups:
    """The groups that ``score`` used, (n_g, m); all negatives in one where it has none."""
    entry = next(e for e in kept.run.manifest["scores"] if e["name"] == score)
    number, count = int(entry.get("groups") or 1), len(kept.negatives)
    if number == 1:
        # One group leaves nothing out, and its order doesn't matter.
        return np.arange(count, dtype=np.int64)[None]
    made: Mapping[str, Any] = kept.run.manifest["settings"]
    groups = group_negatives(count, number, made["group_order"], made["group_drop"], made["seed"])
    return fused_groups(groups, int(entry["fused"]), made["seed"]) if entry.get("fused") else groups


def judged(
    kept: Kept, score: str, removed: Sequence[Indices], in_a: Halves, reporter: Reporter
) -> list[dict[str, Floats]]:
    """By choice of words: log-odds by data set, of half B of the ID sets and of all OOD pictures.

    Raises NeglabelError where the embeddings don't give the scores that lie beside them.
    """
    temperature = next(float(e["temperature"]) for e in kept.run.manifest["scores"] if e["name"] == score)
    removal = Removal(groups_of(kept, score), removed, temperature)
    systems: list[dict[str, Floats]] = [{} for _ in removed]
    for data in (*kept.run.of_role("id"), *kept.run.of_role("ood")):
        wanted = ~in_a[data.name] if data.role == "id" else np.ones(data.rows, np.bool_)
        out = np.empty((len(removed), int(wanted.sum())))
        done = 0
        blocks = reporter.track(
            kept.pictures(data, len(kept.negatives)), f"hurting {kept.run.name} {data.name}", data.rows, "pictures",
            size=lambda block: len(block[1]),
        )  # fmt: skip
        for start, block in blocks:
            chosen = block[wanted[start : start + len(block)]]
            out[:, done : done + len(chosen)] = removal.logits(chosen @ kept.labels.T, chosen @ kept.negatives.T)
            done += len(chosen)
        stored = data.logit(score)[wanted]
        if (np.abs(out[0] - stored) > _AGREE * np.maximum(1, np.abs(stored))).any():
            raise NeglabelError(
                f"{kept.run.folder}: the embeddings of {data.name} don't give its `{score}`; "
                "run `score --keep-embeddings` again"
            )
        for system, logits in zip(systems, out, strict=True):
            system[data.name] = logits
    return systems
