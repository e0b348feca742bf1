"""Small text towers of every kind that open_clip builds, with perturbed weights: for equality, not for meaning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from open_clip.coca_model import CoCa
from open_clip.hf_model import HFTextEncoder
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer, get_clean_fn

CONTEXT = 14
RESNET = {"layers": [1, 1, 1, 1], "width": 8, "image_size": 32}
VIT = {"layers": 1, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 32}
TEXT = {"context_length": CONTEXT, "vocab_size": 49_408, "width": 32, "heads": 2, "layers": 3}
END = 49_407


def clip(kind: Any = CLIP, vision: Any = VIT, quick_gelu: bool = False, **text: Any) -> Any:
    return kind(32, vision, {**TEXT, **text}, quick_gelu=quick_gelu)


def coca(correct: bool) -> Any:
    text = {**TEXT, "embed_cls": True, "output_tokens": True}
    vision = {**VIT, "attentional_pool": True, "attn_pooler_heads": 2, "attn_pooler_queries": 4, "output_tokens": True}
    model = CoCa(32, {**TEXT, "attn_pooler_heads": 2}, text, vision)
    model.text.correct_cls_mask = correct
    return model


def hugging_face(model_type: str, pooler: str, **config: Any) -> Any:
    from transformers import AutoConfig

    sizes = {
        "vocab_size": 200, "hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2,
        "intermediate_size": 64, "max_position_embeddings": 40, "pad_token_id": 1,
    }  # fmt: skip
    model = CustomTextCLIP(32, VIT, TEXT)
    model.text = HFTextEncoder(
        "", 32, config=AutoConfig.for_model(model_type, **sizes, **config), pooler_type=pooler, proj_type="mlp"
    )
    return model


def characters() -> HFTokenizer:
    """open_clip's wrapper around a Hugging Face tokenizer that needs no download: one token a character."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = {token: i for i, token in enumerate([*special, *map(chr, range(32, 127))])}
    inner = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    inner.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    wrapper = HFTokenizer.__new__(HFTokenizer)
    wrapper.tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    wrapper.context_length, wrapper.tokenizer_mode, wrapper.strip_sep_token = CONTEXT, "", False
    wrapper.clean_fn = get_clean_fn("whitespace")
    return wrapper


EVERYTHING = {"qk_norm": True, "scale_heads": True, "scale_attn_inner": True, "scale_attn": True, "scale_fc": True}
#: kind → (how it is built, the path it must take)
ZOO: dict[str, tuple[Callable[[], Any], str]] = {
    "CLIP, QuickGELU": (lambda: clip(quick_gelu=True), "prefix-tree"),
    "CLIP, GELU": (clip, "prefix-tree"),
    "CLIP, tanh GELU": (lambda: clip(act_kwargs={"approximate": "tanh"}), "prefix-tree"),
    "RN50": (lambda: clip(vision=RESNET, quick_gelu=True), "prefix-tree"),
    "one layer": (lambda: clip(layers=1), "prefix-tree"),
    "custom text": (lambda: clip(CustomTextCLIP), "prefix-tree"),
    "layer scale": (lambda: clip(ls_init_value=0.3, quick_gelu=True), "prefix-tree"),
    "custom attention": (lambda: clip(CustomTextCLIP, ls_init_value=0.3, **EVERYTHING), "prefix-tree"),
    "custom attention, QuickGELU": (lambda: clip(quick_gelu=True, **EVERYTHING), "prefix-tree"),
    "no projection": (lambda: clip(CustomTextCLIP, proj_type="none"), "prefix-tree"),
    "linear projection": (lambda: clip(CustomTextCLIP, proj_bias=True), "prefix-tree"),
    "end token": (lambda: clip(pool_type="eos", eos_id=END), "prefix-tree"),
    "end token that never comes": (lambda: clip(pool_type="eos", eos_id=11), "prefix-tree"),
    "special token above the end": (lambda: clip(vocab_size=49_409), "prefix-tree"),
    "CoCa": (lambda: coca(False), "prefix-tree"),
    "CoCa, corrected mask": (lambda: coca(True), "prefix-tree"),
    "XLM-R": (lambda: hugging_face("xlm-roberta", "mean_pooler"), "cut"),
    "BERT": (lambda: hugging_face("bert", "cls_pooler"), "cut"),
    "SigLIP": (lambda: clip(CustomTextCLIP, no_causal_mask=True, pool_type="last", proj_bias=True), "plain"),
    "MobileCLIP": (lambda: clip(CustomTextCLIP, no_causal_mask=True), "plain"),
    "last place": (lambda: clip(CustomTextCLIP, pool_type="last"), "plain"),
    "unknown class": (lambda: shadowed(clip(CustomTextCLIP)), "plain"),
}


def shadowed(model: Any) -> Any:
    """A tower of a class that nobody knows."""
    kind = type(model.text)
    model.text.__class__ = type("OwnTower", (kind,), {"forward": lambda self, text: kind.forward(self, text).flip(-1)})
    return model


def build(kind: str, seed: int = 0) -> tuple[Any, Any]:
    """The model and its tokenizer. Every parameter is moved, so that none is 0 or 1 by its initial value."""
    torch.manual_seed(seed)
    model = ZOO[kind][0]().eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * (0.2 if parameter.ndim == 1 else 0.05))
    if ZOO[kind][1] == "cut":
        return model, characters()
    extra = ["<mask>"] if kind.startswith("special") else []
    return model, SimpleTokenizer(context_length=CONTEXT, additional_special_tokens=extra)
