"""What a shell offers for an option's value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from glob import escape, glob
from importlib.util import find_spec
from pathlib import Path


def completion(option: str, choices: Sequence[str], place: bool = False) -> Callable[[str], list[str]] | None:
    """The completer of an option: its ``choices``, files for a ``place``, or what is known by its name; None: the
    shell's own."""
    if place:
        return lambda incomplete: sorted(glob(escape(incomplete) + "*"))
    source = _KNOWN.get(option) if not choices else lambda: choices
    return None if source is None else lambda incomplete: [c for c in source() if c.startswith(incomplete)]


def _scores() -> Iterable[str]:
    from neglabel.pipeline.scores import SCORES

    return SCORES


def _models() -> Iterable[str]:
    """open_clip's model names are its config files: listed without importing it, which takes seconds."""
    spec = find_spec("open_clip")
    folders = spec.submodule_search_locations if spec else None
    return ["emoji", *(sorted(p.stem for f in folders or () for p in Path(f, "model_configs").glob("*.json")))]


_KNOWN: dict[str, Callable[[], Iterable[str]]] = {"score": _scores, "model": _models}
