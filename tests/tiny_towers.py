"""Small real multilingual models with random weights, each a folder with its own tokenizer, made without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KINDS = ("xlm-r", "nllb", "siglip", "siglip2")
#: Characters of several scripts, so that no word below is all unknown.
_LETTERS = sorted(set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,!?'-0123456789éèçœüßñ"
                      "абвгдежзийклмнопрстуфхцчшщъыьэюя漂亮的狗猫照片犬かわいいالكلبجميΑλέφωכלב"))  # fmt: skip
_WORDS = ("▁the", "▁nice", "▁dog", "▁chien", "▁joli", "▁le", "▁a", "▁photo", "▁of", "ing", "er", "en", "▁хорош")
_VISION = {"layers": 1, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 32}


def build_tower(folder: Path, kind: str, part: str = ".", seed: int = 0, **text: Any) -> Path:
    """A model folder of one of :data:`KINDS` in open_clip's format. Returns the folder.

    Args:
        part: where in the folder the text tower's configuration and its tokenizer go; ``.`` is the folder itself.
        text: changes of ``text_cfg``.
    """
    place = folder / part
    place.mkdir(parents=True, exist_ok=True)
    vocabulary = _tokenizer(place, kind)
    config = _config(place, kind, vocabulary, part)
    config["text_cfg"].update(text)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    _weights(folder, config, seed)
    return folder


def absolute_copy(folder: Path, target: Path) -> Path:
    """The same model as open_clip itself can load it: the tower's configuration by an absolute path."""
    target.mkdir()
    whole = json.loads((folder / "open_clip_config.json").read_text())
    text = whole["model_cfg"]["text_cfg"]
    place = (folder / text["hf_tokenizer_name"]).resolve()
    if "hf_model_name" in text:
        text["hf_model_name"] = str(place)
    for file in (*place.iterdir(), folder / "open_clip_model.safetensors"):
        if file.is_file():
            (target / file.name).write_bytes(file.read_bytes())
    (target / "open_clip_config.json").write_text(json.dumps(whole))
    return target


def _weights(folder: Path, config: Mapping[str, Any], seed: int) -> None:
    import torch
    from open_clip.model import CustomTextCLIP
    from safetensors.torch import save_file

    built = json.loads(json.dumps(config))
    built.pop("custom_text", None)
    if "hf_model_name" in built["text_cfg"]:
        built["text_cfg"] |= {"hf_model_name": str(folder / built["text_cfg"]["hf_model_name"])}
        built["text_cfg"] |= {"hf_model_pretrained": False}
    torch.manual_seed(seed)
    state = CustomTextCLIP(**built).state_dict()
    save_file({k: v.clone().contiguous() for k, v in state.items()}, folder / "open_clip_model.safetensors")


def _config(place: Path, kind: str, vocabulary: int, part: str) -> dict[str, Any]:
    if kind in ("siglip", "siglip2"):
        return {
            "embed_dim": 96, "init_logit_bias": -10, "custom_text": True,
            "vision_cfg": {"image_size": 160, "timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "none"},
            "text_cfg": {
                "context_length": 64, "vocab_size": vocabulary, "hf_tokenizer_name": part, "width": 64, "heads": 2,
                "layers": 2, "no_causal_mask": True, "proj_bias": True, "pool_type": "last",
                "tokenizer_kwargs": {"clean": "canonicalize"}, "norm_kwargs": {"eps": 1e-6},
                **({"act_kwargs": {"approximate": "tanh"}} if kind == "siglip2" else {}),
            },
        }  # fmt: skip
    if kind == "xlm-r":
        own: dict[str, Any] = {
            "model_type": "xlm-roberta", "architectures": ["XLMRobertaModel"], "vocab_size": vocabulary,
            "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
            "max_position_embeddings": 90, "type_vocab_size": 1, "pad_token_id": 1, "bos_token_id": 0,
            "eos_token_id": 2,
        }  # fmt: skip
        text = {"hf_pooler_type": "mean_pooler"}
    else:
        own = {
            "model_type": "m2m_100", "architectures": ["M2M100ForConditionalGeneration"], "vocab_size": vocabulary,
            "d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2,
            "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "is_encoder_decoder": True,
            "max_position_embeddings": 128, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
        }  # fmt: skip
        text = {"hf_proj_type": "linear", "hf_pooler_type": "cls_pooler"}
    (place / "config.json").write_text(json.dumps(own))
    return {
        "embed_dim": 24, "quick_gelu": False, "vision_cfg": _VISION,
        "text_cfg": {"hf_model_name": part, "hf_tokenizer_name": part, **text},
    }  # fmt: skip


def _tokenizer(place: Path, kind: str) -> int:
    """Writes the tokenizer as its family has it; returns the number of its tokens."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    family = {
        "xlm-r": (["<s>", "<pad>", "</s>", "<unk>"], "<s> $A </s>"),
        "nllb": (["<s>", "<pad>", "</s>", "<unk>", "eng_Latn", "fra_Latn"], "eng_Latn $A </s>"),
        "siglip": (["<unk>", "</s>", "<pad>"], "$A </s>"),
        "siglip2": (["<pad>", "<eos>", "<bos>", "<unk>"], "$A <eos>"),
    }
    special, template = family[kind]
    end = "<eos>" if kind == "siglip2" else "</s>"
    pieces = [(token, 0.0) for token in special]
    pieces += [("▁", -3.0), *((c, -5.0) for c in _LETTERS), *((w, -2.0) for w in _WORDS)]
    inner = Tokenizer(models.Unigram(pieces, unk_id=special.index("<unk>"), byte_fallback=False))
    inner.normalizer = normalizers.NFKC()
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    ids = [(token, special.index(token)) for token in template.split() if token in special]
    inner.post_processor = processors.TemplateProcessing(single=template, special_tokens=ids)
    whole = PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", pad_token="<pad>", eos_token=end, padding_side="right",
        **({"bos_token": "<s>", "cls_token": "<s>", "sep_token": "</s>"} if kind in ("xlm-r", "nllb") else {}),
    )  # fmt: skip
    whole.save_pretrained(str(place))
    return len(whole)
