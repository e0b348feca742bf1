"""The text towers that ``precision.py`` compares: each dtype over the prefix tree, int8 among them."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neglabel.pipeline.causal_tower import CausalTower
from neglabel.pipeline.models import load_model
from neglabel.pipeline.products import Product
from neglabel.pipeline.text_encoder import TOKEN_BUDGET
from neglabel.pipeline.towers import inspect

KINDS = ("fp32", "fp16", "bf16", "bf16, summed in bf16", "int8 dynamic")


class Int8Product(Product):
    """FBGEMM's dynamic int8: weights by output channel, rows by one scale a call: a row depends on its neighbours."""

    def __init__(self, exact: Product) -> None:
        """``exact`` must not be packed."""
        self.gain, self.packed = exact.gain, None
        self.weight = exact.weight
        weight = (exact.weight.t() * exact.gain).contiguous()
        scale = weight.abs().amax(dim=1).clamp(min=1e-12).double() / 127
        with warnings.catch_warnings():
            # PyTorch moves its quantisation out of the core; the kernels are still the fastest int8 at hand.
            warnings.simplefilter("ignore")
            whole = torch.quantize_per_channel(weight, scale, torch.zeros_like(scale, dtype=torch.long), 0, torch.qint8)
            self.int8 = torch.ops.quantized.linear_prepack(whole, exact.bias * exact.bias_gain)

    def into(self, rows: Tensor, out: Tensor) -> Tensor:
        return out.copy_(torch.ops.quantized.linear_dynamic(rows, self.int8, False))

    def add_to(self, x: Tensor, rows: Tensor) -> None:
        x.add_(torch.ops.quantized.linear_dynamic(rows, self.int8, False))


def tower(kind: str, model: str, tokenizer: Any) -> CausalTower:
    """A tower of :data:`KINDS` with the weights of ``emoji``, or random ones of another open_clip model.

    Int8 is in every Linear of every block; the token table, the norms and the last projection stay float32.
    """
    precision = kind[:4] if kind[:4] in ("fp16", "bf16") else "fp32"
    if model == "emoji":
        whole = load_model("emoji", device="cpu", precision=precision).model
    else:
        import open_clip

        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            whole = open_clip.create_model(model, load_weights=False, precision=precision).eval().requires_grad_(False)
    parts = inspect(whole, tokenizer).parts
    assert parts is not None
    found = CausalTower(parts)
    if "summed" in kind:
        found.stream = found.dtype
    if kind.startswith("int8"):
        for layer, block in zip(found.layers, parts.blocks, strict=True):
            plain = type(layer)(block, packed=False)
            for name in ("query", "key_value", "out", "fc", "proj"):
                with torch.inference_mode():
                    setattr(layer, name, Int8Product(getattr(plain, name)))
    return found


def embed(one: CausalTower, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n, context) ids → (n, E) unit embeddings."""
    sequences = one.sequences(ids)
    bounds = one.cut(sequences, TOKEN_BUDGET["cpu"]).tolist()
    found = np.concatenate([one.run(sequences, a, b).numpy() for a, b in pairwise(bounds)])
    result = np.empty((len(ids), found.shape[1]), np.float32)
    result[sequences.order] = found.repeat(np.diff(sequences.starts), 0)
    return result
