"""Prompts → unit vectors, through the text tower of any open_clip model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neglabel.pipeline.models import LoadedModel

Floats = NDArray[np.float32]


class TextEncoder:
    """The text tower of an open_clip model with its tokenizer.

    A prompt's embedding depends on its neighbours in a batch by rounding only (below 1e-6 in float32).
    """

    def __init__(self, model: Any, tokenizer: Any, batch_size: int = 256) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.context_length = int(getattr(tokenizer, "context_length", None) or model.context_length)

    @classmethod
    def of(cls, loaded: LoadedModel, batch_size: int = 256) -> TextEncoder:
        """The text encoder of a model that :func:`neglabel.load_model` gave."""
        return cls(loaded.model, loaded.tokenizer, batch_size)

    def encode(self, prompts: Sequence[str]) -> Floats:
        """``n`` prompts → (n, D) float32, rows of length 1 (normalised in float32, ``h = f_text(prompt(y))``, Eq. 1).

        A prompt longer than the model's context is cut as open_clip cuts it; see :meth:`truncated`.
        """
        blocks = [
            self._encode(prompts[i : i + self.batch_size]) for i in range(0, len(prompts), self.batch_size)
        ]
        return np.concatenate(blocks) if blocks else np.empty((0, self._dimension()), np.float32)

    def truncated(self, prompts: Sequence[str]) -> NDArray[np.bool_]:
        """(n,) whether the tokenizer had to cut a prompt to the model's context."""
        # Every token of every vocabulary here is at least a byte, so a prompt of fewer bytes than the context has
        # places (less the start and end tokens) can't be too long; only the others are tokenised again.
        room = self.context_length - 2
        return np.array([len(p.encode("utf-8", "replace")) > room and self._length(p) > room for p in prompts], bool)

    def _length(self, prompt: str) -> int:
        """Tokens of a prompt without its start and end."""
        inner = getattr(self.tokenizer, "tokenizer", None)
        if inner is not None and not hasattr(self.tokenizer, "bpe_ranks"):
            clean = getattr(self.tokenizer, "clean_fn", str)
            return len(inner(clean(prompt), add_special_tokens=False)["input_ids"])
        return len(self.tokenizer.encode(prompt))

    @torch.inference_mode()
    def _encode(self, prompts: Sequence[str]) -> Floats:
        tokens = self.tokenizer(list(prompts)).to(self._device())
        features = self.model.encode_text(tokens).float()
        return torch.nn.functional.normalize(features, dim=-1).cpu().numpy()  # type: ignore[no-any-return]

    def _device(self) -> torch.device:
        device: torch.device = next(self.model.parameters()).device
        return device

    def _dimension(self) -> int:
        return int(self._encode([""]).shape[1])
