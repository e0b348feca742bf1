"""The start-up check: a few hard prompts through the path that inspection found and through ``encode_text``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neglabel.pipeline.causal_tower import CausalTower
from neglabel.pipeline.masked_tower import MaskedTower
from neglabel.pipeline.prefix_tree import Ints, Sequences
from neglabel.pipeline.towers import inspect

#: What a path may differ by from ``encode_text``: an entry in float32, a cosine (from 1) in half precision.
TOLERANCE, COSINE = 2e-6, 1e-3


class Tower(Protocol):
    """A way through a text tower: what of the ids counts, how to cut it into batches, and a batch's embeddings."""

    def sequences(self, ids: NDArray[np.int64]) -> Sequences: ...
    def cut(self, sequences: Sequences, budget: int) -> Ints: ...
    def run(self, sequences: Sequences, start: int, stop: int) -> Tensor: ...
    def release(self) -> None: ...


def settle(
    model: Any, tokenizer: Any, ids: Callable[[Sequence[str]], NDArray[np.int64]], context_length: int
) -> tuple[str, Tower, str]:
    """The path (``prefix-tree``, ``cut``, ``plain``), the tower that runs it, and why it is plain, or nothing."""
    found = inspect(model, tokenizer)
    plain, why = MaskedTower(model, None), found.why
    if found.path == "plain":
        return "plain", plain, why
    tower: Tower = CausalTower(found.parts) if found.parts else MaskedTower(model, found.pad_id)
    why = _differs(tower, plain, ids(probes(context_length)), _half(model))
    return ("plain", plain, why) if why else (found.path, tower, "")


def probes(context_length: int) -> list[str]:
    """Prompts on which a wrong path would show: empty, special ids inside, shared beginnings, at and over the limit."""
    long = [" ".join(["a"] * (context_length - n)) for n in (3, 2, 1)]
    return ["", "!!a", "! !", "a dog", "a dog house", "a dog", "the nice cat", "dog <end_of_text> cat", "猫は可愛い",
            "e\u0301 😀", *long]  # fmt: skip


def _differs(tower: Tower, plain: Tower, ids: NDArray[np.int64], half: bool) -> str:
    """Why ``tower`` can't be trusted; empty where it agrees with ``plain``."""
    # So small a budget that there are several batches.
    ours, theirs = (_whole(t, t.sequences(ids), b) for t, b in ((tower, 4 * ids.shape[1]), (plain, ids.size)))
    off, closest = np.abs(ours - theirs).max(), (ours * theirs).sum(axis=1).min()
    # Written so that NaN is a difference.
    if closest >= 1 - COSINE if half else off <= TOLERANCE:
        return ""
    return f"the faster path gave other embeddings ({f'cosine {closest:.4f}' if half else f'up to {off:.1e} off'})"


def _half(model: Any) -> bool:
    return any(p.dtype in (torch.float16, torch.bfloat16) for p in model.parameters())


def _whole(tower: Tower, sequences: Sequences, budget: int) -> NDArray[np.float32]:
    blocks = [tower.run(sequences, a, b).cpu().numpy() for a, b in pairwise(tower.cut(sequences, budget).tolist())]
    back = np.repeat(np.arange(len(sequences.lengths)), np.diff(sequences.starts))[np.argsort(sequences.order)]
    return np.concatenate(blocks)[back]  # type: ignore[no-any-return]
