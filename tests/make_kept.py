"""Writes folders as ``score --keep-embeddings`` does, from ``docs/formats.md`` alone: a small world of unit vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

Floats = NDArray[np.float64]
D = 24
T = 0.05
LABELS = ("cat", "dog", "owl", "fish")


def unit(vectors: Floats) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@dataclass
class World:
    """Labels, pictures of them (``id``), and pictures of other things, each near one of ``themes``."""

    seed: int = 0
    pictures: dict[str, int] = field(default_factory=lambda: {"animals": 80, "food": 60, "cars": 60})
    noise: float = 0.8

    def __post_init__(self) -> None:
        draw = np.random.default_rng(self.seed)
        self.labels = unit(draw.normal(size=(len(LABELS), D)))
        self.themes = {name: unit(draw.normal(size=(5, D))) for name in self.pictures if name != "animals"}
        self.embeddings, self.truth = {}, {}
        for name, count in self.pictures.items():
            centres = self.labels if name == "animals" else self.themes[name]
            which = np.arange(count) % len(centres)
            spread = draw.normal(size=(count, D)) * self.noise / np.sqrt(D) * 2
            self.embeddings[name] = unit(centres[which] + spread)
            self.truth[name] = [LABELS[i] if name == "animals" else "" for i in which]

    def words(self, count: int, near: str | None = None, strength: float = 1.0, seed: int = 1) -> NDArray[np.float32]:
        """``count`` negatives, near the pictures of ``near`` (``animals``: they hurt), or anywhere."""
        draw = np.random.default_rng([self.seed, seed])
        base = draw.normal(size=(count, D)) / np.sqrt(D) * 1.6
        if near is not None:
            # Words near one class only: its pictures sink below those of the others.
            centres = self.labels[:1] if near == "animals" else self.themes[near]
            base += strength * centres[np.arange(count) % len(centres)]
        return unit(base)


def logits(world: World, name: str, negatives: NDArray[np.float32], groups: Any) -> Floats:
    """NegLabel's log-odds in float64, straight from the formula; ``groups``: lists of indices."""
    h = world.embeddings[name].astype(np.float64)
    a = np.exp(h @ world.labels.T.astype(np.float64) / T).sum(axis=1)
    b = np.exp(h @ negatives.T.astype(np.float64) / T)
    ratio = [b[:, list(group)].sum(axis=1) / a for group in groups if len(group)]
    inside = np.mean([1 / (1 + r) for r in ratio], axis=0)
    outside = np.mean([r / (1 + r) for r in ratio], axis=0)
    return np.log(inside) - np.log(outside)


def own_groups(count: int, groups: int, seed: int = 0) -> NDArray[np.int64]:
    """The documented permutation."""
    used = count // groups * groups
    return np.random.default_rng(seed).permutation(used).reshape(groups, -1)


