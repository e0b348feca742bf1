"""The worlds that `better.py` measures on: real CLIP ViT-B/32 features, and the embedded world."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from neglabel.pipeline.config import read_toml

FEATURES = Path(__file__).resolve().parents[2] / "shared" / "data" / "clip_vitb32"
SETS = {"Food": "food101_16shot", "SUN8": "sun397_8shot", "DTD": "dtd"}
WORDS = ("lvis", "openimages", "objects365")
#: Random draws of classes and words that no part of the setting was chosen on: 0 and 1 chose, 3 and 4 were seen since.
DRAWS = (5, 6)


@dataclass
class World:
    """ID labels (K, D), negatives (M, D), ID pictures (n, D), OOD pictures by name; unit vectors, float32."""

    name: str
    labels: np.ndarray
    negatives: np.ndarray
    inside: np.ndarray
    outside: dict[str, np.ndarray]
    temperature: float
    grouped: bool


def vectors(path: Path) -> np.ndarray:
    column = pq.read_table(path, columns=["embedding"])["embedding"].combine_chunks()
    rows = np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float32).reshape(len(column), -1)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def real() -> Iterator[World]:
    """Full, thinned and covered: see docs/better.md."""
    labels = vectors(FEATURES / "labels_imagenet1k_a.parquet")
    seen = {name.lower() for name in pq.read_table(FEATURES / "labels_imagenet1k_a.parquet")["text"].to_pylist()}
    chosen: list[np.ndarray] = []
    source: list[str] = []
    for name in WORDS:
        path = FEATURES / f"candidates_{name}.parquet"
        texts = [text.lower() for text in pq.read_table(path, columns=["text"])["text"].to_pylist()]
        for text, vector in zip(texts, vectors(path), strict=True):
            if text not in seen:
                seen.add(text)
                chosen.append(vector)
                source.append(name)
    words = np.stack(chosen)
    inside = vectors(FEATURES / "images_imagenet_4shot.parquet")
    classes = np.asarray(pq.read_table(FEATURES / "images_imagenet_4shot.parquet")["label"].to_pylist())
    outside = {name: vectors(FEATURES / f"images_{file}.parquet") for name, file in SETS.items()}

    def world(name: str, some: np.ndarray) -> World:
        return World(name, labels, some, inside, outside, 0.01, grouped=False)

    yield world("full", words)
    for draw in DRAWS:
        yield world(f"half {draw}", words[np.random.default_rng(draw).permutation(len(words))[: len(words) // 2]])
    yield world("oi", words[np.array(source) == "openimages"])
    for draw in DRAWS:
        order = np.random.default_rng(draw).permutation(len(labels))
        half = len(labels) // 2
        ours, others = np.sort(order[:half]), order[half:]
        pictures = inside[np.isin(classes, ours)], {"ImageNet": inside[np.isin(classes, others)]}
        for name, known in (("covered", half), ("half covered", half // 2), ("bare", 0)):
            negatives = np.concatenate([words, labels[others[:known]]])
            yield World(f"{name} {draw}", labels[ours], negatives, *pictures, 0.01, grouped=False)


def embedded(folder: Path) -> Iterator[World]:
    """Each of three sets as ID, the others OOD; 10,000 mined negatives in 100 groups, and a part of them."""
    if not (folder / "quickstart.toml").is_file():
        neglabel("quickstart", "--out", folder, "--seeds", 1)
    temperature = read_toml(folder / "quickstart.toml")["score"]["temperature"]["neglabel"]
    sets = sorted(place.name for place in (folder / "pictures").iterdir() if place.is_dir())
    for name in ("animals", "food", "vehicles"):
        labels, mined, out = folder / "labels" / f"{name}.txt", folder / f"{name}.parquet", folder / f"kept-{name}"
        if not mined.is_file():
            neglabel("mine", folder / "candidates", "--labels", labels, "--out", mined)
        if not (out / "labels.parquet").is_file():
            others = [
                part for other in sets if other != name for part in ("--ood", f"{other}={folder}/pictures/{other}")
            ]
            neglabel(
                "score", "--negatives", mined, "--labels", labels, "--out", out, "--cache", folder / "cache",
                "--id", f"{name}={folder}/pictures/{name}", *others, "--keep-embeddings", "--score", "softmargin",
                "--temperature", f"softmargin={temperature}",
            )  # fmt: skip
        texts, words = vectors(out / "labels.parquet"), vectors(out / "negatives.parquet")
        pictures = {other: vectors(out / f"embeddings-{other}.parquet") for other in sets}
        inside = pictures.pop(name)
        for count in (len(words), 1_000, 200):
            some = (
                np.random.default_rng(DRAWS[0]).permutation(len(words))[:count] if count < len(words) else slice(None)
            )
            negatives = words[some]
            yield World(f"{name} {len(negatives):,}", texts, negatives, inside, pictures, temperature, grouped=True)


def softmargin_column(folder: Path, world: World, ood: str) -> np.ndarray:
    """What the stage wrote for a set of an embedded world."""
    table = pq.read_table(folder / f"kept-{world.name.split()[0]}" / f"scores-{ood}.parquet", columns=["softmargin"])
    return np.asarray(table["softmargin"].to_numpy())


def neglabel(*arguments: object) -> None:
    command = [sys.executable, "-c", "from neglabel.cli import main; main()", *map(str, arguments), "-q"]
    subprocess.run(command, check=True)


def log_sum(values: np.ndarray, temperature: float) -> np.ndarray:
    """T·lse(value/T) over the last axis, exponentials in float32: (n, m) float32 → (n,) float64."""
    top = values.max(axis=-1, keepdims=True)
    total = np.exp((values - top) * np.float32(1 / temperature)).sum(axis=-1, dtype=np.float64)
    return np.asarray(top[..., 0].astype(np.float64) + temperature * np.log(total))
