"""Writes folders as ``score`` does, from ``docs/formats.md`` alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SCORES = ("neglabel", "mcm", "msp")


@dataclass
class Set:
    """A data set whose log-odds are drawn around ``centre``, or given."""

    name: str
    role: str
    rows: int = 40
    centre: float = 0.0
    paths: Sequence[str] = ()
    ids: Sequence[str] = ()
    labels: Sequence[str] = ()
    predicted: Sequence[str] = ()
    logits: dict[str, Sequence[float]] = field(default_factory=dict)


def write_run(
    folder: Path,
    sets: Sequence[Set],
    *,
    labels: Sequence[str] = ("cat", "dog", "owl"),
    words: Sequence[str] = ("lorry", "spoon", "velvet", "treaty", "gust"),
    scores: Sequence[str] = SCORES,
    random: bool = False,
    mined: bool = True,
    seed: int = 0,
) -> Path:
    """A folder of scores; without ``words`` NegLabel has no evidence; ``mined`` False is a plain list of words."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    for data in sets:
        pq.write_table(_scores(data, labels, words, scores, draw), folder / f"scores-{data.name}.parquet")
    _negatives(folder, labels, words, mined, seed if random else None, draw)
    manifest = {
        "format": "neglabel-scores",
        "version": 1,
        "settings": {"groups": 100, "seed": 0, "negatives": "negatives.parquet", "id": {s.name: "x" for s in sets}},
        "model": {"model": "emoji", "pretrained": None, "embed_dim": 128},
        "labels": list(labels),
        "datasets": [{"name": s.name, "role": s.role, "source": "x", "rows": s.rows, "unreadable": 0} for s in sets],
        "scores": [{"name": name, "temperature": 0.01, "groups": 100} for name in scores],
        "negatives": {"path": "negatives.parquet", "count": len(words), "random": random},
        "versions": {"neglabel": "0.1.0", "numpy": "2.0"},
        "seconds": 1.5,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def _scores(
    data: Set, labels: Sequence[str], words: Sequence[str], scores: Sequence[str], draw: np.random.Generator
) -> pa.Table:
    n = data.rows
    true = list(data.labels) or [labels[i % len(labels)] if data.role == "id" else "" for i in range(n)]
    columns: dict[str, Any] = {
        "id": list(data.ids) or [f"{data.name}/{i}.png" for i in range(n)],
        "path": list(data.paths) or [""] * n,
        "dataset": [data.name] * n,
        "role": [data.role] * n,
        "label": true,
        "predicted_label": list(data.predicted) or [labels[i % len(labels)] for i in range(n)],
    }
    for place, name in enumerate(scores):
        logit = np.asarray(data.logits.get(name, draw.normal(data.centre / (1 + place), 1.0, n)), dtype=np.float64)
        if name == "neglabel" and not words:
            logit = np.full(n, np.nan)
        columns[name], columns[f"{name}_logit"] = 1 / (1 + np.exp(-logit)), logit
    for kind, names in (("label", labels), ("negative", words)):
        count = min(5, len(names))
        shares = np.sort(draw.dirichlet(np.ones(max(count, 1)), n), axis=1)[:, ::-1][:, :count] / 2
        picked = [[names[int(i)] for i in draw.permutation(len(names))[:count]] for _ in range(n)]
        columns[f"top_{kind}s"] = pa.array(picked, pa.list_(pa.string()))
        columns[f"top_{kind}_shares"] = pa.array(shares.tolist(), pa.list_(pa.float32()))
    columns["id_share"] = pa.array(draw.uniform(size=n), pa.float32())
    return pa.table(columns)


def _negatives(
    folder: Path, labels: Sequence[str], words: Sequence[str], mined: bool, random: int | None,
    draw: np.random.Generator,
) -> None:
    n = len(words)
    columns: dict[str, Any] = {
        "rank": pa.array(range(n), pa.int32()),
        "text": pa.array(list(words), pa.string()),
    }
    metadata = {}
    if mined:
        distance = np.sort(draw.uniform(-0.1, 0.3, n))[::-1]
        columns |= {
            "pos": pa.array([("noun", "adjective")[i % 2] for i in range(n)], pa.string()),
            "language": pa.array(["en"] * n, pa.string()),
            "source": pa.array(["wordnet"] * n, pa.string()),
            "key": pa.array([""] * n, pa.string()),
            "distance": pa.array(distance, pa.float64()),
            "nearest_label": pa.array([labels[i % len(labels)] for i in range(n)], pa.string()),
            "nearest_cosine": pa.array(draw.uniform(0, 0.5, n), pa.float64()),
        }
        every = draw.normal(-0.1, 0.1, 5_000)
        edges = np.linspace(-0.5, 0.3, 41)
        facts = {
            "format": "neglabel-negatives",
            "version": 1,
            "settings": {"percentile": 0.05, "top": n, "random": random},
            "counts": {"candidates": 5_000, "kept": n},
            "histogram": {
                "edges": edges.tolist(),
                "all": np.histogram(every, edges)[0].tolist(),
                "kept": np.histogram(every[every > 0.05], edges)[0].tolist(),
            },
            "nearest": [
                {"text": f"near {label}", "pos": "noun", "distance": -0.4, "nearest_label": label} for label in labels
            ],
        }
        metadata = {b"neglabel": json.dumps(facts, ensure_ascii=False).encode()}
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), folder / "negatives.parquet")
