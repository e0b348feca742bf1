"""Our rows of ``encode.py``: the tower, with tokenising, from words to Parquet; and what each step brings."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip.model import convert_weights_to_lp
from torch import Tensor

from neglabel.corpora import Candidate
from neglabel.pipeline.causal_layer import CausalLayer
from neglabel.pipeline.causal_tower import CausalTower
from neglabel.pipeline.clock import Clock
from neglabel.pipeline.encode_work import encode_here
from neglabel.pipeline.plan import ShardPlan
from neglabel.pipeline.prefix_tree import distinct, tree
from neglabel.pipeline.prompts import Prompts
from neglabel.pipeline.shard_words import pack
from neglabel.pipeline.text_encoder import TextEncoder

#: name, prompts, run, FLOPs
Made = tuple[str, int, Any, float]


def ours(world: Any, _: int) -> Iterator[Made]:
    encoder = TextEncoder(world.model, world.tokenizer)
    assert encoder.path == "prefix-tree"
    tower, n = encoder._settled[1], len(world.prompts)
    flops = tree_flops(world, tower, encoder.token_budget)
    yield "ours: tower", n, lambda: run(tower, world.ids, encoder.token_budget), flops
    yield "ours: with tokenising", n, lambda: encoder.encode(cold(encoder, world.prompts)), flops
    words = [Candidate(w, "noun", "en", "wordnet", "", "") for w in world.words]
    parts = [pack(ShardPlan(words), Prompts({"": "the nice {}"}))]

    def to_parquet() -> Any:
        cold(encoder, [])
        with tempfile.TemporaryDirectory() as folder:
            # As `encode` does it: the last shard is written, and the next made ready, while this one is computed.
            for _ in encode_here(enumerate(parts), Path(folder), encoder, "float16", lambda *_: None, Clock()):
                pass
        return ()

    yield "ours: words to Parquet (float16)", n, to_parquet, flops


def ablation(world: Any, _: int) -> Iterator[Made]:
    """Cut at the end token; sorted by length as well; a prefix tree (the last layer's saving: `ours: tower`); bf16."""
    found = TextEncoder(world.model, world.tokenizer)._settled[1]
    assert isinstance(found, CausalTower)
    ids, n = world.ids[: max(len(world.ids) // 8, 64)], len(world.ids)
    few = len(ids)
    lengths = ids.argmax(axis=1) + 1
    by_length = np.argsort(lengths, kind="stable")
    for name, order in (("ablation: cut", np.arange(few)), ("ablation: cut, sorted", by_length)):
        yield name, few, lambda order=order: cut_only(world.model, ids[order], lengths[order], order), 0.0
    every = EveryNode(found.parts)
    yield "ablation: prefix tree", n, lambda: run(every, world.ids, 3_072), 0.0
    half = copy.deepcopy(world.model)
    convert_weights_to_lp(half, torch.bfloat16)  # as `--precision bf16` does it: layer norms stay in float32
    lower = TextEncoder(half, world.tokenizer)._settled[1]
    some = world.ids[: max(n // 8, 64)]
    yield "ablation: ours, tower in bfloat16", len(some), lambda: run(lower, some, 3_072), 0.0


def run(tower: Any, ids: Any, budget: int) -> Any:
    sequences = tower.sequences(ids)
    bounds = tower.cut(sequences, budget).tolist()
    found = np.concatenate([tower.run(sequences, a, b).numpy() for a, b in pairwise(bounds)])
    result = np.empty_like(found, shape=(len(ids), found.shape[1]))
    result[sequences.order] = found.repeat(np.diff(sequences.starts), 0)
    return result


def cold(encoder: TextEncoder, prompts: list[str]) -> list[str]:
    """Our tokenizer remembers words; forget them, as for a corpus that comes once."""
    words = encoder._tokens._words
    assert words is not None
    words._forget()
    words._merge_part.cache_clear()
    return prompts


def tree_flops(world: Any, tower: CausalTower, budget: int) -> float:
    """Matrix products only: 12 D² multiplications a node and layer; in the last, keys and values, and 10 D² an end."""
    sequences = distinct(*tower.parts.sequences(world.ids))
    bounds = tower.cut(sequences, budget).tolist()
    nodes = sum(tree(sequences, a, b).nodes for a, b in pairwise(bounds))
    d, layers = tower.width, len(tower.layers)
    return 2.0 * d * d * (nodes * (12 * (layers - 1) + 2) + len(sequences.lengths) * 10)


class EveryNode(CausalTower):
    """The prefix tree without the saving in the last layer."""

    def _last(
        self, layer: CausalLayer, number: int, x: Tensor, queries: Tensor, memory: Tensor, keys: Tensor,
        mask: Tensor, ends: Tensor,
    ) -> Tensor:  # fmt: skip
        for part in self._tiles(len(x)):
            layer.queries(layer.ln_1(x[part]), queries[part])
        for part in self._tiles(len(x)):
            attended = self._attend(layer, queries[part], memory, keys, mask, part)
            layer.finish(x[part], attended, self._buffer("hidden", len(attended), layer.hidden))
        return x[ends]


@torch.inference_mode()
def cut_only(model: Any, ids: Any, lengths: Any, order: Any, batch: int = 64) -> Any:
    """open_clip's modules on prompts cut to the longest of a batch."""
    found = []
    for i in range(0, len(ids), batch):
        longest = int(lengths[i : i + batch].max())
        text = torch.from_numpy(ids[i : i + batch, :longest])
        x = model.token_embedding(text) + model.positional_embedding[:longest]
        x = model.transformer(x, attn_mask=model.attn_mask[:longest, :longest])
        x = model.ln_final(x[torch.arange(len(x)), text.argmax(dim=-1)]) @ model.text_projection
        found.append(torch.nn.functional.normalize(x, dim=-1))
    result = torch.cat(found).numpy()
    back = np.empty_like(result)
    back[order] = result
    return back
