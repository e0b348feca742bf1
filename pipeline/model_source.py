"""Which configuration and which weights a model's name and tag mean, and whether they need QuickGELU."""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neglabel import NeglabelError, UsageError

#: Models that the package ships: name → folder with open_clip_config.json and weights.
PACKAGED = {"emoji": Path(__file__).parent / "emoji"}
CONFIG = "open_clip_config.json"
DEFAULT_TAG = "openai"


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from, before anything is built.

    ``tokenizer`` is the name by which open_clip finds the tokenizer; ``folder`` is set for a model folder.
    """

    name: str
    config: Mapping[str, Any]
    weights: Path
    pretrained: str
    quick_gelu: bool
    preprocess: Mapping[str, Any]
    tokenizer: str
    folder: Path | None = None


def find_model(name: str, pretrained: str | None, quickgelu: bool | None) -> ModelSource:
    """Resolve a model; downloads the weights of a tag.

    Raises:
        UsageError: unknown model or tag, missing file, or it isn't known whether the weights need QuickGELU.
        NeglabelError: weights can't be downloaded, a config can't be read.
    """
    if name in PACKAGED or _is_file(Path(name) / CONFIG):
        return _folder(name, pretrained, quickgelu)
    if "/" in name and Path(name).is_dir():
        raise UsageError(f"--model {name}: the folder has no {CONFIG}; name a folder with one, or an open_clip model")
    return _named(name.replace("/", "-"), pretrained, quickgelu)


def _is_file(path: Path) -> bool:
    """Raises NeglabelError where the file system doesn't say."""
    try:
        return path.is_file()
    except OSError as error:
        raise NeglabelError(f"{str(path)[:200]} can't be looked at ({error.strerror})") from None


