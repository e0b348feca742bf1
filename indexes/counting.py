"""Counting on a GPU: products of candidates and ID labels stay on the device, counts of them come back.

The same interface as :mod:`neglabel.indexes.cosines` has on a CPU, and the same guard: float32 products without TF32,
whatever the order of their sums. Any torch device will do; k-nearest limits don't matter, since nothing is selected.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neglabel.indexes.cosines import Block, Floats, LabelProducts
from neglabel.indexes.torch_products import product

#: Products a block on a device: 256 MB of float32.
DEVICE_VALUES = 1 << 26


class DeviceBlock(Block):
    """A block's products on a device; ``dots`` is a tensor (n, K)."""

    def __init__(self, dots: Any, length: NDArray[np.float64]) -> None:
        super().__init__(dots, length)

    def above(self, cosine: NDArray[np.float64]) -> NDArray[np.uint32]:
        """As on the CPU: one comparison and one sum on the device, n counts back."""
        bound = np.nextafter((cosine * self.length).astype(np.float32), np.float32(np.inf))
        counts = (self.dots > torch.from_numpy(bound).to(self.dots.device)[:, None]).sum(dim=1, dtype=torch.int32)
        return np.asarray(counts.cpu().numpy(), np.uint32)

    def take(self, rows: NDArray[np.intp]) -> DeviceBlock:
        return DeviceBlock(self._rows(rows), self.length[rows])

    def cosines(self, rows: NDArray[np.intp]) -> Floats:
        """(r, K) float32 cosines of the rows at ``rows``, in the CPU's memory."""
        return np.asarray(self._rows(rows).cpu().numpy() / self.length[rows].astype(np.float32)[:, None])

    def _rows(self, rows: NDArray[np.intp]) -> Any:
        return self.dots[torch.from_numpy(np.asarray(rows, np.int64)).to(self.dots.device)]


class DeviceProducts(LabelProducts):
    """K ID labels on one or several devices; blocks of candidates go to them in turn."""

    #: A count is cheap where the products are, and what is measured has to come back first.
    rest = 0.0

    def __init__(self, labels: NDArray[np.float64], percentile: float, devices: Sequence[str] = ("cuda",)) -> None:
        """Args: as :class:`LabelProducts`; ``devices``: torch's names for them."""
        super().__init__(labels, percentile)
        columns = torch.from_numpy(np.ascontiguousarray(self._columns.T))
        self._there = itertools.cycle([columns.to(torch.device(device)).T for device in devices])

    @property
    def block_rows(self) -> int:
        return int(np.clip(DEVICE_VALUES // self.count, 256, 65_536))

    def block(self, rows: Floats, length: NDArray[np.float64]) -> DeviceBlock:
        """As on the CPU; safe to be called by several threads, whose copies and counts then overlap."""
        columns = next(self._there)
        return DeviceBlock(product(torch.from_numpy(np.ascontiguousarray(rows)).to(columns.device), columns), length)


def cuda_devices() -> list[str]:
    """All CUDA devices that PyTorch can use."""
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
