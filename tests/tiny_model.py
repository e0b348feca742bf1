"""A small real open_clip model with random weights: right for parity and speed, never for accuracy."""

from __future__ import annotations

import json
from pathlib import Path

TINY = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "image_size": 32},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


def build_tiny(folder: Path, seed: int = 0, **changes: object) -> Path:
    """A model folder in open_clip's format, with random weights. Returns the folder."""
    import torch
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = {**TINY, **changes}
    torch.manual_seed(seed)
    model = CLIP(**config).eval()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    return folder
