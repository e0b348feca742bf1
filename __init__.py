"""neglabel: zero-shot out-of-distribution detection with negative labels.

After Jiang et al., "Negative Label Guided OOD Detection with Pretrained Vision-Language Models", ICLR 2024.

Importing this package loads nothing heavy; the names of ``__all__`` are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


class NeglabelError(Exception):
    """The work failed: one sentence saying what, where, and what to do. Exit code 1.

    It may quote a file's content or name: what can't be printed in one line is shown escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))


class UsageError(NeglabelError):
    """What was asked for can't be done as asked. Exit code 2."""


_PUBLIC = {
    "open_corpus": "neglabel.corpora",
    "Candidate": "neglabel.corpora",
    "TextEncoder": "neglabel.pipeline.text_encoder",
    "ImageEncoder": "neglabel.pipeline.image_encoder",
    "load_model": "neglabel.pipeline.models",
    "select": "neglabel.pipeline.mine",
    "EncodeSettings": "neglabel.pipeline.settings",
    "MineSettings": "neglabel.pipeline.mine_settings",
    "ScoreSettings": "neglabel.pipeline.score_settings",
    "ReportSettings": "neglabel.pipeline.settings",
}

__all__ = ["NeglabelError", "UsageError", "__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'neglabel' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
