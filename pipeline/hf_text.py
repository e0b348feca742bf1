"""What a text tower takes from transformers: its configuration and its tokenizer, of a model's folder or of the hub."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neglabel import NeglabelError, UsageError
from neglabel.corpora.hub_access import answers, first_line, offline, quiet
from neglabel.pipeline.model_source import ModelSource

_CONFIG = ("config.json",)
#: Any of these makes a tokenizer.
_TOKENIZER = (
    "tokenizer.json", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "vocab.txt", "vocab.json",
)  # fmt: skip
_PROJECTIONS = ("linear", "mlp")
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
#: Towers that have an embedding for each position; those of other types go on without end.
_POSITIONS = ("bert", "roberta", "xlm-roberta")


def text_config(source: ModelSource) -> dict[str, Any]:
    """The model's ``text_cfg`` with its ``hf_model_name`` resolved, ready for open_clip; the same where there is none.

    A name is looked for in the model's folder (``FOLDER/NAME``), then as the folder itself, then on the hub.

    Raises:
        UsageError: a file is missing, or the configuration is of a kind that open_clip has no tower for.
        NeglabelError: the hub can't be reached, or a file can't be read.
    """
    text = dict(source.config["text_cfg"])
    if not text.get("hf_model_name"):
        return text
    from open_clip.hf_model import _POOLERS, arch_dict

    # transformers would ask at the terminal whether to run the code that a config may name: never here.
    config, place = _read(source, text["hf_model_name"], _CONFIG, "text tower", _load_config)
    kind = getattr(config, "model_type", "")
    if kind not in arch_dict:
        raise UsageError(f"{source.name}: open_clip has no text tower of type `{kind}`; valid: {', '.join(arch_dict)}")
    width = getattr(config, arch_dict[kind]["config_names"]["width"], None)
    projection = text.get("hf_proj_type", "mlp")
    if projection not in _PROJECTIONS and not (projection is None and width == source.config["embed_dim"]):
        raise UsageError(
            f"{source.name}: `hf_proj_type` {projection!r} doesn't lead from {width} to "
            f"{source.config['embed_dim']} dimensions; valid: {', '.join(_PROJECTIONS)}"
        )
    pooler = text.get("hf_pooler_type", "mean_pooler")
    if pooler is not None and pooler not in _POOLERS:
        raise UsageError(f"{source.name}: no `hf_pooler_type` {pooler!r}; valid: {', '.join(_POOLERS)}")
    return {**text, "hf_model_name": place, "hf_model_pretrained": False}


def tokenizer(source: ModelSource) -> Any:
    """open_clip's tokenizer with transformers' inside, by ``hf_tokenizer_name`` and ``tokenizer_kwargs``.

    Raises: as :func:`text_config`.
    """
    from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH, HFTokenizer

    text = source.config["text_cfg"]
    options = {**(text.get("tokenizer_kwargs") or {}), "trust_remote_code": False}
    length = text.get("context_length", DEFAULT_CONTEXT_LENGTH)

    def load(place: str) -> Any:
        return HFTokenizer(place, context_length=length, tokenizer_mode=text.get("tokenizer_mode"), **options)

    return _read(source, text["hf_tokenizer_name"], _TOKENIZER, "tokenizer", load)[0]


def check_together(source: ModelSource, model: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer of another model: ids or positions that the tower hasn't, padding that it doesn't mask.

    Raises:
        UsageError: the two don't belong together.
    """
    ids = tokenizer(["", "a"])
    known = int(getattr(model, "vocab_size", 0) or 0)
    if known and int(ids.max()) >= known:
        raise UsageError(
            f"the tokenizer of {source.name} is of another model: it gives token {int(ids.max())}, the text tower "
            f"knows {known}"
        )
    config: Any = getattr(getattr(model, "text", None), "config", None)
    kind, masked = getattr(config, "model_type", ""), getattr(config, "pad_token_id", None)
    if kind in _POSITIONS:
        # RoBERTa counts positions from behind the padding's index.
        places = int(config.max_position_embeddings) - (0 if kind == "bert" else int(masked or 0) + 1)
        if tokenizer.context_length > places:
            raise UsageError(
                f"{source.name}: `context_length` {tokenizer.context_length} is more than the text tower's {places} "
                "positions"
            )
    pad = getattr(tokenizer.tokenizer, "pad_token_id", None)
    if masked is not None and pad != masked:
        raise UsageError(
            f"the tokenizer of {source.name} is of another model: it pads with token {pad}, the text tower passes "
            f"over {masked}"
        )


def _load_config(place: str) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(place, trust_remote_code=False)


def _read(
    source: ModelSource, name: str, files: tuple[str, ...], part: str, load: Callable[[str], Any]
) -> tuple[Any, str]:
    """What ``load`` makes of the part, and where it was: a folder, or a name on the hub."""
    try:
        import transformers  # noqa: F401
    except ImportError:
        raise UsageError(
            f"the {part} of {source.name} needs transformers: `pip install 'neglabel[multilingual]'`"
        ) from None
    place = _folder_of(source, str(name), files)
    local = place is not None
    meant_here = source.folder is not None and (source.folder / str(name)).is_dir()
    if not local and (meant_here or not _HUB_NAME.fullmatch(str(name))):
        raise UsageError(f"{_missing(source, str(name), files, part)}; put it there")
    reachable = local or answers(str(name), "model")
    try:
        with quiet(), offline(not reachable):
            return load(place or str(name)), place or str(name)
    except NeglabelError:
        raise
    except Exception as error:
        # transformers, tokenizers, huggingface_hub and json each raise their own.
        if local:
            raise NeglabelError(f"the {part} in {place} can't be read by transformers ({_gist(error)})") from None
        why = f"the hub gives none for `{name}`" if reachable else "the Hugging Face hub can't be reached"
        remedy = "put it there" if source.folder else f"use a model folder that holds it (`{files[0]}`)"
        raise NeglabelError(f"{_missing(source, str(name), files, part)}, and {why}; {remedy}") from None


def _folder_of(source: ModelSource, name: str, files: tuple[str, ...]) -> str | None:
    """``FOLDER/NAME`` or else ``FOLDER``, whichever has one of ``files``; without a folder, NAME where it is one."""
    places = [source.folder / name, source.folder] if source.folder else [Path(name)]
    return next((str(p) for p in places if any(_is_part(p / file) for file in files)), None)


def _is_part(file: Path) -> bool:
    """Other libraries keep a ``config.json`` too; one of a text tower names a type that open_clip knows."""
    if file.name not in _CONFIG or not file.is_file():
        return file.is_file()
    import json

    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True  # said when it is read
    return not isinstance(config, Mapping) or "model_type" in config


def _missing(source: ModelSource, name: str, files: tuple[str, ...], part: str) -> str:
    if source.folder is None:
        return f"the {part} of {source.name} is `{name}`"
    inside = source.folder / name
    place = inside if inside.is_dir() else source.folder
    fault = "names no `model_type`" if (place / files[0]).is_file() else "is missing"
    return f"model folder {source.folder} has no {part} `{name}`: {place / files[0]} {fault}"


def _gist(error: BaseException) -> str:
    if "custom code" in str(error):
        return "it asks to run code of its own, which is never done"
    return (first_line(error) or type(error).__name__)[:160].rstrip(".:")