def configured_dimension(name: str) -> int | None:
    """D of a model by its configuration, without weights; None where the name is unknown."""
    import open_clip

    folder = PACKAGED.get(name) or Path(name)
    try:
        if (folder / CONFIG).is_file():
            return int(json.loads((folder / CONFIG).read_text(encoding="utf-8"))["model_cfg"]["embed_dim"])
        config = open_clip.get_model_config(name.replace("/", "-"))
        return int(config["embed_dim"]) if config else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _folder(name: str, pretrained: str | None, quickgelu: bool | None) -> ModelSource:
    folder = PACKAGED.get(name) or Path(name)
    try:
        whole = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config, preprocess = dict(whole["model_cfg"]), dict(whole.get("preprocess_cfg", {}))
        config |= {tower: dict(config[tower]) for tower in ("vision_cfg", "text_cfg")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NeglabelError(f"{folder / CONFIG} can't be read as an open_clip config ({error!r})") from None
    weights = Path(pretrained) if pretrained else _weights_in(folder)
    if not _is_file(weights) and _is_file(folder / weights):
        weights = folder / weights  # a name alone, as a model's identity has it
    if not _is_file(weights):
        raise UsageError(f"--pretrained {weights}: no such file; a model folder takes a checkpoint FILE, not a tag")
    from neglabel.pipeline.weights import quickgelu_of  # torch: a dry run does without

    known = config.get("quick_gelu")
    gelu = _known_quickgelu(str(weights), known if known is not None else quickgelu_of(weights), quickgelu, config)
    return ModelSource(
        name, config, weights, str(pretrained or weights.name), gelu, preprocess, f"local-dir:{folder}", folder
    )


def _weights_in(folder: Path) -> Path:
    found = [p for end in ("safetensors", "bin", "pt", "pth") for p in sorted(folder.glob(f"*.{end}"))]
    if not found:
        raise UsageError(f"model folder {folder} has no weights (.safetensors, .bin, .pt); give --pretrained FILE")
    # A text tower's own weights may lie beside those of the whole model.
    return next((path for path in found if path.name.startswith("open_clip")), found[0])


def _named(name: str, pretrained: str | None, quickgelu: bool | None) -> ModelSource:
    import open_clip

    from neglabel.pipeline.weights import quickgelu_of

    config = open_clip.get_model_config(name)
    if config is None:
        close = _closest(name, open_clip.list_models())
        raise UsageError(
            f"--model {name}: no such open_clip model{close}; also valid: {', '.join(PACKAGED)}, "
            f"or a folder with {CONFIG}"
        )
    pretrained = pretrained or DEFAULT_TAG
    tag = open_clip.pretrained.get_pretrained_cfg(name, pretrained)
    if tag:
        if quickgelu is not None and quickgelu != bool(tag.get("quick_gelu", False)):
            raise UsageError(
                f"the weights {name}/{pretrained} were trained {'with' if tag.get('quick_gelu') else 'without'} "
                "QuickGELU; leave --quickgelu/--no-quickgelu out"
            )
        gelu = bool(tag.get("quick_gelu", False))
        return ModelSource(name, config, _download(name, pretrained, tag), pretrained, gelu, dict(tag), name)
    path = Path(pretrained)
    if not _is_file(path):
        tags = open_clip.list_pretrained_tags_by_model(name)
        raise UsageError(
            f"--pretrained {pretrained}: neither a file nor a tag of {name} (tags: {', '.join(tags) or 'none'})"
        )
    # A plain name says nothing of the weights: `ViT-B-16` is the architecture of OpenAI's and of LAION's alike.
    known = True if config.get("quick_gelu") else quickgelu_of(path)
    gelu = _known_quickgelu(str(path), known, quickgelu, config)
    return ModelSource(name, config, path, str(path), gelu, _usual_preprocess(name), name)


def _usual_preprocess(name: str) -> dict[str, Any]:
    """Mean, deviation and resizing of a model's published weights, where all of them agree; else open_clip's."""
    import open_clip

    tags = [open_clip.pretrained.get_pretrained_cfg(name, t) for t in open_clip.list_pretrained_tags_by_model(name)]
    keys = ("mean", "std", "interpolation", "resize_mode")
    return {k: tags[0][k] for k in keys if tags and k in tags[0] and all(t.get(k) == tags[0][k] for t in tags)}


def _known_quickgelu(weights: str, known: bool | None, given: bool | None, config: Mapping[str, Any]) -> bool:
    if known is not None and given is not None and known != given:
        raise UsageError(
            f"{weights} is known to be trained {'with' if known else 'without'} QuickGELU; "
            "leave --quickgelu/--no-quickgelu out"
        )
    if known is None and given is None:
        if "timm_model_name" in config["vision_cfg"] and "hf_model_name" in config["text_cfg"]:
            return False  # neither tower has the activation that the switch is about
        if "init_logit_bias" in config:
            return False  # SigLIP's loss: no such model was trained with it
        raise UsageError(
            f"{weights} doesn't say whether it was trained with QuickGELU: give --quickgelu (OpenAI's weights, DFN's) "
            "or --no-quickgelu (LAION's, DataComp's); the wrong one changes every embedding"
        )
    return bool(known if known is not None else given)


def _download(name: str, tag: str, config: Mapping[str, Any]) -> Path:
    import open_clip

    try:
        with quiet():
            return Path(open_clip.pretrained.download_pretrained(dict(config)))
    except Exception as error:
        # urllib, requests, httpx and huggingface_hub each raise their own: all mean that nothing came.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120].rstrip(".")
        raise NeglabelError(
            f"the weights {name}/{tag} can't be downloaded here ({reason}); give a checkpoint with --pretrained FILE"
        ) from None


def _closest(name: str, valid: list[str]) -> str:
    close = difflib.get_close_matches(name, valid, n=3, cutoff=0.5)
    return f" (did you mean {', '.join(close)}?)" if close else ""


class quiet:
    """open_clip logs what this package says better in one line."""

    def __enter__(self) -> None:
        self.before = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self.before)
