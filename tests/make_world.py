"""Labels, negatives and pictures for tests of the score stage, and the stage run on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from neglabel.pipeline import config, score_sets, store
from neglabel.pipeline.models import LoadedModel
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.score import score
from neglabel.pipeline.score_settings import ScoreSettings

D, K, M = 24, 7, 40


def unit(rng: np.random.Generator, n: int, dimension: int = D) -> np.ndarray:
    vectors = rng.normal(size=(n, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def write(path: Path, embedding: np.ndarray, metadata: dict[str, Any] | None = None, **columns: Any) -> Path:
    store.write_table(path, pa.table({**columns, "embedding": store.embedding_array(embedding)}), metadata)
    return path


def make_world(tmp_path: Path) -> Path:
    """Labels, negatives as mine writes them, and embeddings of pictures."""
    rng = np.random.default_rng(0)
    write(tmp_path / "labels.parquet", unit(rng, K), text=[f"class {k}" for k in range(K)])
    metadata = {"format": "neglabel-negatives", "version": 1, "settings": {"random": None}, "model": None}
    words = {"rank": pa.array(range(M), pa.int32()), "text": [f"word {j}" for j in range(M)], "pos": ["noun"] * M}
    write(tmp_path / "negatives.parquet", unit(rng, M), metadata, **words)
    write(tmp_path / "id.parquet", unit(rng, 50), label=[i % (K + 1) for i in range(50)])
    write(tmp_path / "ood.parquet", unit(rng, 30), label=["x", *[""] * 29], id=[f"p{i}" for i in range(30)])
    return tmp_path


def options(world: Path, **changes: Any) -> ScoreSettings:
    given: dict[str, Any] = {
        "negatives": world / "negatives.parquet",
        "labels": world / "labels.parquet",
        "out": world / "out",
        "id": {"in": str(world / "id.parquet")},
        "ood": {"far": str(world / "ood.parquet")},
        "groups": 3,
    }
    return config.make(ScoreSettings, {**given, **changes})


def run(settings: ScoreSettings) -> dict[str, Any]:
    return score(settings, Reporter(quiet=True))


def stop_at_the_second(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have the first run interrupted before anything of its second data set is read. Returns the sets read, growing."""
    inner = score_sets._blocks
    read: list[str] = []

    def interrupted(source: Any, model: Any) -> Any:
        read.append(Path(source.spec).stem)
        if len(read) == 2:
            raise KeyboardInterrupt
        yield from inner(source, model)

    monkeypatch.setattr(score_sets, "_blocks", interrupted)
    return read


def rows(world: Path, name: str) -> dict[str, list[Any]]:
    return pq.read_table(world / "out" / f"scores-{name}.parquet").to_pydict()


def vectors(path: Path) -> np.ndarray:
    return np.concatenate([b.embedding for b in store.stream(path)]).astype(np.float64)


def make_gallery(world: Path) -> Path:
    """Adds pictures in folders, and labels and words as text: what needs a model."""
    rng = np.random.default_rng(3)
    for folder, n in (("cats/class_1", 3), ("cats/class 2", 2), ("cars", 4)):
        (world / folder).mkdir(parents=True)
        for i in range(n):
            Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(world / folder / f"{i}.png")
    (world / "labels.txt").write_text("class 0\nclass 1\nclass 2\n")
    (world / "words.txt").write_text("a photo of rust\na photo of rain\na photo of law\n")
    return world


def with_pictures(world: Path, model: Path | None, **changes: Any) -> ScoreSettings:
    given = {
        "id": {"cats": str(world / "cats")},
        "ood": {"cars": str(world / "cars")},
        "labels": world / "labels.txt",
        "negatives": world / "words.txt",
        "groups": 1,
        "model": None if model is None else str(model),
        "device": "cpu",
    }
    return options(world, **{**given, **changes})


def mined_with(world: Path, loaded: LoadedModel, **changes: Any) -> Path:
    metadata = {
        "format": "neglabel-negatives",
        "version": 1,
        "settings": {"random": 4},
        "model": {**loaded.identity, **changes},
        "labels": {"count": 3, "path": "", "prompts": ["a sketch of {}"]},
    }
    embedding = unit(np.random.default_rng(9), 5, 32)
    return write(world / "mined.parquet", embedding, metadata, text=[f"w{i}" for i in range(5)])
