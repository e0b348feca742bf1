"""The image tower in the precision asked for, which is compared with float32 on its first batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from neglabel.pipeline.transfer import to_device

#: Half precision is said to be too coarse where a picture's cosine to its float32 embedding is below this.
COSINE = 0.9995
#: Normalised pixels (n, 3, H, W) and what makes unit vectors of them → pixels.
Moved = Callable[[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]], torch.Tensor]
_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


class ImageTower:
    """Pixels → unit vectors.

    ``precision`` is of the matrix products: ``fp32`` (as the weights are), ``fp16`` or ``bf16``. Weights stay as they
    are, since text is encoded by the same model, and the normalisation is in float32. ``notice`` gets one sentence
    where half precision is too coarse. ``moved`` changes normalised pixels before they are encoded
    (:mod:`neglabel.pipeline.odin`).
    """

    def __init__(
        self, model: Any, device: torch.device, precision: str, notice: Callable[[str], None],
        moved: Moved | None = None,
    ) -> None:  # fmt: skip
        self.model, self.device, self.precision, self.notice, self.moved = model, device, precision, notice, moved
        self.dtype: torch.dtype = next(model.parameters()).dtype
        # Of weights that are in half precision already there is nothing finer to compare with.
        self._checked = precision == "fp32" or self.dtype != torch.float32

    @property
    def computed_in(self) -> str:
        """``fp32``, ``fp16`` or ``bf16``, whether by ``precision`` or by the weights."""
        weights = {dtype: name for name, dtype in _DTYPES.items()}.get(self.dtype, "fp32")
        return weights if self.precision == "fp32" else self.precision

    def unit(self, pixels: Sequence[torch.Tensor]) -> torch.Tensor:
        """n × (3, H, W) → (n, D) float32 on the device, rows of length 1; on CUDA queued, not waited for."""
        # TF32 convolutions (PyTorch's default on newer GPUs) would make a picture depend on its batch at 1e-3.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            stacked = to_device(pixels, self.device, self.dtype)
            if self.moved is not None:
                stacked = self.moved(stacked, lambda x: self._unit(x, self.precision))
            return self._checked_unit(stacked)

    def _checked_unit(self, stacked: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            unit = self._unit(stacked, self.precision)
            if not self._checked:
                self._check(stacked, unit)
            return unit

    def _unit(self, stacked: torch.Tensor, precision: str) -> torch.Tensor:
        half = _DTYPES.get(precision)
        with torch.autocast(self.device.type, half) if half else nullcontext():
            features = self.model.encode_image(stacked)
        return torch.nn.functional.normalize(features.float(), dim=-1)

    def _check(self, stacked: torch.Tensor, unit: torch.Tensor) -> None:
        closest = float((self._unit(stacked, "fp32") * unit).sum(dim=-1).min())
        self._checked = True
        # Written so that NaN is too coarse.
        if not closest >= COSINE:
            self.notice(
                f"pictures in {self.precision}: the smallest cosine to fp32 among the first {len(unit):,} is "
                f"{closest:.5f}, below {COSINE}; leave --precision out to have them in fp32"
            )
