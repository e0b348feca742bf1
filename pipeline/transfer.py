"""Pixels to the device and vectors back: on CUDA through page-locked memory, so that nothing waits for a copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(pixels: Sequence[Tensor], device: torch.device, dtype: torch.dtype) -> Tensor:
    """n × (C, H, W) → (n, C, H, W) on ``device`` in ``dtype``; on CUDA the copy is queued, not waited for."""
    if device.type != "cuda":
        return torch.stack(list(pixels)).to(device, dtype)
    # PyTorch keeps page-locked blocks for the next batch, and gives none out again before its copy is done.
    first = pixels[0]
    pinned = torch.empty((len(pixels), *first.shape), dtype=first.dtype, pin_memory=True)
    return torch.stack(list(pixels), out=pinned).to(device, non_blocking=True).to(dtype)


@dataclass(frozen=True)
class Landing:
    """Vectors on their way to the host; ``wait`` gives them."""

    host: Tensor
    done: torch.cuda.Event | None = None

    def wait(self) -> NDArray[np.float32]:
        """(n, D) float32; waits for what was queued before :func:`to_host`, and for nothing behind it."""
        found: NDArray[np.float32] = self.host.numpy()
        if self.done is None:
            return found
        self.done.synchronize()
        copy: NDArray[np.float32] = found.copy()  # the page-locked block is for the next batch
        return copy


def to_host(vectors: Tensor) -> Landing:
    """Queue the copy of ``vectors`` (n, D) float32 behind what computes them."""
    if vectors.device.type != "cuda":
        return Landing(vectors.cpu())
    # Not ``.cpu()`` later on: it would wait for the batch that is queued behind this one as well.
    host = torch.empty(vectors.shape, dtype=vectors.dtype, pin_memory=True)
    host.copy_(vectors, non_blocking=True)
    done = torch.cuda.Event()  # type: ignore[no-untyped-call]
    done.record(torch.cuda.current_stream(vectors.device))
    return Landing(host, done)
