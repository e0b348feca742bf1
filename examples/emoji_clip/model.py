"""The model: open_clip's own CLIP from a config, its tokenizer, and a faster text pass for training."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import common
import numpy as np
import torch
from torch import Tensor, nn

MERGES = 8192
CONTEXT = 24
CONFIG = {
    "model_cfg": {
        "embed_dim": 128,
        "quick_gelu": False,
        "vision_cfg": {
            "timm_model_name": "tf_efficientnet_lite0",
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "linear",
            "image_size": common.PIXELS,
        },
        "text_cfg": {
            "context_length": CONTEXT,
            "vocab_size": 512 + MERGES + 2,
            "width": 128,
            "heads": 4,
            "layers": 3,
            "tokenizer_kwargs": {"bpe_path": "bpe.txt.gz"},
        },
    },
    "preprocess_cfg": {
        "size": common.PIXELS,
        "mode": "RGB",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "resize_mode": "shortest",
        "fill_color": 255,
    },
}


def build() -> nn.Module:
    """A CLIP with fresh weights."""
    from open_clip.model import CLIP

    cfg = json.loads(json.dumps(CONFIG["model_cfg"]))
    return CLIP(**cfg)


def write_merges(path: Path) -> None:
    """CLIP's merges cut to the first 8,192, as open_clip's SimpleTokenizer(bpe_path=...) reads them."""
    from open_clip.tokenizer import default_bpe

    with gzip.open(default_bpe(), "rt", encoding="utf-8") as source:
        lines = source.read().split("\n")[: MERGES + 1]
    # No newline at the end: the tokenizer would count an empty merge.  No name, no time in the
    # header: the file is the same at every run.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as out:
        out.write("\n".join(lines).encode("utf-8"))


def tokenizer(work: Path):
    """open_clip's tokenizer over the short vocabulary."""
    from open_clip.tokenizer import SimpleTokenizer

    path = work / "bpe.txt.gz"
    if not path.exists():
        write_merges(path)
    return SimpleTokenizer(bpe_path=str(path), context_length=CONTEXT)


class Prompts:
    """Texts tokenized once, put into templates by joining ids: far cheaper than tokenizing anew."""

    def __init__(self, texts: list[str], tok) -> None:
        self.words = [tok.encode(text) for text in texts]
        self.frames = []
        for template in common.TEMPLATES:
            before, after = template.split("{}")
            self.frames.append((tok.encode(before), tok.encode(after)))
        self.start, self.end = tok.sot_token_id, tok.eot_token_id

    def length(self, row: int) -> int:
        return len(self.words[row])

    def batch(self, rows: np.ndarray, frames: np.ndarray) -> Tensor:
        """Token ids (B, L), L no longer than the longest prompt needs (at most 24)."""
        prompts = []
        for row, frame in zip(rows, frames, strict=True):
            before, after = self.frames[frame]
            ids = [self.start, *before, *self.words[row], *after][: CONTEXT - 1]
            prompts.append([*ids, self.end])
        out = np.zeros((len(prompts), max(map(len, prompts))), np.int64)
        for row, ids in enumerate(prompts):
            out[row, : len(ids)] = ids
        return torch.from_numpy(out)


def encode_text(clip: nn.Module, ids: Tensor) -> Tensor:
    """`clip.encode_text` for ids cut to L <= 24: (B, L) -> (B, 128), not normalised.

    The same numbers: attention is causal and the end token is the last that counts, so what the
    full context pads can't reach the output.
    """
    length = ids.shape[1]
    x = clip.token_embedding(ids) + clip.positional_embedding[:length]
    x = clip.transformer(x, attn_mask=clip.attn_mask[:length, :length])
    x = clip.ln_final(x)
    x = x[torch.arange(len(x)), ids.argmax(-1)]
    return x @ clip.text_projection