def write_kept(
    folder: Path, world: World, negatives: NDArray[np.float32], words: Sequence[str], *, groups: int = 4,
    source: str = "wordnet-3.0", language: str = "en", pos: str = "noun", keys: Sequence[str] = (),
    candidates: int = 500, stores: Sequence[str] = ("store",), keep: bool = True, random: bool = False,
    manifest: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None, mined: dict[str, Any] | None = None, languages: Sequence[str] = (),
) -> Path:  # fmt: skip
    """A folder of scores; ``manifest``, ``metadata``, ``settings``, ``mined`` override entries of these tables."""
    folder.mkdir(parents=True)
    count, entries = len(negatives), []
    grouped = own_groups(count, groups)
    for name, embedding in world.embeddings.items():
        table = _scores(world, name, logits(world, name, negatives, grouped), negatives, words)
        pq.write_table(table, folder / f"scores-{name}.parquet")
        entry = {"name": name, "role": _role(name), "source": "x", "rows": len(embedding), "unreadable": 0}
        if keep:
            pq.write_table(pa.table({"embedding": _list(embedding)}), folder / f"embeddings-{name}.parquet")
            entry["embeddings_sha256"] = hashlib.sha256(embedding.tobytes()).hexdigest()
        entries.append(entry)
    draw = np.random.default_rng(count)
    distance = np.sort(draw.normal(0.05 * len(stores), 0.05, count))[::-1]
    columns: dict[str, Any] = {
        "rank": pa.array(range(count), pa.int32()),
        "text": pa.array(list(words), pa.string()),
        "pos": pa.array([pos] * count, pa.string()),
        "language": pa.array(list(languages) or [language] * count, pa.string()),
        "source": pa.array([source] * count, pa.string()),
        "key": pa.array(list(keys) or [""] * count, pa.string()),
        "distance": pa.array(distance, pa.float64()),
    }
    if keep:
        columns["embedding"] = _list(negatives)
        pq.write_table(
            pa.table({"text": pa.array(LABELS, pa.string()), "embedding": _list(world.labels)}),
            folder / "labels.parquet",
        )
    every, edges = draw.normal(-0.05, 0.1, 4_000), np.linspace(-1, 1, 401)
    facts = {
        "format": "neglabel-negatives", "version": 1, "model": {"model": "emoji", "checkpoint_sha256": "ab"},
        "settings": {
            "candidates": list(stores), "percentile": 0.05, "preset": "paper", "dedupe": "text", "per_pos": False,
            "keep_id_names": False, "random": 1 if random else None, **(mined or {}),
        },
        "labels": {"names": list(LABELS), "prompts": ["The nice {}."]},
        "counts": {"candidates": candidates, "duplicates": 0, "id_names": 0, "excluded": 0, "kept": count},
        "histogram": {
            "edges": edges.tolist(), "all": np.histogram(every, edges)[0].tolist(),
            "kept": np.histogram(distance, edges)[0].tolist(),
        },
        **(metadata or {}),
    }  # fmt: skip
    table = pa.table(columns).replace_schema_metadata({b"neglabel": json.dumps(facts, ensure_ascii=False).encode()})
    pq.write_table(table, folder / "negatives.parquet")
    value = {
        "format": "neglabel-scores", "version": 1, "model": facts["model"], "labels": list(LABELS),
        "settings": {
            "label_prompt": ["The nice {}."], "groups": groups, "group_order": "random", "group_drop": "last",
            "seed": 0, **(settings or {}),
        },
        "datasets": entries, "scores": [{"name": "neglabel", "temperature": T, "groups": groups}], "embeddings": keep,
        "negatives": {"path": "n.parquet", "count": count, "random": random}, "versions": {}, "complete": True,
        **(manifest or {}),
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(value), encoding="utf-8")
    return folder


def _role(name: str) -> str:
    return "id" if name == "animals" else "ood"


def _list(vectors: NDArray[np.float32]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])


def _scores(
    world: World, name: str, logit: Floats, negatives: NDArray[np.float32], words: Sequence[str]
) -> pa.Table:
    h = world.embeddings[name].astype(np.float64)
    a, b = np.exp(h @ world.labels.T / T), np.exp(h @ negatives.T / T)
    total = a.sum(axis=1) + b.sum(axis=1)
    best, top = np.argsort(-a, axis=1)[:, :5], np.argsort(-b, axis=1)[:, :5]
    n = len(h)
    return pa.table(
        {
            "id": [f"{name}/{i}.png" for i in range(n)],
            "path": [""] * n,
            "dataset": [name] * n,
            "role": [_role(name)] * n,
            "label": world.truth[name],
            "predicted_label": [LABELS[i] for i in best[:, 0]],
            "neglabel": 1 / (1 + np.exp(-logit)),
            "neglabel_logit": logit,
            "top_labels": [[LABELS[i] for i in row] for row in best],
            "top_label_shares": list((np.take_along_axis(a, best, 1) / total[:, None]).astype(np.float32)),
            "top_negatives": [[words[i] for i in row] for row in top],
            "top_negative_shares": list((np.take_along_axis(b, top, 1) / total[:, None]).astype(np.float32)),
            "id_share": (a.sum(axis=1) / total).astype(np.float32),
        }
    )
