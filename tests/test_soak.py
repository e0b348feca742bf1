"""Long checks, run by ``make soak``: many random cases, many kills, a million candidates."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neglabel import NeglabelError
from neglabel.pipeline.config import make
from neglabel.pipeline.encode import encode
from neglabel.pipeline.mine import mine, select
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.settings import EncodeSettings

from .test_mine import ranking, reference

pytestmark = pytest.mark.soak


def test_select_equals_the_reference_in_a_thousand_random_cases() -> None:
    rng = np.random.default_rng(7)
    for _ in range(1_000):
        n, k, d = rng.integers(1, 400), rng.integers(1, 60), rng.integers(1, 40)
        c = rng.normal(size=(n, d)).astype(rng.choice(["f2", "f4", "f8"]))
        c[: n // 3] = c[rng.integers(0, n, n // 3)]
        e = rng.normal(size=(k, d)).astype(np.float32)
        c[~c.any(axis=1)] = 1
        eta, top = float(rng.choice([0, 1, rng.random()])), int(rng.integers(1, n + 1))
        assert select(c, e, eta, top, "cpu").tolist() == ranking(reference(c, e, eta), top)


def test_five_hundred_damaged_stores_are_refused_or_mended(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "w.txt").write_text("\n".join(f"word {i}" for i in range(120)))
    (tmp_path / "l.txt").write_text("dog\ncat\n")
    settings = {"corpus": [str(tmp_path / "w.txt")], "model": str(tiny_model), "shard_rows": 40}
    whole = tmp_path / "whole"
    encode(make(EncodeSettings, {**settings, "out": whole}), Reporter(quiet=True))
    tables = {p.name: pq.read_table(p).to_pydict() for p in whole.glob("shard-*")}
    dice = random.Random(5)
    for _ in range(500):
        hurt = tmp_path / "hurt"
        shutil.copytree(whole, hurt)
        victim = dice.choice(sorted(hurt.iterdir()))
        data = bytearray(victim.read_bytes())
        for _ in range(dice.randint(1, 8)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        victim.write_bytes(data[: dice.choice([len(data), dice.randrange(len(data))])])
        mining = {"candidates": [hurt], "labels": tmp_path / "l.txt", "out": tmp_path / "n.parquet", "top": 10}
        with contextlib.suppress(NeglabelError):  # anything else would be a crash
            mine(make(MineSettings, mining), Reporter(quiet=True))
        try:
            encode(make(EncodeSettings, {**settings, "out": hurt}), Reporter(quiet=True))
            assert {p.name: pq.read_table(p).to_pydict() for p in hurt.glob("shard-*")} == tables
        except NeglabelError:
            assert victim.name == "manifest.json"  # the witness itself was hurt
        shutil.rmtree(hurt)


def test_a_million_candidates_are_mined_in_flat_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    schema = pa.schema({"text": pa.string(), "embedding": pa.list_(pa.float16(), 64)})
    labels = rng.normal(size=(100, 64)).astype(np.float16)
    for name, count in (("small", 100_000), ("large", 1_000_000)):
        with pq.ParquetWriter(tmp_path / f"{name}.parquet", schema) as writer:
            for start in range(0, count, 50_000):
                flat = pa.array(rng.normal(size=50_000 * 64).astype(np.float16))
                texts = pa.array([f"word {i}" for i in range(start, start + 50_000)])
                writer.write_table(pa.table([texts, pa.FixedSizeListArray.from_arrays(flat, 64)], schema))
    values = pa.FixedSizeListArray.from_arrays(pa.array(labels.reshape(-1)), 64)
    pq.write_table(pa.table({"text": [f"id {i}" for i in range(100)], "embedding": values}), tmp_path / "l.parquet")
    peaks = {}
    for name in ("small", "large"):
        code = (
            "import json, resource; from neglabel.pipeline.config import make; "
            "from neglabel.pipeline.mine import mine; from neglabel.pipeline.progress import Reporter; "
            "from neglabel.pipeline.mine_settings import MineSettings; "
            f"mine(make(MineSettings, dict(candidates=['{name}.parquet'], labels='l.parquet', dedupe='none', "
            "out='n.parquet')), Reporter(quiet=True)); "
            "print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))"
        )
        found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        peaks[name] = json.loads(found.stdout)
    # Two bytes a candidate, and what the allocator keeps.
    assert peaks["large"] < peaks["small"] + 150_000, peaks
