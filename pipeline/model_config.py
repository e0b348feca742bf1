"""A model's configuration by its name, read without torch and open_clip, which cost a gigabyte."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neglabel import NeglabelError, UsageError
from neglabel.pipeline.hf_source import PREFIX, context_length, find
from neglabel.pipeline.model_source import CONFIG, PACKAGED, _closest

#: Of a configuration that says nothing, as open_clip has it.
CONTEXT_LENGTH = 77


@dataclass(frozen=True)
class ModelConfig:
    """``config`` as open_clip reads it (``model_cfg``); ``folder`` is set for a model folder."""

    name: str
    config: dict[str, Any]
    folder: Path | None

    @property
    def dimension(self) -> int:
        return int(self.config["embed_dim"])

    @property
    def context_length(self) -> int:
        return int(self.config["text_cfg"].get("context_length", CONTEXT_LENGTH))


def model_config(name: str) -> ModelConfig:
    """The configuration of an open_clip model name, ``emoji``, a folder with ``open_clip_config.json``, or ``hf:…``.

    Of the last, ``config`` is what open_clip's would be of it, as far as anybody asks.

    Raises:
        UsageError: no such model.
        NeglabelError: its configuration can't be read.
    """
    if name.startswith(PREFIX):
        source = find(name, weights=False)
        text = {"context_length": context_length(source), "hf_tokenizer_name": "."}
        return ModelConfig(name, {"embed_dim": source.dimension, "text_cfg": text}, source.folder)
    folder = PACKAGED.get(name) or Path(name)
    if (folder / CONFIG).is_file():
        return ModelConfig(name, _read(folder / CONFIG, "model_cfg"), folder)
    known = {path.stem: path for path in _open_clip_configs()}
    plain = name.replace("/", "-")
    if plain not in known:
        close = _closest(plain, sorted(known))
        raise UsageError(
            f"--model {name}: no such open_clip model{close}; also valid: {', '.join(PACKAGED)}, "
            f"or a folder with {CONFIG}"
        )
    return ModelConfig(plain, _read(known[plain]), None)


def _open_clip_configs() -> list[Path]:
    # find_spec of a package that isn't imported yet only looks for it.
    spec = importlib.util.find_spec("open_clip")
    places = (spec and spec.submodule_search_locations) or ()
    return [path for place in places for path in Path(place, "model_configs").glob("*.json")]


def _read(path: Path, key: str | None = None) -> dict[str, Any]:
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        config: dict[str, Any] = whole[key] if key else whole
        if int(config["embed_dim"]) > 0 and int(config["text_cfg"].get("context_length", CONTEXT_LENGTH)) > 0:
            return config
        raise ValueError("sizes must be positive")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NeglabelError(f"{path} can't be read as an open_clip config ({error!r})") from None
