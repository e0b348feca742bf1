"""All numbers of labels and all percentiles that matter: both paths against float64; blocks; memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neglabel.indexes.percentile import PercentileIndex
from neglabel.pipeline import mine_arrays
from neglabel.pipeline.mine import select
from neglabel.pipeline.store import unit

from .test_mine_fast import ETAS, KS, faiss_selection, rows_of, truth


@pytest.mark.parametrize("k", KS)
def test_both_paths_are_the_exact_one(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(k)
    c, e = rows_of(rng, 150, 16, "half"), rows_of(rng, k, 16, "single")
    c[100:120] = c[:20]
    for eta in ETAS:
        # The percentile by NumPy's own definition, and one summed alike wherever a row stands, which ties go by.
        percentile = np.percentile(-(unit(c, np.float64) @ unit(e, np.float64).T), 100 * eta, axis=1)
        want = truth(c, e, eta)
        np.testing.assert_allclose(want, percentile, atol=1e-12)
        index = PercentileIndex(unit(e), eta, "cpu")
        assert np.abs(index.distances(unit(c)) - want).max() <= index.error_bound
        ranked = np.lexsort((np.arange(150), -want))[:60].tolist()
        assert faiss_selection(c, e, eta, 60) == ranked
        for block in (7, 64, 4_096):
            monkeypatch.setattr(mine_arrays, "_BLOCK", block)
            assert select(c, e, eta, 60, "cpu").tolist() == ranked


MINE = """
import json, sys
from pathlib import Path
import numpy as np
import pyarrow as pa
from neglabel.pipeline.config import make
from neglabel.pipeline.mine import mine
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.progress import Reporter

def status(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) / 2**10

folder, before = Path(sys.argv[1]), status("VmHWM")
mine(make(MineSettings, {"candidates": [str(p) for p in sorted(folder.glob("c*.parquet"))], "device": "cpu",
     "labels": str(folder / "labels.parquet"), "out": str(folder / "out.parquet"), "top": 1000}), Reporter(quiet=True))
print(json.dumps({"before": before, "peak": status("VmHWM"), "files": status("RssFile"), "anon": status("RssAnon")}))
"""


def peak(folder: Path, files: int, rows: int) -> float:
    """Peak memory, in MB, that mining added to a process, of ``files`` files of ``rows`` candidates each."""
    import pyarrow as pa

    from neglabel.pipeline import store

    folder.mkdir()
    rng = np.random.default_rng(0)
    labels = rng.normal(size=(50, 64)).astype(np.float32)
    text = pa.array([f"id {n}" for n in range(50)])
    store.write_table(folder / "labels.parquet", pa.table({"text": text, "embedding": store.embedding_array(labels)}))
    for number in range(files):
        words = pa.array([f"w{number}x{row}" for row in range(rows)])
        embedding = store.embedding_array(rng.normal(size=(rows, 64)).astype(np.float16))
        store.write_table(folder / f"c{number:03}.parquet", pa.table({"text": words, "embedding": embedding}))
    done = subprocess.run([sys.executable, "-c", MINE, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return float(found["peak"] - found["before"])


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_a_million_candidates_take_the_memory_of_a_quarter_but_for_digests(tmp_path: Path) -> None:
    # 64 dimensions of float16: a million is 128 MB. Digests and masks are 40 bytes a word while they are sorted.
    quarter, whole = peak(tmp_path / "a", 4, 62_500), peak(tmp_path / "b", 16, 62_500)
    print(f"{quarter:.0f} MB for 250,000, {whole:.0f} MB for a million")
    assert whole - quarter <= 750_000 * 48 / 2**20 + 40
