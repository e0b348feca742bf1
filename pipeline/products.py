"""Products of rows with a layer's weights, by the fastest kernel at hand that gives the same float32 numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: QuickGELU(h) = h·σ(1.702 h) = SiLU(1.702 h) / 1.702, and the two factors ride on the products around it.
QUICK = 1.702
#: Bytes of weights above which no packed copy is made: memory stays within what the model itself takes and 1.5 GB.
PACK_LIMIT = 1 << 30
#: Bytes of weights below which packing gains nothing, while oneDNN's kernels for every shape take 0.3 GB.
PACK_FROM = 1 << 26
#: What oneDNN says of a kernel that it has no memory to make.
NO_KERNEL = "could not create a primitive"
#: Rows that weights are packed for.
_ROWS = 512


class Product:
    """``gain · rows · weightᵀ + bias_gain · bias``; ``bias_gain`` is ``gain`` unless given.

    oneDNN on weights packed beforehand (a copy) does 1.3 times as many products a second as PyTorch's own ``addmm`` on
    the CPUs measured; it takes float32 on a CPU. Everything else is ``addmm`` on the model's weights as they are. Rows
    of another dtype are rounded to that of the weights; what comes out is stored, or added, as the target is.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, packed: bool, gain: float = 1.0, bias_gain: float | None = None
    ) -> None:
        """``weight`` (out, in), ``bias`` (out,) or None; ``packed`` as :func:`can_pack` says."""
        self.weight, self.gain = weight.t(), gain
        self.bias = weight.new_zeros(len(weight)) if bias is None else bias
        self.bias_gain = gain if bias_gain is None else bias_gain
        self.packed: Tensor | None = None
        if packed:
            self.bias = self.bias * self.bias_gain
            self.packed = torch.ops.mkldnn._reorder_linear_weight((weight * gain).contiguous(), _ROWS)

    def into(self, rows: Tensor, out: Tensor) -> Tensor:
        """(t, in) → ``out`` (t, out)."""
        if self.packed is not None:
            return out.copy_(self._one_dnn(rows))
        rows = rows.to(self.weight.dtype)
        if out.dtype != rows.dtype:
            return out.copy_(torch.addmm(self.bias, rows, self.weight, beta=self.bias_gain, alpha=self.gain))
        return torch.addmm(self.bias, rows, self.weight, beta=self.bias_gain, alpha=self.gain, out=out)

    def add_to(self, x: Tensor, rows: Tensor) -> None:
        """Add the product to ``x`` (t, out) in place."""
        if self.packed is not None:
            x.add_(self._one_dnn(rows))
        elif x.dtype != self.weight.dtype:
            rows = rows.to(self.weight.dtype)
            x.add_(torch.addmm(self.bias, rows, self.weight, beta=self.bias_gain, alpha=self.gain))
        else:
            x.addmm_(rows, self.weight, alpha=self.gain).add_(self.bias, alpha=self.bias_gain)

    def activated(self, rows: Tensor, activation: nn.Module, out: Tensor) -> Tensor:
        """(t, in) → (t, out) after ``activation``; with QuickGELU's gain, after SiLU. ``out`` is scratch."""
        quick, gelu = self.gain == QUICK, type(activation) is nn.GELU
        if self.packed is not None and (quick or gelu):
            kind = ("swish", "") if quick else ("gelu", str(activation.approximate))
            return self._one_dnn(rows, *kind)
        out = self.into(rows, out)
        if quick:
            return F.silu(out, inplace=True)
        if gelu:
            return _gelu(out, str(activation.approximate))
        return activation(out)  # type: ignore[no-any-return]

    def _one_dnn(self, rows: Tensor, activation: str = "none", algorithm: str = "") -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self.packed, self.bias, activation, [], algorithm)
        return product


def _gelu(x: Tensor, approximate: str) -> Tensor:
    """GELU in place."""
    try:
        torch.ops.aten.gelu_(x, approximate=approximate)
    except RuntimeError as error:
        # A kernel that oneDNN once had no memory to make is not tried again: PyTorch's own needs none.
        if NO_KERNEL not in str(error):
            raise
        with torch.backends.mkldnn.flags(enabled=False):
            torch.ops.aten.gelu_(x, approximate=approximate)
    return x


def can_pack(weights: list[Tensor]) -> bool:
    """Whether these weights may be packed for oneDNN: float32 on a CPU, not too many, and PyTorch was built with it."""
    alike = all(w.device.type == "cpu" and w.dtype == torch.float32 for w in weights)
    if not alike or not PACK_FROM <= sum(4 * w.numel() for w in weights) <= PACK_LIMIT:
        return False
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
