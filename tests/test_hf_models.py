"""ALIGN, AltCLIP and GroupViT of transformers, offline: what they give against transformers' own."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("transformers", reason="these models need transformers")
import transformers
from neglabel.pipeline.models import load_model
from neglabel.pipeline.text_encoder import TextEncoder
from .tiny_transformers import CONTEXT, KINDS, build


@pytest.mark.parametrize("kind", KINDS)
def test_try(tmp_path: Path, kind: str) -> None:
    t = time.time()
    f = build(tmp_path / kind, kind)
    print(kind, sorted(p.name for p in f.iterdir()), time.time() - t)
    said = []
    l = load_model(f"hf:{f}", device="cpu")
    print(l.identity, time.time() - t)
    print(repr(l.preprocess))
    e = TextEncoder.of(l, notice=said.append)
    print(e.path, said)
    x = e.encode(["The nice dog.", "a", "b c", "", "!!", "[PAD] dog <pad>", "long " * 60])
    print(np.round(x @ x.T, 3), time.time() - t)
    print(l.tokenizer(["The nice dog!", "", "!! <|endoftext|> dog"])[:, :20])
