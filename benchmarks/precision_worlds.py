"""What ``precision.py`` measures the gate on: the embedded world, and real CLIP features where they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from precision_towers import embed, tower

from neglabel.corpora.text import normalise
from neglabel.pipeline import store
from neglabel.pipeline.image_encoder import ImageEncoder
from neglabel.pipeline.models import load_model
from neglabel.pipeline.precision_trial import probes
from neglabel.pipeline.quickstart import ID, unpack
from neglabel.pipeline.text_encoder import TextEncoder
from neglabel.pipeline.tokens import Tokens

Floats = NDArray[Any]
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "clip_vitb32"
OODS = ("food101_16shot", "sun397_8shot", "dtd", "sun397")


@dataclass(frozen=True)
class World:
    """Unit vectors in float32: labels (K, D), candidates (C, D), pictures by set; ``known`` is the ID set.

    ``top``: M of the overlap. ``kept``: negatives that AUROC is measured with, in ``groups``.
    """

    name: str
    labels: Floats
    candidates: Floats
    images: Mapping[str, Floats]
    known: str
    top: int
    kept: int
    groups: int
    temperature: float


def embedded_world(words: int, pictures: int) -> tuple[World, NDArray[np.int64], str, Any]:
    """The packaged model on ``words`` candidates and so many pictures a set; ids, model and tokenizer of its tower.

    M is the paper's share.
    """
    loaded = load_model("emoji", device="cpu")
    encoder, eyes = TextEncoder.of(loaded), ImageEncoder.of(loaded)
    with TemporaryDirectory() as folder:
        names = unpack(Path(folder))
        labels = (Path(folder) / "labels" / f"{ID}.txt").read_text(encoding="utf-8").split("\n")
        labels = [name for name in labels if name.strip()]
        images = {
            name: eyes.encode(sorted((Path(folder) / "pictures" / name).rglob("*.png"))[:pictures]) for name in names
        }
    taken = {normalise(f"the nice {name}") for name in labels}
    # A word may be a noun and an adjective.
    prompts = [p for p in dict.fromkeys(probes(words)) if normalise(p) not in taken]
    ids = Tokens(loaded.tokenizer, encoder.context_length).ids(prompts).astype(np.int64)
    candidates = embed(tower("fp32", "emoji", loaded.tokenizer), ids)
    world = World(
        "", encoder.encode([f"the nice {label}" for label in labels]), candidates, images, ID, 0, 0, 0,
        1 / loaded.identity["logit_scale"],
    )  # fmt: skip
    return part(world, np.arange(len(prompts))), ids, "emoji", loaded.tokenizer


def part(world: World, rows: NDArray[np.int64]) -> World:
    """The embedded world with those candidates alone; M is the paper's share of them, 10,000 of 136,139."""
    top = round(len(rows) * 10_000 / 136_139)
    name = f"embedded, {len(rows):,} words, M = {top:,}"
    groups = min(100, top // 10)
    return replace(world, name=name, candidates=world.candidates[rows], top=top, kept=top, groups=groups)


def draws(world: World) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """All candidates, and draws of a quarter and of a seventeenth of them (seeded): names and ascending rows."""
    count = len(world.candidates)
    yield "", np.arange(count)
    for share, seeds in ((4, 2), (17, 3)):
        for seed in range(seeds):
            rows = np.random.default_rng(seed).choice(count, count // share, replace=False)
            yield f", draw {seed + 1}", np.sort(rows)


def real_worlds() -> Iterator[World]:
    """OpenAI's CLIP ViT-B/32 as ``../shared/data/README.md`` sets its reference up: all 1,328 candidates, τ = 0.01.

    The overlap is of the farthest half. These features were stored as float16 already.
    """
    if not SHARED.is_dir():
        return
    table = pq.read_table(SHARED / "labels_imagenet1k_a.parquet", columns=["text"])
    seen = {name.lower() for name in table["text"].to_pylist()}
    rows = []
    for name in ("lvis", "openimages", "objects365"):
        for block in store.stream(SHARED / f"candidates_{name}.parquet", ["text"]):
            for text, vector in zip(block.columns["text"].to_pylist(), block.embedding, strict=True):
                if text.lower() not in seen:
                    seen.add(text.lower())
                    rows.append(vector)
    candidates = np.stack(rows)
    images = {name: vectors(f"images_{name}") for name in ("imagenet_4shot", *OODS)}
    labels = vectors("labels_imagenet1k_a")
    name = f"real ViT-B/32, {len(rows):,} words, M = {len(rows) // 2}"
    yield World(name, labels, candidates, images, "imagenet_4shot", len(rows) // 2, len(rows), 1, 0.01)


def vectors(name: str) -> Floats:
    return np.concatenate([block.embedding for block in store.stream(SHARED / f"{name}.parquet")])


def rounded(embedding: Floats, dtype: str) -> Floats:
    """Rounded to ``float16``, ``bfloat16`` or ``int8`` (a scale a vector), as float32."""
    if dtype == "float16":
        return embedding.astype(np.float16).astype(np.float32)
    if dtype == "bfloat16":
        import torch

        return torch.from_numpy(embedding).bfloat16().float().numpy()
    scale = np.abs(embedding).max(axis=1, keepdims=True) / 127
    return (np.round(embedding / scale) * scale).astype(np.float32)
