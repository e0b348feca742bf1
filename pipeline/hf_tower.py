"""A model of transformers with what an open_clip model has here: its towers, tokenizer and preprocessing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn


class TransformersModel(nn.Module):
    """A model of transformers with open_clip's two methods; the features are projected, not normalised.

    Args:
        inner: an ``AlignModel``, ``AltCLIPModel`` or ``GroupViTModel``.
        pad_id: what prompts are padded with, at their end.
    """

    def __init__(self, inner: Any, context_length: int, pad_id: int) -> None:
        super().__init__()
        self.inner = inner
        self.context_length, self.pad_id = context_length, pad_id
        self.embed_dim = int(inner.config.projection_dim)

    @property
    def visual(self) -> Any:
        """The image tower; set to None by who needs only text."""
        return self.inner.vision_model

    @visual.setter
    def visual(self, tower: Any) -> None:
        self.inner.vision_model = tower

    def encode_text(self, ids: Tensor) -> Tensor:
        """(n, L) int64 ids, padded at the end → (n, D): ``get_text_features`` with the padding masked."""
        places = torch.arange(ids.shape[1], device=ids.device)
        # Not `ids != pad_id`: a prompt may name the padding's token, and the tokenizer doesn't mask it there.
        last = torch.where(ids != self.pad_id, places, 0).amax(dim=1, keepdim=True)
        return _projected(self.inner.get_text_features(input_ids=ids, attention_mask=(places <= last).long()))

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(n, 3, H, W) → (n, D): ``get_image_features``."""
        return _projected(self.inner.get_image_features(pixel_values=pixels))


class Tokenizer:
    """Prompts → (n, context_length) int64 ids by transformers' own tokenizer, cut, and padded with ``pad_id``."""

    def __init__(self, tokenizer: Any, context_length: int, pad_id: int) -> None:
        self.tokenizer, self.context_length, self.pad_id = tokenizer, context_length, pad_id

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        ids = torch.full((len(prompts), self.context_length), self.pad_id)
        if prompts:
            found = self.tokenizer(
                list(prompts), truncation=True, max_length=self.context_length,
                return_attention_mask=False, return_token_type_ids=False,
            )["input_ids"]  # fmt: skip
            for row, tokens in zip(ids, found, strict=True):
                row[: len(tokens)] = torch.tensor(tokens)
        return ids


class Preprocess:
    """A picture → (3, H, W) float32 by the family's image processor, in the Pillow form that its figures come from."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def __call__(self, image: Image.Image) -> Tensor:
        found = self.processor(images=image.convert("RGB"), return_tensors="pt", input_data_format="channels_last")
        pixels: Tensor = found["pixel_values"][0]
        return pixels

    def __repr__(self) -> str:
        # What a cache of embeddings knows its preprocessing by.
        return " ".join(self.processor.to_json_string().split())


def _projected(features: Any) -> Tensor:
    """transformers 5 gives the projection as one of several outputs, 4 alone."""
    projected: Tensor = getattr(features, "pooler_output", features)
    return projected
