"""Towers run through their own ``encode_text``: cut to the longest of a batch where padding is masked, else padded."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from neglabel.pipeline.prefix_tree import Ints, Sequences, distinct


class MaskedTower:
    """A whole tower, one call a batch of sequences of about one length, every distinct sequence once.

    Args:
        pad_id: the id that the tower masks; None where padding is part of what it computes, so nothing is cut.
    """

    def __init__(self, model: Any, pad_id: int | None) -> None:
        self.model = model
        self.pad_id = pad_id
        self.device: torch.device = next(model.parameters()).device

    def sequences(self, ids: NDArray[Any]) -> Sequences:
        """(n, L) padded ids → the distinct ones, by length; what stands behind the last token is cut off."""
        n, context = ids.shape
        lengths = np.full(n, context, np.int64)
        if self.pad_id is not None:
            lengths -= (ids[:, ::-1] != self.pad_id).argmax(axis=1)
        return by_length(distinct(ids, lengths))

    def cut(self, sequences: Sequences, budget: int) -> Ints:
        """Bounds (c + 1,) of batches of at most ``budget`` tokens, padding included; one sequence always fits."""
        bounds, lengths = [0], sequences.lengths
        while bounds[-1] < len(lengths):
            start = bounds[-1]
            # Lengths rise, so the size of a batch that begins here rises with its end.
            size = np.arange(1, len(lengths) - start + 1) if budget > len(lengths) - start else np.arange(1, budget + 1)
            fits = int(np.searchsorted(size * lengths[start : start + len(size)], budget, side="right"))
            bounds.append(start + max(fits, 1))
        return np.array(bounds, np.int64)

    @torch.inference_mode()
    def run(self, sequences: Sequences, start: int, stop: int, unit: bool = True) -> Tensor:
        """The (stop − start, E) float32 embeddings of a batch; without ``unit`` as long as the tower makes them."""
        lengths = sequences.lengths[start:stop]
        ids = sequences.ids[start:stop, : int(lengths.max())]
        if self.pad_id is not None:
            ids = np.where(np.arange(ids.shape[1]) < lengths[:, None], ids, self.pad_id)
        features = self.model.encode_text(torch.from_numpy(ids.astype(np.int64)).to(self.device))
        return F.normalize(features.float(), dim=-1) if unit else features.float()

    def release(self) -> None:
        """Nothing is kept from batch to batch."""


def by_length(sequences: Sequences) -> Sequences:
    """The same sequences, shorter ones first; of one length as they were."""
    turn = np.argsort(sequences.lengths, kind="stable")
    counts = np.diff(sequences.starts)[turn]
    starts = np.concatenate([[0], np.cumsum(counts)])
    within = np.arange(len(sequences.order)) - np.repeat(starts[:-1], counts)
    order = sequences.order[np.repeat(sequences.starts[:-1][turn], counts) + within]
    # ``shared`` belongs to the order they were in.
    none = np.zeros_like(sequences.lengths)
    return Sequences(sequences.ids[turn], sequences.lengths[turn], none, order, starts)
