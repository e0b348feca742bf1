"""Which exact path a text tower allows: by what it is made of (here), and by trying it (``tower_check.py``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import nn

from neglabel.pipeline.causal_parts import CausalParts
from neglabel.pipeline.hf_tower import TransformersModel

#: Hugging Face towers whose attention masks padding and whose places don't depend on it.
MASKING = {"bert", "camembert", "distilbert", "electra", "m2m_100", "mpnet", "mt5", "roberta", "t5", "xlm-roberta",
           "xlm-roberta-xl"}  # fmt: skip
POOLERS = {"MeanPooler", "ClsPooler", "ClsLastHiddenStatePooler"}


class Found(NamedTuple):
    """What inspection says: the path; the parts or the padding id it needs; why it is no better path."""

    path: str
    parts: CausalParts | None = None
    pad_id: int | None = None
    why: str = ""


class _Unknown(Exception):
    """Something about the tower that only its own ``encode_text`` does justice to."""


def inspect(model: Any, tokenizer: Any) -> Found:
    """``prefix-tree`` for causal towers read at an end token, ``cut`` where padding is masked, ``plain`` otherwise.

    Types are compared exactly: a subclass may compute anything.
    """
    from open_clip.coca_model import CoCa
    from open_clip.hf_model import HFTextEncoder
    from open_clip.model import CLIP, CustomTextCLIP
    from open_clip.transformer import TextTransformer

    try:
        if type(model) is TransformersModel:
            # All three families mask padding: two by attention, GroupViT by being causal and read at the end token.
            _untouched(part for name, part in model.inner.named_children() if name != "vision_model")
            return Found("cut", pad_id=model.pad_id)
        _require(type(model) in (CLIP, CustomTextCLIP, CoCa), f"unknown model {type(model).__name__}")
        _require("encode_text" not in vars(model), "its encode_text was replaced")
        if type(model) is CLIP:
            return Found("prefix-tree", parts=_causal(model, model.text_pool_type, model.text_eos_id))
        tower = model.text
        if type(tower) is TextTransformer:
            return Found("prefix-tree", parts=_causal(tower, tower.pool_type, tower.eos_id))
        _require(type(tower) is HFTextEncoder, f"unknown text tower {type(tower).__name__}")
        return Found("cut", pad_id=_masked(tower, tokenizer))
    except _Unknown as reason:
        return Found("plain", why=str(reason))


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise _Unknown(otherwise)


def _causal(tower: Any, pool: str, eos_id: int) -> CausalParts:
    from open_clip.transformer import Transformer

    mask, cls = tower.attn_mask, getattr(tower, "cls_emb", None)
    places = len(tower.positional_embedding)
    _require(mask is not None, "it isn't causal, and padding is part of what it computes")
    causal = torch.full((places, places), float("-inf")).triu_(1)
    _require(mask.shape == causal.shape and torch.equal(mask.float().cpu(), causal), "its attention mask isn't causal")
    _require(cls is not None or pool in ("argmax", "eos", "first"), f"it is pooled by `{pool}`")
    _require(type(tower.transformer) is Transformer, f"unknown transformer {type(tower.transformer).__name__}")
    _require(type(tower.token_embedding) is nn.Embedding, "unknown token embedding")
    _require(tower.token_embedding.max_norm is None, "its token embedding is renormalised")
    _untouched([tower.token_embedding, tower.transformer, tower.ln_final])
    blocks = tuple(tower.transformer.resblocks)
    for block in blocks:
        _block(block)
    weight = blocks[0].mlp.c_fc.weight
    alike = all(
        w.dtype == weight.dtype and w.device == weight.device
        for b in blocks
        for w in (b.attn.in_proj_weight, b.attn.out_proj.weight, b.mlp.c_fc.weight, b.mlp.c_proj.weight)
    )
    _require(alike, "its blocks differ in precision or device")
    projection = tower.text_projection
    _require(projection is None or type(projection) in (nn.Linear, nn.Parameter), "unknown text projection")
    return CausalParts(
        tower.token_embedding, tower.positional_embedding, blocks, tower.ln_final, projection,
        "cls" if cls is not None else pool, eos_id, cls,
        getattr(tower, "pad_id", 0), getattr(tower, "correct_cls_mask", False),
    )  # fmt: skip


def _block(block: Any) -> None:
    from open_clip import transformer as t

    norms = (t.LayerNorm, t.LayerNormFp32, nn.LayerNorm)
    attention, mlp = block.attn, block.mlp
    if type(block) is t.ResidualAttentionBlock:
        _require(type(attention) is nn.MultiheadAttention, "unknown attention")
        known = attention._qkv_same_embed_dim and attention.bias_k is None and not attention.add_zero_attn
        _require(known and not hasattr(block, "ln_1_kv"), "its attention has parts of another kind")
        extra = []
    else:
        _require(type(block) is t.CustomResidualAttentionBlock, f"unknown block {type(block).__name__}")
        _require(type(attention) is t.Attention and attention.logit_scale is None, "its attention is a cosine")
        extra = [attention.ln_q, attention.ln_k, attention.ln_inner, block.ln_attn, mlp.ln]
    _require(type(mlp) is nn.Sequential, "unknown MLP")
    names = [name for name, _ in mlp.named_children()]
    _require([n for n in names if n != "ln"] == ["c_fc", "gelu", "c_proj"], "unknown MLP")
    _require(all(type(n) in norms for n in (block.ln_1, block.ln_2)), "unknown layer norm")
    _require(all(type(n) in (*norms, nn.Identity) for n in extra), "unknown layer norm")
    _require(all(type(s) in (t.LayerScale, nn.Identity) for s in (block.ls_1, block.ls_2)), "unknown layer scale")
    _require(type(mlp.gelu) in (t.QuickGELU, nn.GELU), f"unknown activation {type(mlp.gelu).__name__}")
    _require(isinstance(attention.out_proj, nn.Linear), "unknown output projection")
    _require(type(mlp.c_fc) is nn.Linear and type(mlp.c_proj) is nn.Linear, "its MLP is quantised or unknown")


def _masked(tower: Any, tokenizer: Any) -> int:
    config, pad = tower.config, getattr(tower.config, "pad_token_id", None)
    _require(config.model_type in MASKING, f"unknown Hugging Face tower `{config.model_type}`")
    _require(pad is not None, "it has no padding id")
    _require(type(tower.pooler).__name__ in POOLERS, f"it is pooled by {type(tower.pooler).__name__}")
    strange = getattr(tokenizer, "strip_sep_token", False) or getattr(tokenizer, "tokenizer_mode", "")
    _require(not strange, "its tokenizer puts zeros or padding between tokens")
    side = getattr(getattr(tokenizer, "tokenizer", None), "padding_side", "right")
    _require(side == "right", "its tokenizer pads on the left")
    _untouched([tower])
    assert pad is not None
    return int(pad)


def _untouched(modules: Iterable[nn.Module]) -> None:
    """No hooks, no parametrized weights, nothing in training mode, no replaced forward."""
    for module in (m for root in modules for m in root.modules()):
        _require(not module.training, "it is in training mode")
        _require(not module._forward_hooks and not module._forward_pre_hooks, "it has hooks")
        _require("parametrizations" not in module._modules, "its weights are parametrized")
        _require("forward" not in vars(module), "a module's forward was replaced")
