"""open_clip's towers, tokenizer and preprocessing, ready to use, and the model's identity."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from neglabel import NeglabelError, UsageError
from neglabel.pipeline import hf_models, hf_text
from neglabel.pipeline.hf_source import PREFIX
from neglabel.pipeline.model_source import ModelSource, configured_dimension, find_model, quiet
from neglabel.pipeline.remember import remembered
from neglabel.pipeline.weights import load_weights

#: Precisions of the computation.
PRECISIONS = ("fp32", "fp16", "bf16")
#: Two embeddings can be compared only where these agree.
IDENTITY_FIELDS = ("checkpoint_sha256", "quick_gelu", "embed_dim", "context_length")


@dataclass(frozen=True)
class LoadedModel:
    """A model in eval mode with what belongs to it.

    ``identity`` has ``model, pretrained, checkpoint_sha256, quick_gelu, embed_dim, context_length, logit_scale``.
    """

    model: Any
    preprocess: Callable[[Any], torch.Tensor]
    tokenizer: Any
    identity: Mapping[str, Any]
    device: torch.device
    precision: str


@remembered(1)
def load_model(
    name: str = "ViT-B-16",
    pretrained: str | None = None,
    quickgelu: bool | None = None,
    device: str = "auto",
    precision: str = "fp32",
) -> LoadedModel:
    """Load a CLIP-like model.

    Args:
        name: an open_clip model name, ``emoji``, a folder with ``open_clip_config.json``, or ``hf:FOLDER`` or
            ``hf:OWNER/NAME[@REVISION]`` of transformers (ALIGN, AltCLIP, GroupViT; :mod:`neglabel.pipeline.hf_models`).
        pretrained: an open_clip tag (downloaded by open_clip) or a checkpoint file; default ``openai``, or the
            weights in the model's folder.
        quickgelu: needed for a checkpoint file that doesn't say itself; OpenAI's weights were trained with it.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``fp32``, ``fp16`` or ``bf16`` (layer norms stay in float32).

    Raises:
        UsageError: unknown model, tag or precision, missing file, or it isn't known whether the weights need QuickGELU.
        NeglabelError: weights can't be downloaded or read.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r} is none of a loaded model's; use {', '.join(PRECISIONS)}")
    place = resolve_device(device)
    if name.startswith(PREFIX):
        return LoadedModel(*hf_models.load(name, pretrained, quickgelu, place, precision), place, precision)
    source = find_model(name, pretrained, quickgelu)
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        model = _build(source, precision, place)
        checkpoint = load_weights(model, source.weights)
        tokenizer = _tokenizer(source, model)
        preprocess = _preprocess(source, model)
    identity = {
        "model": name,
        "pretrained": source.pretrained,
        "checkpoint_sha256": checkpoint,
        "quick_gelu": source.quick_gelu,
        "embed_dim": int(source.config["embed_dim"]),
        "context_length": int(getattr(tokenizer, "context_length", None) or model.context_length),
        "logit_scale": float(model.logit_scale.detach().exp()),
    }
    return LoadedModel(model.eval().requires_grad_(False), preprocess, tokenizer, identity, place, precision)


def load_known(
    known: Mapping[str, Any] | None, what: str, name: str | None, pretrained: str | None, quickgelu: bool | None,
    device: str,
) -> LoadedModel:
    """The model that ``known`` (an identity) names, or the one given, which must be the same.

    Args:
        what: what is known to be of that model, for the error.

    Raises:
        UsageError: the two differ; and what :func:`load_model` raises.
    """
    known = known or {}
    own = name is None or name == known.get("model")
    dimension = None if own or name is None else configured_dimension(name)
    if dimension and known.get("embed_dim") not in (None, dimension):
        raise UsageError(
            f"--model {name} embeds in {dimension} dimensions, {what} in {known['embed_dim']} "
            f"({known.get('model')}); leave --model and --pretrained out, or use one model from encode on"
        )
    if own and pretrained is None and known:
        pretrained = str(known["pretrained"])
        quickgelu = known.get("quick_gelu") if quickgelu is None else quickgelu
    loaded = load_model(name or str(known.get("model") or "ViT-B-16"), pretrained, quickgelu, device)
    if difference := same_model(loaded.identity, known):
        raise UsageError(
            f"--model {loaded.identity['model']} is not the model of {what}: {difference}; leave --model and "
            "--pretrained out, or use one model from encode on"
        )
    return loaded


def same_model(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> str | None:
    """The first field in which two identities differ, as words; None where they agree or one is unknown."""
    for field in IDENTITY_FIELDS:
        if a and b and field in a and field in b and a[field] != b[field]:
            return (
                f"{field} {str(a[field])[:12]} ({a.get('model')}, {a.get('pretrained')}) "
                f"against {str(b[field])[:12]} ({b.get('model')}, {b.get('pretrained')})"
            )
    return None


def resolve_device(device: str) -> torch.device:
    """``auto`` → a CUDA device where there is one. Raises UsageError for ``cuda`` without one."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: PyTorch finds no CUDA device here; use --device cpu")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def _build(source: ModelSource, precision: str, device: torch.device) -> Any:
    """open_clip's own constructor for a config, without asking a hub for weights of a single tower."""
    from open_clip.coca_model import CoCa
    from open_clip.factory import _set_model_device_and_precision
    from open_clip.model import CLIP, CustomTextCLIP, get_cast_dtype

    config = json.loads(json.dumps(dict(source.config)))
    vision = config["vision_cfg"]
    text = config["text_cfg"] = hf_text.text_config(source)
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    custom = config.pop("custom_text", False) or "hf_model_name" in text
    kind = (CoCa if "multimodal_cfg" in config else CustomTextCLIP) if custom else CLIP
    try:
        model = kind(**{**config, "quick_gelu": source.quick_gelu}, cast_dtype=get_cast_dtype(precision))
    except Exception as error:
        # Of a size that doesn't fit, open_clip, timm, transformers and torch each raise their own.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise NeglabelError(f"open_clip can't build {source.name} ({reason})") from None
    _set_model_device_and_precision(model, device, precision, "timm_model_name" in vision)
    return model


def _preprocess(source: ModelSource, model: Any) -> Callable[[Any], torch.Tensor]:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    settings = {k: v for k, v in source.preprocess.items() if k in PreprocessCfg.__dataclass_fields__}
    settings["size"] = getattr(model.visual, "image_size", settings.get("size", 224))
    return image_transform_v2(PreprocessCfg(**settings), is_train=False)  # type: ignore[no-any-return]


def _tokenizer(source: ModelSource, model: Any) -> Any:
    import open_clip

    text = source.config["text_cfg"]
    if text.get("hf_tokenizer_name"):
        tokenizer = hf_text.tokenizer(source)
        hf_text.check_together(source, model, tokenizer)
        return tokenizer
    extra = {}
    if source.folder is not None and "bpe_path" in text.get("tokenizer_kwargs", {}):
        # open_clip takes this path as it is; in a model folder it is relative to that folder.
        extra = {"bpe_path": str(source.folder / text["tokenizer_kwargs"]["bpe_path"])}
    try:
        return open_clip.get_tokenizer(source.tokenizer, **extra)
    except Exception as error:
        # Of a damaged vocabulary, gzip and the parser each raise their own.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120].rstrip(".")
        raise NeglabelError(f"the tokenizer of {source.name} can't be had ({reason})") from None
