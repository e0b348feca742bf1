"""The negative labels on a device: products and the largest of them stay there, rows come back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neglabel.indexes.flat import Columns, Floats, NegativeIndex, largest
from neglabel.indexes.torch_products import product

#: Similarities a block on a device: 128 MB of float32. What a device has done, threads make tables of meanwhile.
DEVICE_VALUES = 1 << 25


class DeviceNegatives:
    """The texts of a :class:`NegativeIndex` on any torch device, with the same ``order`` and ``groups``."""

    def __init__(self, index: NegativeIndex, device: str = "cuda") -> None:
        self.order, self.groups, self.device = index.order, index.groups, torch.device(device)
        self._size, self._labels = len(index), len(index.texts) - len(index)
        self._texts = torch.from_numpy(index.texts.copy()).to(self.device).T

    def __len__(self) -> int:
        return self._size

    @property
    def vectors(self) -> Floats:
        """(M, D), by ``order``: a copy in the CPU's memory."""
        return np.ascontiguousarray(self._texts[:, self._labels :].T.cpu().numpy(), np.float32)

    def rows_per_block(self, budget: int = DEVICE_VALUES) -> int:
        """How many pictures to take at once so that their similarities to all texts fit."""
        return max(1, budget // max(1, self._texts.shape[1]))

    def similarities(self, images: Floats) -> tuple[Any, Any]:
        """Cosines of pictures (n, D) to the ID labels (n, K) and to the negatives (n, M), as tensors on the device."""
        both = product(torch.from_numpy(np.ascontiguousarray(images)).to(self.device), self._texts)
        return both[:, : self._labels], both[:, self._labels :]

    def largest(self, similarities: Any, k: int, order: Columns | None = None) -> tuple[Columns, Floats]:
        """As :func:`neglabel.indexes.flat.largest`, of a tensor; only the k columns and values leave the device."""
        n, count = similarities.shape
        k = min(k, count)
        if not k:
            return np.empty((n, 0), np.int64), np.empty((n, 0), np.float32)
        high = max(1, math.isqrt(count // k) // 2)
        pieces, columns, values = count // high, None, similarities
        if high > 1 and pieces >= 4 * k:
            maxima = similarities[:, : high * pieces].view(n, high, pieces).amax(dim=1)
            best = maxima.topk(k, dim=1)
            steps = pieces * torch.arange(high, device=self.device)
            tail = torch.arange(high * pieces, count, device=self.device).expand(n, -1)
            columns = torch.cat([(best.indices[:, None, :] + steps[:, None]).reshape(n, -1), tail], dim=1)
            values = similarities.gather(1, columns)
        found = values.topk(k, dim=1)
        chosen = found.indices if columns is None else columns.gather(1, found.indices)
        least = found.values[:, -1:]
        tied = (values >= least).sum(dim=1) > k
        if columns is not None:
            tied |= (maxima >= least).sum(dim=1) > (best.values >= least).sum(dim=1)
        # What ties is decided as on the CPU, by columns; so is the order of what has been found.
        rows = tied.nonzero()[:, 0]
        at, value = chosen.cpu().numpy(), found.values.cpu().numpy()
        rank = np.arange(count) if order is None else order
        sort = np.lexsort((rank[at], -value), axis=1)
        at, value = np.take_along_axis(at, sort, axis=1), np.take_along_axis(value, sort, axis=1)
        if len(rows):
            some = rows.cpu().numpy()
            at[some], value[some] = largest(similarities[rows].cpu().numpy(), k, order)
        return at, value


def vectors_of(tensor: Any) -> NDArray[np.float64]:
    """A tensor in the CPU's memory, in float64."""
    return np.asarray(tensor.cpu().numpy(), np.float64)
