"""The start-up check: a few hard prompts through the path that inspection found and through ``encode_text``.

A path is right or wrong in float32: there it agrees with ``encode_text`` to 2e-6 or isn't taken. In half precision
two right ways differ by rounding, and that would hide a wrong one. So a tower in half precision is checked twice: a
float32 copy of its weights both ways, to the same 2e-6; then the path itself against that copy's ``encode_text``, from
which it may stray no further than a few times what the tower's own ``encode_text`` strays. Whether that is near enough
to the weights as published is another question, which ``precision.py`` answers for ``--precision auto``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neglabel.pipeline.causal_tower import CausalTower
from neglabel.pipeline.masked_tower import MaskedTower
from neglabel.pipeline.prefix_tree import Ints, Sequences
from neglabel.pipeline.towers import Found, inspect

#: What an entry may differ by in float32.
TOLERANCE = 2e-6
#: How many times as far as ``encode_text`` a path may stray in half precision (1 − cosine), and what is always allowed.
STRAY, ALLOWED = 4, 2e-6


class Tower(Protocol):
    """A way through a text tower: what of the ids counts, how to cut it into batches, and a batch's embeddings."""

    def sequences(self, ids: NDArray[Any]) -> Sequences: ...
    def cut(self, sequences: Sequences, budget: int) -> Ints: ...
    def run(self, sequences: Sequences, start: int, stop: int, unit: bool = True) -> Tensor: ...
    def release(self) -> None: ...


def settle(
    model: Any, tokenizer: Any, ids: Callable[[Sequence[str]], NDArray[Any]], context_length: int
) -> tuple[str, Tower, str]:
    """The path (``prefix-tree``, ``cut``, ``plain``), the tower that runs it, and why it is plain, or nothing."""
    found = inspect(model, tokenizer)
    plain, why = MaskedTower(model, None), found.why
    if found.path == "plain":
        return "plain", plain, why
    tower, hard = _faster(model, found), ids(probes(context_length))
    if not any(p.dtype in (torch.float16, torch.bfloat16) for p in model.parameters()):
        why = _differs(tower, plain, hard)
    else:
        exact = _in_float32(model)
        truth = MaskedTower(exact, None)
        why = _differs(_faster(exact, inspect(exact, tokenizer)), truth, hard) or _strays(tower, plain, truth, hard)
    return ("plain", plain, why) if why else (found.path, tower, "")


def _faster(model: Any, found: Found) -> Tower:
    return CausalTower(found.parts) if found.parts else MaskedTower(model, found.pad_id)


def _in_float32(model: Any) -> Any:
    """A copy of the text tower; what isn't text is left out."""
    others = (module for name in ("visual", "text_decoder") if (module := getattr(model, name, None)) is not None)
    # What deepcopy believes to have copied already, it doesn't copy.
    return deepcopy(model, {id(module): None for module in others}).float()


def probes(context_length: int) -> list[str]:
    """Prompts on which a wrong path would show: empty, special ids inside, shared beginnings, at and over the limit."""
    long = [" ".join(["a"] * (context_length - n)) for n in (3, 2, 1)]
    return ["", "!!a", "! !", "a dog", "a dog house", "a dog", "the nice cat", "dog <end_of_text> cat", "猫は可愛い",
            "e\u0301 😀", *long]  # fmt: skip


def _differs(tower: Tower, plain: Tower, ids: NDArray[Any]) -> str:
    """Why ``tower``, in float32, can't be trusted; empty where it agrees with ``plain``."""
    off = np.abs(_in_pieces(tower, ids) - _whole(plain, ids)).max()
    # Written so that NaN is a difference.
    return "" if off <= TOLERANCE else f"the faster path gave other embeddings (up to {off:.1e} off)"


def _strays(tower: Tower, plain: Tower, truth: Tower, ids: NDArray[Any]) -> str:
    """Why ``tower``, in half precision, can't be trusted; empty where it is about as near to ``truth`` as ``plain``."""
    exact = _whole(truth, ids).astype(np.float64)
    ours, theirs = (1 - (exact * found).sum(axis=1).min() for found in (_in_pieces(tower, ids), _whole(plain, ids)))
    if ours <= max(STRAY * theirs, ALLOWED):
        return ""
    return f"the faster path gave other embeddings (cosine to float32 {1 - ours:.6f}, encode_text's {1 - theirs:.6f})"


def _in_pieces(tower: Tower, ids: NDArray[Any]) -> NDArray[np.float32]:
    """(n, E) unit embeddings, with so small a budget that there are several batches."""
    return _whole(tower, ids, 4 * ids.shape[1])


def _whole(tower: Tower, ids: NDArray[Any], budget: int = 0) -> NDArray[np.float32]:
    """(n, E) unit embeddings, in one batch unless there is a budget."""
    sequences = tower.sequences(ids)
    bounds = tower.cut(sequences, budget or ids.size).tolist()
    blocks = [tower.run(sequences, a, b).cpu().numpy() for a, b in pairwise(bounds)]
    back = np.repeat(np.arange(len(sequences.lengths)), np.diff(sequences.starts))[np.argsort(sequences.order)]
    return np.concatenate(blocks)[back]  # type: ignore[no-any-return]
