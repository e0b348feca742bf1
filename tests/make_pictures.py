"""A small image tower and random pictures, for tests of the image side."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image

from neglabel.pipeline.image_encoder import ImageEncoder

#: A ResNet that gives 32 dimensions.
VISION = {"layers": [1, 1, 1, 1], "width": 16, "image_size": 48, "head_width": 16}


@lru_cache
def tiny_tower() -> tuple[Any, Any]:
    """A real open_clip model with random weights, and its preprocessing; never changed by a test."""
    torch.manual_seed(0)
    text = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
    model = open_clip.model.CLIP(embed_dim=32, vision_cfg=dict(VISION), text_cfg=text).eval()
    return model, open_clip.transform.image_transform(48, is_train=False)


def tiny_encoder(**options: Any) -> ImageEncoder:
    return ImageEncoder(*tiny_tower(), **{"batch_size": 4, "workers": 2, **options})


def pictures(n: int, seed: int = 0) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(20, 90, (n, 2))
    return [Image.fromarray(rng.integers(0, 255, (h, w, 3), np.uint8)) for h, w in sizes]


def picture_folder(path: Path, n: int = 11, seed: int = 0) -> Path:
    """``path`` with pictures 00.png, 01.png, …"""
    path.mkdir()
    for i, image in enumerate(pictures(n, seed)):
        image.save(path / f"{i:02}.png")
    return path
