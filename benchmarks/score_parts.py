"""What ``score.py`` and ``scaling.py`` share: generated inputs of the stage `score`, and the stage in a process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

K, M, D = 1_000, 10_000, 512

#: Runs a stage on the settings in argv[2] and prints its summary with the peak memory of this process.
STAGE = """
import json, sys
from pathlib import Path
from neglabel.pipeline.config import make
from neglabel.pipeline.progress import Reporter
if sys.argv[1] == "score":
    from neglabel.pipeline.score import score as stage
    from neglabel.pipeline.score_settings import ScoreSettings as Settings
else:
    from neglabel.pipeline.mine import mine as stage
    from neglabel.pipeline.mine_settings import MineSettings as Settings

def peak():
    # Not ru_maxrss, which a process inherits from the one that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20

imports = peak()
found = stage(make(Settings, json.loads(sys.argv[2])), Reporter(quiet=True))
print(json.dumps({"seconds": found["seconds"], "time": found.get("time"), "peak_gb": peak(), "imports_gb": imports}))
"""


def run_stage(stage: str, settings: dict[str, Any]) -> dict[str, Any]:
    """``seconds``, ``time`` by step where the stage says it, ``peak_gb`` and ``imports_gb`` of its process."""
    command = [sys.executable, "-c", STAGE, stage, json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def unit_rows(rng: np.random.Generator, n: int, dimension: int = D) -> np.ndarray:
    rows = rng.standard_normal((n, dimension), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def write_vectors(
    file: Path, rows: int, seed: int, columns: dict[str, Callable[[int, int], Any]], block: int = 8_192
) -> Path:
    """``rows`` random unit vectors, a row group at a time; ``columns``: what gives (start, n) its values."""
    from neglabel.pipeline.store import embedding_array

    rng, writer = np.random.default_rng(seed), None
    for start in range(0, rows, block):
        n = min(block, rows - start)
        made = {name: make(start, n) for name, make in columns.items()}
        table = pa.table({**made, "embedding": embedding_array(unit_rows(rng, n))})
        writer = writer or pq.ParquetWriter(file, table.schema, compression="none", use_dictionary=[])
        writer.write_table(table)
    if writer is not None:
        writer.close()
    return file


def pictures(path: Path, rows: int, seed: int = 3) -> Path:
    """Embeddings of pictures with the id, path and label that a data set's would have."""
    stem = "n{:08d}/ILSVRC2012_val_{:08d}"
    return write_vectors(path, rows, seed, {
        "id": lambda start, n: ["val/" + stem.format(row % K, row) for row in range(start, start + n)],
        "path": lambda start, n: [f"/data/val/{stem.format(row % K, row)}.JPEG" for row in range(start, start + n)],
        "label": lambda start, n: [f"class {row % K}" for row in range(start, start + n)],
    })  # fmt: skip


def named(path: Path, rows: int, seed: int, noun: str) -> Path:
    """Vectors of texts called ``noun`` and a number."""
    return write_vectors(path, rows, seed, {"text": lambda start, n: [f"{noun} {i}" for i in range(start, start + n)]})


def texts(place: Path) -> dict[str, Any]:
    """Labels and negatives, and the settings that name them."""
    labels = named(place / "labels.parquet", K, 1, "class")
    words = named(place / "negatives.parquet", M, 2, "word")
    return {"labels": str(labels), "negatives": str(words), "out": str(place / "out")}


def memory(images: int, folder: Path | None = None) -> dict[str, Any]:
    """The stage `score` on as many embeddings, NegLabel and MCM."""
    with tempfile.TemporaryDirectory(prefix="score-", dir=folder) as scratch:
        place = Path(scratch)
        given = {**texts(place), "images": {"all": str(pictures(place / "pictures.parquet", images))}}
        return run_stage("score", given)


def share(count: int, folder: Path | None = None) -> dict[str, Any]:
    """Pictures (500 x 375 JPEG of noise) through ViT-B-16 with random weights on the CPU, then scored."""
    from gpu import model_folder
    from PIL import Image

    rng = np.random.default_rng(5)
    with tempfile.TemporaryDirectory(prefix="score-", dir=folder) as scratch:
        place = Path(scratch)
        (place / "pictures").mkdir()
        for number in range(count):
            noise = Image.fromarray(rng.integers(0, 255, (24, 32, 3), np.uint8)).resize((500, 375))
            noise.save(place / "pictures" / f"{number:05d}.jpg")
        found = run_stage("score", {
            **texts(place), "images": {"all": str(place / "pictures")}, "model": str(model_folder(place / "model")),
            "device": "cpu", "batch_size": 32,
        })  # fmt: skip
    spent = found["time"]
    return {**found, "share": spent["score"] / (spent["decode"] + spent["tower"] + spent["score"])}
