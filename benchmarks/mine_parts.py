"""What ``mine.py`` and ``scaling.py`` share: a generated store, `mine` on it, and what it can't do without."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from score_parts import D, cpu_seconds, run_stage, unit_rows

K, ETA = 1_000, 0.05
SHARD = 65_536


def generate(folder: Path, rows: int, seed: int) -> Path:
    """A store as `encode` writes it, of random words and directions."""
    from neglabel.pipeline.store import embedding_array, write_table

    rng, records = np.random.default_rng(seed), []
    folder.mkdir(parents=True)
    for number, start in enumerate(range(0, rows, SHARD)):
        n = min(SHARD, rows - start)
        words = [f"word {seed} {start + row}" for row in range(n)]
        columns = {"text": words, "pos": ["noun"] * n, "language": ["en"] * n, "source": ["generated"] * n,
                   "key": [str(start + row) for row in range(n)], "gloss": [""] * n}  # fmt: skip
        name = f"shard-{number:05d}.parquet"
        embedding = embedding_array(unit_rows(rng, n).astype(np.float16))
        write_table(folder / name, pa.table({**columns, "truncated": [False] * n, "embedding": embedding}))
        records.append({"file": name, "rows": n, "sha256": hashlib.sha256(f"{seed} {name} {n}".encode()).hexdigest(),
                        "words_sha256": "", "rejected_file": "", "rejected_rows": 0, "rejected_sha256": "",
                        "counts": {}})  # fmt: skip
    manifest = {"format": "neglabel-candidates", "version": 1, "complete": True, "dedupe": "text", "shards": records}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def mined(place: Path, stores: list[Path], out: str, work: Path | None = None) -> dict[str, Any]:
    """`mine`, η = 0.05, M = 10,000, in a process of its own."""
    given: dict[str, Any] = {
        "candidates": [str(store) for store in stores], "labels": str(place / "labels.parquet"),
        "out": str(place / out), "top": 10_000, "percentile": ETA, "device": "cpu",
    }  # fmt: skip
    if work is not None:
        given["work"] = str(work)
    found = run_stage("mine", given)
    return {name: found[name] for name in ("seconds", "cpu", "peak_gb", "imports_gb")}


def read_and_multiply(store: Path, labels: np.ndarray) -> dict[str, float]:
    """Reading the embeddings of the files, one row group after the other; and the bare product of so many rows."""
    cpu, start, read, rows = cpu_seconds(), time.perf_counter(), 0.0, 0
    product = np.empty((8_192, K), np.float32)
    for path in sorted(store.glob("*.parquet")):
        file = pq.ParquetFile(path, memory_map=True)
        for number in range(file.num_row_groups):
            begun = time.perf_counter()
            column = file.read_row_group(number, ["embedding"]).column(0).combine_chunks()
            block = np.asarray(column.flatten()).reshape(-1, D)
            read += time.perf_counter() - begun
            wide = block.astype(np.float32)
            begun = time.perf_counter()
            np.matmul(wide, labels.T, out=product[: len(wide)])
            rows += time.perf_counter() - begun
    wall = time.perf_counter() - start
    return {"read": read, "product": rows, "seconds": read + rows, "with widening": wall, "cpu": cpu_seconds() - cpu}


def middle(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: median(run[name] for run in runs) for name in runs[0]}


def from_files(place: Path, rows: int, repeats: int, added: bool) -> dict[str, Any]:
    labels = unit_rows(np.random.default_rng(1), K)
    values = pa.FixedSizeListArray.from_arrays(pa.array(labels.reshape(-1)), D)
    pq.write_table(pa.table({"text": [f"id {n}" for n in range(K)], "embedding": values}), place / "labels.parquet")
    store = generate(place / "store", rows, 2)
    bare, ours = [], []
    for _ in range(repeats):
        bare.append(read_and_multiply(store, labels))
        ours.append(mined(place, [store], "plain.parquet"))
    result: dict[str, Any] = {"rows": rows, "read and bare product": middle(bare), "ours": middle(ours)}
    if added:
        more = generate(place / "more", max(1, rows // 100), 3)
        first = mined(place, [store], "first.parquet", place / "work")
        kept = sum(path.stat().st_size for path in (place / "work").iterdir()) / 2**20
        scratch, incremental = [], []
        for turn in range(repeats):
            shutil.copytree(place / "work", place / f"work{turn}")
            scratch.append(mined(place, [store, more], "scratch.parquet"))
            incremental.append(mined(place, [store, more], "added.parquet", place / f"work{turn}"))
            shutil.rmtree(place / f"work{turn}")
        tables = [pq.read_table(place / f"{name}.parquet").to_pydict() for name in ("scratch", "added")]
        result |= {"first with --work": first, "work_mb": kept, "scratch": middle(scratch),
                   "added": middle(incremental), "same": tables[0] == tables[1]}  # fmt: skip
    return result
