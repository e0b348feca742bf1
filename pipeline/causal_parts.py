"""What a causal text tower is made of, and which of its tokens its output depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True)
class CausalParts:
    """What :func:`neglabel.pipeline.towers.inspect` found a causal text tower to be made of."""

    token_embedding: nn.Embedding
    positional_embedding: Tensor
    blocks: tuple[Any, ...]
    ln_final: Any
    #: a matrix (D, E), a Linear, or nothing.
    projection: Any
    #: ``argmax``, ``eos`` or ``first``; ``cls`` where a class token is appended (CoCa).
    pool: str
    eos_id: int = -1
    #: CoCa's class token, the id of padding, and whether its mask is the corrected one.
    cls: Tensor | None = None
    pad_id: int = 0
    correct_cls_mask: bool = False

    @property
    def cls_token(self) -> int:
        """The id under which the class token is planned: the first that is no word's."""
        return self.token_embedding.num_embeddings

    def sequences(self, ids: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """(n, L) padded ids → ids and lengths (n,) of what the tower's output depends on; the last token is the end."""
        if self.cls is None:
            if self.pool == "argmax":
                return ids, ids.argmax(axis=1) + 1
            # No end token anywhere: open_clip then reads the first place.
            return ids, (ids == self.eos_id).argmax(axis=1) + 1 if self.pool == "eos" else np.ones(len(ids), np.int64)
        n, context = ids.shape
        words = context - (ids[:, ::-1] != self.pad_id).argmax(axis=1)
        words[(ids == self.pad_id).all(axis=1)] = 0
        # The mask of published CoCa weights is shifted by one: the class token sees the first padding token as well.
        at = words if self.correct_cls_mask else np.minimum(words + 1, context)
        wide = np.concatenate([ids, np.full((n, 1), self.pad_id)], axis=1)
        wide[np.arange(n), at] = self.cls_token
        return wide, at + 1

    @property
    def hiding(self) -> dict[str, Any]:
        """Which nodes nobody sees, as arguments of :func:`neglabel.pipeline.prefix_tree.tree`."""
        return {} if self.cls is None else {"unseen": self.pad_id, "unseen_by_parent": not self.correct_cls_mask}
