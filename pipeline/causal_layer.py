"""One transformer block of open_clip on packed rows: its own weights, in products that write where they should."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from neglabel.pipeline.products import QUICK, Product


class CausalLayer:
    """A ``ResidualAttentionBlock`` or ``CustomResidualAttentionBlock`` in parts.

    Args:
        packed: whether products may hold copies of the weights (:func:`neglabel.pipeline.products.can_pack`).
    """

    def __init__(self, block: Any, packed: bool = False) -> None:
        attention, mlp = block.attn, block.mlp
        self.heads: int = attention.num_heads
        self.hidden: int = mlp.c_fc.out_features
        self.ln_1, self.ln_2 = block.ln_1, block.ln_2
        weight, bias = attention.in_proj_weight, attention.in_proj_bias
        width = weight.shape[1]
        self.query = Product(weight[:width], None if bias is None else bias[:width], packed)
        self.key_value = Product(weight[width:], None if bias is None else bias[width:], packed)
        self.out = Product(attention.out_proj.weight, attention.out_proj.bias, packed)
        self.activation = mlp.gelu
        # What only custom blocks have; None where it does nothing.
        self.ln_q, self.ln_k, self.ln_inner = (_some(attention, name) for name in ("ln_q", "ln_k", "ln_inner"))
        self.head_scale = getattr(attention, "head_scale", None)
        self.ln_attn, self.ln_hidden = _some(block, "ln_attn"), _some(mlp, "ln")
        self.scale_1, self.scale_2 = (getattr(_some(block, name), "gamma", None) for name in ("ls_1", "ls_2"))
        gain = QUICK if type(mlp.gelu).__name__ == "QuickGELU" else 1.0
        self.fc = Product(mlp.c_fc.weight, mlp.c_fc.bias, packed, gain)
        # A norm of the hidden layer stands between the two factors of QuickGELU: then the first is taken back there.
        self.undo = gain if self.ln_hidden is not None else 1.0
        self.proj = Product(mlp.c_proj.weight, mlp.c_proj.bias, packed, self.undo / gain, bias_gain=1.0)

    def queries(self, normed: Tensor, out: Tensor) -> Tensor:
        """(t, D) rows after the first layer norm → their queries, written to ``out``."""
        self.query.into(normed, out)
        return out if self.ln_q is None else out.copy_(self._each_head(self.ln_q, out))

    def keys_values(self, normed: Tensor, out: Tensor) -> Tensor:
        """(t, D) rows after the first layer norm → (t, 2 D) keys and values, written to ``out``."""
        self.key_value.into(normed, out)
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
        if self.ln_attn is None and self.scale_1 is None:
            self.out.add_to(x, attended)
        else:
            step = self.out.into(attended, x.new_empty(x.shape))
            step = step if self.ln_attn is None else self.ln_attn(step)
            x.add_(step if self.scale_1 is None else step * self.scale_1)
        hidden = self.fc.activated(self.ln_2(x), self.activation, hidden)
        if self.ln_hidden is not None:
            hidden = self.ln_hidden(hidden.div_(self.undo))
        if self.scale_2 is None:
            self.proj.add_to(x, hidden)
        else:
            x.add_(self.proj.into(hidden, x.new_empty(x.shape)) * self.scale_2)

    def _each_head(self, ln: Any, rows: Tensor) -> Tensor:
        return ln(rows.unflatten(1, (self.heads, -1))).flatten(1)  # type: ignore[no-any-return, no-untyped-call]


def _some(owner: Any, name: str) -> Any:
    module = getattr(owner, name, None)
    return None if module is None or isinstance(module, nn.Identity) else module
