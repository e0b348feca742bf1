"""One process writes one output: real processes, a real SIGKILL; what killed ones leave, and a cache that is shared."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from neglabel import NeglabelError
from neglabel.pipeline import config
from neglabel.pipeline.files import claim_folder, read_json
from neglabel.pipeline.leftovers import owner
from neglabel.pipeline.lock import writing
from neglabel.pipeline.mine import mine
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.mine_work import Work
from neglabel.pipeline.progress import Reporter

from .make_world import unit, write

#: `mine` that stops where it would read the candidates, with its output's lock held.
HOLD = """
import sys, time
from neglabel.pipeline import mine as stage
from neglabel.pipeline.config import make
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.progress import Reporter
def wait(paths):
    print("held", flush=True)
    time.sleep(600)
stage.open_stores = wait
stage.mine(make(MineSettings, dict(zip(("candidates", "labels", "out"), sys.argv[1:]))), Reporter(quiet=True))
"""
#: A process that is in the middle of writing a file.
WRITE = """
import sys, time
from pathlib import Path
from neglabel.pipeline.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print(temporary, flush=True)
    time.sleep(600)
"""
#: A process that keeps twenty pictures' embeddings, one after the other.
KEEP = """
import sys
from hashlib import sha256
from pathlib import Path
import numpy as np
from neglabel.pipeline.image_shards import ImageShards
kept = ImageShards(Path(sys.argv[1]), {"model": {}, "preprocessing": "", "precision": "fp32"}, print)
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    kept.write(sha256(f"{sys.argv[2]} {number}".encode()).hexdigest(), 1, {0: np.ones(4, np.float32)})
"""


@contextmanager
def running(code: str, *arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process, and the first line that it printed."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def settings(tmp_path: Path) -> MineSettings:
    rng = np.random.default_rng(0)
    candidates = write(tmp_path / "words.parquet", unit(rng, 40), text=[f"w{i}" for i in range(40)])
    labels = write(tmp_path / "labels.parquet", unit(rng, 3), text=["a", "b", "c"])
    given = {"candidates": candidates, "labels": labels, "out": tmp_path / "made" / "n.parquet", "top": 5}
    return config.make(MineSettings, given)


def test_the_second_writer_is_refused_until_the_first_is_killed(settings: MineSettings) -> None:
    with running(HOLD, settings.candidates[0], settings.labels, settings.out) as (first, said):
        assert said == "held"
        with pytest.raises(NeglabelError, match=r"--out \S+n\.parquet is being written by another process; wait"):
            mine(settings, Reporter(quiet=True))
        assert not settings.out.exists()
        other = settings.model_copy(update={"out": settings.out.with_name("other.parquet")})
        assert mine(other, Reporter(quiet=True))["counts"]["kept"] == 5
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert mine(settings, Reporter(quiet=True))["counts"]["kept"] == 5
    names = {path.name for path in settings.out.parent.iterdir()}
    assert names == {f"{name}.parquet{more}" for name in ("n", "other") for more in ("", ".settings.toml")}


def test_a_lock_leaves_nothing_and_a_file_that_nobody_locked_means_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), writing(tmp_path / "a" / "b" / "out", "--out"):
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    (tmp_path / ".out.lock").touch()
    with writing(tmp_path / "out", "--out"), pytest.raises(NeglabelError), writing(tmp_path / "out", "--out"):
        pass
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".n.parquet.lock").touch()
    claim_folder(tmp_path / "new", "neglabel-scores")


def test_what_a_killed_process_left_goes_and_nobody_elses(settings: MineSettings, tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("claimed", "work", "made")}
    left = []
    for name, file in (("claimed", "manifest.json"), ("work", "words-1.npy"), ("made", "n.parquet")):
        with running(WRITE, folders[name] / file) as (process, written):
            assert Path(written).exists()
            process.send_signal(signal.SIGKILL)
        left.append(Path(written))
    assert all(path.exists() for path in left)
    alive = [path.with_name(f".x.{owner()}0.part") for path in left]
    made_by = left[0].name.split(".")[-2].split("-")[0]
    elsewhere = [path.with_name(path.name.replace(made_by, "0" * 8)) for path in left]
    for path in (*elsewhere, *alive):
        path.touch()
    claim_folder(folders["claimed"], "neglabel-scores", create=False)
    Work(folders["work"], None)  # type: ignore[arg-type]
    mine(settings, Reporter(quiet=True))
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in (*elsewhere, *alive))


def test_processes_that_share_a_cache_lose_nothing(tmp_path: Path) -> None:
    with running(KEEP, tmp_path, "a") as (one, ready), running(KEEP, tmp_path, "b") as (two, also):
        assert ready == also == "ready"
        for process in (one, two):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        assert (one.wait(), two.wait()) == (0, 0)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert len(read_json(folder / "manifest.json", "neglabel-images")["shards"]) == 40
