"""Paths inside specs of corpora and pictures, taken from a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neglabel import UsageError
from neglabel.corpora import ADAPTERS
from neglabel.corpora.uri import is_uri, join
from neglabel.pipeline.hf_source import PREFIX, below
from neglabel.pipeline.images import list_and_root
from neglabel.pipeline.known_datasets import DATASET, asked
from neglabel.pipeline.model_source import CONFIG, PACKAGED
from neglabel.pipeline.score_settings import ScoreSettings


def corpus_in(folder: Path, spec: str | Mapping[str, Any]) -> Any:
    """A corpus spec with its path, if it has one, taken from ``folder``."""
    if not isinstance(spec, str):
        return {**spec, "path": str(join(folder, str(spec["path"])))} if "path" in spec else dict(spec)
    head, _, tail = spec.partition(":")
    if head in ADAPTERS:
        parts = [part.partition("=") for part in tail.split(",")] if tail else []
        placed = [f"{k}={join(folder, v)}" if k == "path" else f"{k}{equals}{v}" for k, equals, v in parts]
        return f"{head}:{','.join(placed)}" if placed else head
    if is_uri(spec):
        return spec
    if _exists(folder / spec):
        return str(folder / spec)
    path, colon, options = spec.rpartition(":")
    return f"{folder / path}:{options}" if colon and _exists(folder / path) else spec


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise UsageError(f"{str(path)[:200]} can't be looked at: {error.strerror}") from None


def images_in(folder: Path, spec: str) -> str:
    """A spec of pictures (see ``pipeline/images.py``) with its paths taken from ``folder``."""
    if spec.startswith(DATASET):
        return str(asked(spec).below(folder))
    if spec.startswith("hf:imagefolder:"):
        return f"hf:imagefolder:{folder / spec.removeprefix('hf:imagefolder:')}"
    if spec.startswith("hf:"):
        # A data set saved to disk is a folder; anything else is a name on the hub.
        place, at, split = spec.removeprefix("hf:").rpartition("@") if "@" in spec else (spec[3:], "", "")
        return f"hf:{folder / place}{at}{split}" if (folder / place).is_dir() else spec
    path, root = list_and_root(spec)
    if root and (is_uri(path) or not (folder / spec).exists()):
        return f"{join(folder, path)}@{join(folder, root)}"
    return str(join(folder, spec))


def pictures_in(folder: Path, settings: ScoreSettings) -> dict[str, Any]:
    """All specs of pictures of a ``score`` run (``id``, ``ood``, ``images``, ``bank``), taken from ``folder``."""
    roles = {
        role: {name: images_in(folder, spec) for name, spec in getattr(settings, role).items()}
        for role in ("id", "ood", "images")
    }
    return {**roles, "bank": settings.bank and images_in(folder, settings.bank)}


def model_in(folder: Path, name: str) -> str:
    """A model's name; a model folder taken from ``folder``."""
    if name.startswith(PREFIX):
        return below(folder, name)
    return str(folder / name) if name not in PACKAGED and (folder / name / CONFIG).is_file() else name
