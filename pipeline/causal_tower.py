"""The forward pass of a causal text tower over a prefix tree, on open_clip's own modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from neglabel.pipeline.causal_layer import CausalLayer
from neglabel.pipeline.causal_parts import CausalParts
from neglabel.pipeline.prefix_tree import BLOCK, Ints, Sequences, Tree, cut, distinct, tree
from neglabel.pipeline.products import can_pack

#: Rows a tile on the CPU, a multiple of the block: half a chunk, so that its hidden layer is no larger than it need be
#: (benchmarks/encode_tiles.py: 512 rows are 6 % slower).
TILE = 1_536


class CausalTower:
    """Runs prefix trees through the tower; keeps its scratch memory from tree to tree."""

    def __init__(self, parts: CausalParts, tile: int | None = None) -> None:
        self.parts = parts
        weights = [p for block in parts.blocks for p in block.parameters() if p.ndim == 2]
        packed = can_pack(weights)
        with torch.inference_mode():
            self.layers = [CausalLayer(block, packed) for block in parts.blocks]
        weight = parts.blocks[0].mlp.c_fc.weight
        self.device, self.dtype, self.width = weight.device, weight.dtype, parts.token_embedding.embedding_dim
        # The residual stream: bfloat16's 8 bits would round every sum; in float32 the cosine is off by half as much.
        norms = parts.ln_final.weight.dtype
        self.stream = norms if self.dtype == torch.bfloat16 else self.dtype
        # On a GPU one launch takes all rows.
        self.tile = tile or (TILE if self.device.type == "cpu" else 1 << 30)
        self._scratch: dict[str, Tensor] = {}

    def sequences(self, ids: NDArray[Any]) -> Sequences:
        """(n, L) padded ids → the distinct sequences that count, sorted."""
        return distinct(*self.parts.sequences(ids))

    def cut(self, sequences: Sequences, budget: int) -> Ints:
        """Bounds (c + 1,) of batches of about ``budget`` nodes."""
        return cut(sequences, budget)

    def run(self, sequences: Sequences, start: int, stop: int, unit: bool = True) -> Tensor:
        """The (stop − start, E) float32 embeddings of a batch, on the tower's device; without ``unit`` as long as the
        tower makes them."""
        found = self.forward(tree(sequences, start, stop, **self.parts.hiding))
        return F.normalize(found, dim=-1) if unit else found

    def release(self) -> None:
        """Let go of the scratch memory."""
        self._scratch.clear()

    @torch.inference_mode()
    def forward(self, tree: Tree) -> Tensor:
        """The (m, E) float32 embeddings of a tree's ends, as long as the tower makes them, on its device."""
        token, depth, last, keys, ends, first, alike = (self._put(array) for array in tree[:-1])
        rows = len(token)
        keys, mask = self._visible(keys, last)
        x = self._buffer("x", rows, self.width, self.stream)
        embedded = self._embed(token[first], depth[first])
        torch.index_select(embedded, 0, alike, out=x)
        queries, memory = self._buffer("q", rows, self.width), self._buffer("kv", rows, 2 * self.width)
        for number, layer in enumerate(self.layers):
            final = number == len(self.layers) - 1
            if number == 0:
                # Before attention mixes, a node is its token and its place: each pair once.
                normed = layer.ln_1(embedded)
                asked = layer.queries(normed, torch.empty_like(normed, dtype=self.dtype))
                torch.index_select(asked, 0, alike, out=queries)
                both = normed.new_empty(len(normed), 2 * self.width, dtype=self.dtype)
                torch.index_select(layer.keys_values(normed, both), 0, alike, out=memory)
            else:
                for part in self._tiles(rows):
                    normed = layer.ln_1(x[part])
                    layer.keys_values(normed, memory[part])
                    if not final:
                        layer.queries(normed, queries[part])
            if final:
                x = self._last(layer, number, x, queries, memory, keys, mask, ends)
            else:
                for part in self._tiles(rows):
                    attended = self._attend(layer, queries[part], memory, keys, mask, part)
                    layer.finish(x[part], attended, self._buffer("hidden", len(attended), layer.hidden))
        return self._project(self.parts.ln_final(x))

    def _last(
        self, layer: CausalLayer, number: int, x: Tensor, queries: Tensor, memory: Tensor, keys: Tensor,
        mask: Tensor, ends: Tensor,
    ) -> Tensor:  # fmt: skip
        """The last layer, of which only the end nodes are read: nobody else needs a query, a projection, an MLP."""
        read = x[ends]
        if number:
            asked = torch.empty_like(read, dtype=self.dtype)
            for part in self._tiles(len(read)):
                layer.queries(layer.ln_1(read[part]), asked[part])
            queries.index_copy_(0, ends, asked)
        attended = torch.cat(
            [self._attend(layer, queries[part], memory, keys, mask, part) for part in self._tiles(len(x))]
        )[ends]
        for part in self._tiles(len(read)):
            layer.finish(read[part], attended[part], self._buffer("hidden", len(read[part]), layer.hidden))
        return read

    def _attend(
        self, layer: CausalLayer, queries: Tensor, memory: Tensor, keys: Tensor, mask: Tensor, part: slice
    ) -> Tensor:
        """(t, D) queries of whole blocks → (t, D): each over what its block may see."""
        blocks = slice(part.start // BLOCK, part.start // BLOCK + len(queries) // BLOCK)
        seen = memory.index_select(0, keys[blocks].reshape(-1))
        k, v = seen.view(-1, keys.shape[1], 2, layer.heads, self.width // layer.heads).permute(2, 0, 3, 1, 4)
        q = queries.view(-1, BLOCK, layer.heads, self.width // layer.heads).transpose(1, 2)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[blocks]).transpose(1, 2).reshape(queries.shape)

    def _visible(self, keys: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """(b, k) keys → keys that can be gathered, and the additive mask (b, 1, BLOCK, k) of all layers."""
        known = keys.clamp(min=0)
        query = torch.arange(len(last), device=self.device).view(-1, BLOCK, 1)
        # In depth-first order a node lies under another where it comes no earlier and within that one's descendants.
        seen = ((keys >= 0) & (last[known] >= 0))[:, None] & (known[:, None] <= query) & (last[known][:, None] >= query)
        mask = torch.zeros(seen.shape, dtype=self.dtype, device=self.device)
        return known, mask.masked_fill_(~seen, float("-inf"))[:, None]

    def _embed(self, token: Tensor, depth: Tensor) -> Tensor:
        parts = self.parts
        place = depth
        if parts.cls is None:
            x = parts.token_embedding(token).to(self.stream)
        else:
            is_cls = token == parts.cls_token
            x = parts.token_embedding(token.clamp(max=parts.cls_token - 1)).to(self.stream)
            x = torch.where(is_cls[:, None], parts.cls.to(self.stream), x)
            place = depth.masked_fill(is_cls, len(parts.positional_embedding) - 1)
        placed: Tensor = x + parts.positional_embedding.to(self.stream)[place]
        return placed

    def _project(self, x: Tensor) -> Tensor:
        projection = self.parts.projection
        if isinstance(projection, nn.Linear):
            bias = projection.bias
            x = F.linear(x, projection.weight.to(x.dtype), None if bias is None else bias.to(x.dtype))
        elif projection is not None:
            x = x @ projection.to(x.dtype)
        return x.float()

    def _tiles(self, rows: int) -> list[slice]:
        return [slice(i, min(i + self.tile, rows)) for i in range(0, rows, self.tile)]

    def _buffer(self, name: str, rows: int, width: int, dtype: torch.dtype | None = None) -> Tensor:
        held = self._scratch.get(name)
        if held is None or len(held) < rows or held.shape[1] != width:
            # Zeros: a node without a query keeps what was there, and that must be a number.
            self._scratch[name] = held = torch.zeros(rows, width, dtype=dtype or self.dtype, device=self.device)
        return held[:rows]

    def _put(self, array: NDArray[np.int64]) -> Tensor:
        tensor = torch.from_numpy(array)
        # From pinned memory the copy waits for no batch before it.
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else tensor
