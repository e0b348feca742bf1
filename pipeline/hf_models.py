"""ALIGN, AltCLIP and GroupViT of transformers, loaded whole or refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from PIL import Image

from neglabel import NeglabelError, UsageError
from neglabel.corpora.hub_access import quiet
from neglabel.pipeline.hf_source import HFSource, find, gist
from neglabel.pipeline.hf_tower import Preprocess, Tokenizer, TransformersModel
from neglabel.pipeline.weights import digest_files

_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Parts(NamedTuple):
    """What :class:`~neglabel.pipeline.models.LoadedModel` holds of a model."""

    model: TransformersModel
    preprocess: Preprocess
    tokenizer: Tokenizer
    identity: dict[str, Any]


def load(name: str, pretrained: str | None, quickgelu: bool | None, device: torch.device, precision: str) -> Parts:
    """Load ``hf:FOLDER`` or ``hf:OWNER/NAME[@REVISION]``; arguments as for :func:`neglabel.load_model`.

    In half precision all of it is, layer norms too.

    Raises:
        UsageError: no such model, another family, no safetensors, parts that don't belong together.
        NeglabelError: a file can't be downloaded or read.
    """
    source = find(name, pretrained)  # says so where transformers is missing
    import transformers

    gelu = _quick_gelu(source, quickgelu)
    files = source.weights()
    tokenizer, preprocess = _tokenizer(source), _preprocess(source)
    kind = getattr(transformers, source.family.model)
    try:
        with quiet(), _no_bars():
            checkpoint = digest_files(files)
            inner, found = kind.from_pretrained(
                source.folder, config=source.config, use_safetensors=True, local_files_only=True,
                output_loading_info=True,
            )  # fmt: skip
    except Exception as error:
        # safetensors, torch and transformers each raise their own.
        raise NeglabelError(f"the weights in {source.folder} can't be read by transformers ({gist(error)})") from None
    # transformers would fill what is missing at random.
    if missing := sorted(found["missing_keys"]):
        raise UsageError(f"the weights in {source.folder} are not the whole model: `{missing[0]}` is missing")
    inner = inner.float()
    scale = 1 / inner.temperature if source.kind == "align" else inner.logit_scale.exp()
    identity = {
        "model": name, "pretrained": source.pretrained, "checkpoint_sha256": checkpoint, "quick_gelu": gelu,
        "embed_dim": source.dimension, "context_length": tokenizer.context_length, "logit_scale": float(scale.detach()),
    }  # fmt: skip
    return Parts(_wrapped(inner, tokenizer, device, precision), preprocess, tokenizer, identity)


def untrained(name: str, device: torch.device, precision: str) -> tuple[TransformersModel, Tokenizer]:
    """The model with random weights and its tokenizer: what speed is measured with. Raises as :func:`load`."""
    source = find(name, weights=False)
    import transformers

    tokenizer = _tokenizer(source)
    inner = getattr(transformers, source.family.model)(source.config)
    inner.vision_model = None
    return _wrapped(inner, tokenizer, device, precision), tokenizer


@contextmanager
def _no_bars() -> Iterator[None]:
    from transformers import utils

    logging: Any = utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _wrapped(inner: Any, tokenizer: Tokenizer, device: torch.device, precision: str) -> TransformersModel:
    inner = inner.to(device=device, dtype=_DTYPES.get(precision, torch.float32))
    return TransformersModel(inner, tokenizer.context_length, tokenizer.pad_id).eval().requires_grad_(False)


def _quick_gelu(source: HFSource, given: bool | None) -> bool:
    towers = (source.config.text_config, source.config.vision_config)
    own = any(getattr(tower, "hidden_act", "") == "quick_gelu" for tower in towers)
    if given is not None and given != own:
        raise UsageError(f"{source.name} says its activation itself; leave --quickgelu/--no-quickgelu out")
    return own


def _tokenizer(source: HFSource) -> Tokenizer:
    from transformers import AutoTokenizer

    try:
        with quiet():
            inner = AutoTokenizer.from_pretrained(source.folder, trust_remote_code=False, local_files_only=True)
            ids = inner(["", "a"])["input_ids"]
    except Exception as error:
        # transformers, tokenizers, sentencepiece and json each raise their own.
        raise NeglabelError(f"the tokenizer in {source.folder} can't be read by transformers ({gist(error)})") from None
    text = source.config.text_config
    own = inner.pad_token_id if source.family.mask_id is None else source.family.mask_id
    if len(inner) > text.vocab_size or own is None or (source.kind == "altclip" and own != text.pad_token_id):
        raise _stranger(source, f"{len(inner)} tokens, padding {own}", f"{text.vocab_size}, {text.pad_token_id}")
    if any(not row or row[-1] == own for row in ids):
        raise _stranger(source, "no token that ends a prompt", "one")
    if source.kind == "groupvit" and any(_read_at(row, text.eos_token_id) != len(row) - 1 for row in ids):
        raise _stranger(source, f"{ids[0][-1]} as the last token", f"{text.eos_token_id}")
    limit = inner.model_max_length if inner.model_max_length > 0 else source.family.context
    return Tokenizer(inner, min(source.family.context, source.positions, limit), own)


def _read_at(row: Sequence[int], end: int) -> int:
    """Where GroupViT reads a prompt: at the first end token; with an end of 2, as old configs have, at the highest."""
    wanted = max(row) if end == 2 else end
    return row.index(wanted) if wanted in row else -1


def _stranger(source: HFSource, has: str, wants: str) -> UsageError:
    return UsageError(
        f"the tokenizer in {source.folder} is of another model: it has {has}, the text tower expects {wants}"
    )


def _preprocess(source: HFSource) -> Preprocess:
    import transformers

    # transformers 5 resizes through torchvision where it can, with other pixels; 4 knows the other by `use_fast`.
    old = int(transformers.__version__.split(".")[0]) < 5
    how: dict[str, Any] = {"use_fast": False} if old else {"backend": "pil"}
    try:
        with quiet():
            processors: Any = transformers.AutoImageProcessor
            preprocess = Preprocess(processors.from_pretrained(
                source.folder, trust_remote_code=False, local_files_only=True, **how
            ))  # fmt: skip
            made = preprocess(Image.new("RGB", (40, 30)))
    except Exception as error:
        raise NeglabelError(
            f"the image processor in {source.folder} can't be read by transformers ({gist(error)})"
        ) from None
    side = source.config.vision_config.image_size
    # ALIGN's tower is convolutional: its pictures are smaller than the config says.
    if source.kind != "align" and tuple(made.shape) != (3, side, side):
        raise UsageError(
            f"the image processor in {source.folder} is of another model: it gives {tuple(made.shape)}, "
            f"the image tower takes (3, {side}, {side})"
        )
    return preprocess
