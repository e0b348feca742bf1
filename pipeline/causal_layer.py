"""One transformer block of open_clip on packed rows: its own weights, in products that write where they should."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: QuickGELU(h) = h·σ(1.702 h) = SiLU(1.702 h) / 1.702, and the two factors ride on the products around it.
QUICK = 1.702


class CausalLayer:
    """A ``ResidualAttentionBlock`` or ``CustomResidualAttentionBlock`` in parts; holds views of its weights.

    The products are ``addmm`` into buffers of the caller: fresh memory costs a page fault a page.
    """

    def __init__(self, block: Any) -> None:
        attention, mlp = block.attn, block.mlp
        self.block = block
        self.heads: int = attention.num_heads
        width = attention.in_proj_weight.shape[1]
        self.ln_1, self.ln_2 = block.ln_1, block.ln_2
        bias = attention.in_proj_bias
        if bias is None:
            bias = attention.in_proj_weight.new_zeros(3 * width)
        self.query = (bias[:width], attention.in_proj_weight[:width].t())
        self.key_value = (bias[width:], attention.in_proj_weight[width:].t())
        self.out = _linear(attention.out_proj)
        self.fc, self.proj = _linear(mlp.c_fc), _linear(mlp.c_proj)
        self.activation = mlp.gelu
        self.quick = type(mlp.gelu).__name__ == "QuickGELU"
        # What only custom blocks have; None where it does nothing.
        self.ln_q, self.ln_k, self.ln_inner = (_some(attention, name) for name in ("ln_q", "ln_k", "ln_inner"))
        self.head_scale = getattr(attention, "head_scale", None)
        self.ln_attn, self.ln_hidden = _some(block, "ln_attn"), _some(mlp, "ln")
        self.scale_1, self.scale_2 = (getattr(_some(block, name), "gamma", None) for name in ("ls_1", "ls_2"))

    @property
    def hidden(self) -> int:
        return int(self.fc[0].shape[0])

    def queries(self, normed: Tensor, out: Tensor) -> Tensor:
        """(t, D) rows after the first layer norm → their queries, written to ``out``."""
        torch.addmm(self.query[0], normed, self.query[1], out=out)
        return out if self.ln_q is None else out.copy_(self._each_head(self.ln_q, out))

    def keys_values(self, normed: Tensor, out: Tensor) -> Tensor:
        """(t, D) rows after the first layer norm → (t, 2 D) keys and values, written to ``out``."""
        torch.addmm(self.key_value[0], normed, self.key_value[1], out=out)
        if self.ln_k is not None:
            keys = out[:, : out.shape[1] // 2]
            keys.copy_(self._each_head(self.ln_k, keys))
        return out

    def finish(self, x: Tensor, attended: Tensor, hidden: Tensor) -> None:
        """Add to ``x`` (t, D), in place, what attention found and then the MLP's output; ``hidden`` is scratch."""
        if self.head_scale is not None:
            attended = (attended.view(len(x), self.heads, -1) * self.head_scale.view(1, self.heads, 1)).flatten(1)
        if self.ln_inner is not None:
            attended = self.ln_inner(attended)
        self._add(x, attended, self.out, self.ln_attn, self.scale_1, 1.0)
        scale = QUICK if self.quick else 1.0
        torch.addmm(self.fc[0], self.ln_2(x), self.fc[1], beta=scale, alpha=scale, out=hidden)
        if self.quick:
            F.silu(hidden, inplace=True)
        elif type(self.activation) is nn.GELU:
            torch.ops.aten.gelu_(hidden, approximate=self.activation.approximate)
        else:
            hidden = self.activation(hidden)
        if self.ln_hidden is not None:
            hidden = self.ln_hidden(hidden.div_(scale))
            scale = 1.0
        self._add(x, hidden, self.proj, None, self.scale_2, 1 / scale)

    def _add(
        self, x: Tensor, rows: Tensor, linear: tuple[Tensor, Tensor], ln: Any, gamma: Tensor | None, alpha: float
    ) -> None:
        bias, weight = linear
        if ln is None and gamma is None:
            x.addmm_(rows, weight, alpha=alpha).add_(bias)
            return
        step = torch.addmm(bias, rows, weight, alpha=alpha)
        if ln is not None:
            step = ln(step)
        x.add_(step if gamma is None else step * gamma)

    def _each_head(self, ln: Any, rows: Tensor) -> Tensor:
        return ln(rows.unflatten(1, (self.heads, -1))).flatten(1)

def _linear(module: nn.Linear) -> tuple[Tensor, Tensor]:
    bias = module.bias if module.bias is not None else module.weight.new_zeros(module.out_features)
    return bias, module.weight.t()

def _some(owner: Any, name: str) -> Any:
    module = getattr(owner, name, None)
    return None if module is None or isinstance(module, nn.Identity) else module
