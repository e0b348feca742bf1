"""Mining against what it can't do without: the matrix product, and reading the files.

    python benchmarks/mine.py [--rows 1000000] [--repeats 5] [--parts memory,files,added] [--folder DIR] [--json FILE]

`memory`: 50,000 candidates x 1,000 labels x 512, η = 0.05, in memory: ours (M = 10,000 and 1,000), the reference way
(product, `torch.quantile` in chunks, `argsort`), FAISS's search, the bare float32 product. `files`: --rows candidates
from a generated store, against reading the same column of the same files and the bare product of so many rows; peak
memory of a process. `added`: 1 % more candidates with `--work`, against from scratch. All ways take turns; medians.
Wall time on a busy machine says little, so CPU time is shown beside it. Nothing here decides a test.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

C, K, D, ETA = 50_000, 1_000, 512, 0.05
SHARD = 65_536


def unit_rows(rng: np.random.Generator, n: int) -> np.ndarray:
    rows = rng.standard_normal((n, D), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def turns(ways: dict[str, Callable[[], Any]], repeats: int) -> dict[str, dict[str, float]]:
    """Each way once a turn: medians of wall and CPU seconds (of this process and of its children)."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), _cpu()
            way()
            taken[name].append((time.perf_counter() - wall, _cpu() - cpu))
    return {
        name: {"wall": median(w for w, _ in each), "cpu": median(c for _, c in each)} for name, each in taken.items()
    }


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def in_memory(repeats: int) -> dict[str, Any]:
    import torch

    from neglabel.indexes.percentile import PercentileIndex
    from neglabel.pipeline.mine import select

    rng = np.random.default_rng(0)
    candidates, labels = unit_rows(rng, C), unit_rows(rng, K)
    index = PercentileIndex(labels, ETA, "cpu")

    def reference(top: int = 10_000) -> np.ndarray:
        # As the authors' code does it; torch.quantile takes 2^24 numbers at most.
        ours, theirs = torch.from_numpy(candidates), torch.from_numpy(labels)
        parts = [torch.quantile(-(ours[i : i + 10_000] @ theirs.T), ETA, dim=1) for i in range(0, C, 10_000)]
        return torch.argsort(torch.cat(parts), descending=True)[:top].numpy()

    def faiss_way(top: int = 10_000) -> np.ndarray:
        return np.argsort(-index.distances(candidates), kind="stable")[:top]

    rough, ours = reference(), select(candidates, labels, ETA, 10_000, "cpu")
    ways: dict[str, Callable[[], Any]] = {
        "bare product (NumPy)": lambda: candidates @ labels.T,
        "ours, M = 10,000": lambda: select(candidates, labels, ETA, 10_000, "cpu"),
        "ours, M = 1,000": lambda: select(candidates, labels, ETA, 1_000, "cpu"),
        "reference way": reference,
        "FAISS search, k = 51": faiss_way,
    }
    times = turns(ways, repeats)
    same = {name: len(np.intersect1d(rows, ours)) for name, rows in (("reference", rough), ("faiss", faiss_way()))}
    return {"times": times, "kept by both": same}


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


def mined(place: Path, stores: list[Path], out: str, work: Path | None = None) -> dict[str, float]:
    """`mine` in a process of its own: seconds of the stage, CPU seconds and peak memory (GB) of the process."""
    code = (
        "import json, resource, sys\nfrom pathlib import Path\n"
        "from neglabel.pipeline.config import make\nfrom neglabel.pipeline.mine import mine\n"
        "from neglabel.pipeline.progress import Reporter\nfrom neglabel.pipeline.mine_settings import MineSettings\n"
        # Not ru_maxrss, which a process inherits from the one that started it.
        "def peak():\n"
        "    lines = Path('/proc/self/status').read_text().splitlines()\n"
        "    return next(int(line.split()[1]) for line in lines if line.startswith('VmHWM')) / 2**20\n"
        "given, imports = json.loads(sys.argv[1]), peak()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF)\n"
        "found = mine(make(MineSettings, given), Reporter(quiet=True))\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime\n"
        "print(json.dumps({'wall': found['seconds'], 'cpu': cpu, 'peak_gb': peak(),"
        " 'imports_gb': imports}))\n"
    )
    given: dict[str, Any] = {
        "candidates": [str(store) for store in stores], "labels": str(place / "labels.parquet"),
        "out": str(place / out), "top": 10_000, "percentile": ETA, "device": "cpu",
    }  # fmt: skip
    if work is not None:
        given["work"] = str(work)
    done = subprocess.run([sys.executable, "-c", code, json.dumps(given)], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def read_and_multiply(store: Path, labels: np.ndarray) -> dict[str, float]:
    """Reading the embeddings of the files, one row group after the other; and the bare product of so many rows."""
    cpu, start, read, rows = _cpu(), time.perf_counter(), 0.0, 0
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
    return {"read": read, "product": rows, "wall": read + rows, "with widening": wall, "cpu": _cpu() - cpu}


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--parts", default="memory,files,added")
    parser.add_argument("--folder", type=Path, help="where the generated store goes (removed afterwards)")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    load = os.getloadavg()
    result: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "load_before": load}
    if "memory" in given.parts:
        result["memory"] = in_memory(given.repeats)
        base = result["memory"]["times"]["bare product (NumPy)"]
        print("| 50,000 x 1,000 x 512 in memory | wall s | of the product | CPU s | of the product |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for name, taken in result["memory"]["times"].items():
            print(f"| {name} | {taken['wall']:.2f} | {taken['wall'] / base['wall']:.2f} | {taken['cpu']:.2f} "
                  f"| {taken['cpu'] / base['cpu']:.2f} |")  # fmt: skip
        print("kept by both:", result["memory"]["kept by both"])
    if "files" in given.parts or "added" in given.parts:
        place = Path(tempfile.mkdtemp(prefix="mine-", dir=given.folder))
        try:
            files = from_files(place, given.rows, given.repeats, "added" in given.parts)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        result["files"] = files
        base = files["read and bare product"]
        print(f"| {given.rows:,} x 1,000 x 512 from Parquet | wall s | ratio | CPU s | peak GB |")
        print("| --- | ---: | ---: | ---: | ---: |")
        print(f"| read {base['read']:.1f} + bare product {base['product']:.1f} | {base['wall']:.1f} | 1 "
              f"| {base['cpu']:.1f} | |")  # fmt: skip
        for name, against in (("ours", "read and bare product"), ("first with --work", "ours"),
                              ("scratch", "ours"), ("added", "scratch")):  # fmt: skip
            if name in files:
                one = files[name]
                print(f"| {name} | {one['wall']:.1f} | {one['wall'] / files[against]['wall']:.3f} of {against} "
                      f"| {one['cpu']:.1f} | {one['peak_gb']:.2f} (imports {one['imports_gb']:.2f}) |")  # fmt: skip
        if "same" in files:
            print(f"added = scratch: {files['same']}; --work holds {files['work_mb']:.0f} MB")
    result["load_after"] = os.getloadavg()
    print(f"load of the machine: {load[0]:.1f} before, {result['load_after'][0]:.1f} after, {result['cores']} cores")
    if given.json:
        given.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
