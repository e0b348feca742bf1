"""Steps at once and processes beside: the same store, whatever runs beside what, and whatever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from neglabel import NeglabelError, UsageError
from neglabel.pipeline import encode_work, encode_workers
from neglabel.pipeline.clock import Clock, shares
from neglabel.pipeline.config import make
from neglabel.pipeline.encode import encode
from neglabel.pipeline.encode_reader import Reading, Words
from neglabel.pipeline.files import read_json
from neglabel.pipeline.overlap import TURN, ahead, behind, short_turns
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.settings import EncodeSettings


def counting(n: int, made: list[int]) -> Iterator[int]:
    for i in range(n):
        made.append(i)
        yield i


def until(holds: Any) -> None:
    for _ in range(500):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to that")


def test_ahead_gives_the_same_items_and_stays_within_its_depth() -> None:
    made: list[int] = []
    items = ahead(counting(10, made), depth=2)
    assert next(items) == 0
    until(lambda: len(made) == 3)  # one given, two ready
    time.sleep(0.05)
    assert len(made) == 3
    assert list(items) == list(range(1, 10))


def test_ahead_raises_in_its_place_and_a_closed_one_stops() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise UsageError("no more words")

    items = ahead(broken())
    assert next(items) == 1
    with pytest.raises(UsageError, match="no more words"):
        next(items)
    made: list[int] = []
    items = ahead(counting(1_000, made))
    next(items)
    items.close()
    seen = len(made)
    time.sleep(0.05)
    assert len(made) == seen < 5
    assert not [t for t in threading.enumerate() if t.name == "ahead"]


def test_behind_works_in_order_and_finishes_what_it_was_given() -> None:
    done: list[str] = []
    assert list(behind(done.append, [1, "a", 2, "b", "c", 3], str)) == [1, 2, 3]
    assert done == ["a", "b", "c"]

    def stopped() -> Iterator[Any]:
        yield from ("d", 4, "e")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(behind(lambda text: (time.sleep(0.02), done.append(text)), stopped(), str))
    assert done == ["a", "b", "c", "d", "e"]

    def refuses(text: str) -> None:
        raise NeglabelError("disk full")

    with pytest.raises(NeglabelError, match="disk full"):
        list(behind(refuses, ["a", 1], str))

    def refuses_b(text: str) -> None:
        if text == "b":
            time.sleep(0.05)
            raise NeglabelError("disk full")
        done.append(text)

    # A shard after one that was not written would leave a gap in the manifest.
    done.clear()
    with pytest.raises(NeglabelError, match="disk full"):
        list(behind(refuses_b, ["a", "b", "c", 1, "d"], str))
    assert done == ["a"]


def test_a_process_ends_with_its_parent() -> None:
    child = (
        "import os, time; from neglabel.pipeline.overlap import end_with; end_with(os.getppid()); "
        "print('ready', flush=True); time.sleep(60)"
    )
    parent = (
        "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdout=-1); "
        "p.stdout.readline(); print(p.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", parent, child], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        process.kill()
    until(lambda: not Path(f"/proc/{pid}").exists() or "zombie" in Path(f"/proc/{pid}/status").read_text())


def test_turns_are_short_only_meanwhile() -> None:
    before = sys.getswitchinterval()
    with suppress(ValueError), short_turns():
        assert sys.getswitchinterval() == pytest.approx(TURN)
        raise ValueError
    assert sys.getswitchinterval() == before


def test_a_clock_counts_work_and_not_waiting() -> None:
    clock = Clock()
    for _ in clock.each("make", counting(3, [])):
        time.sleep(0.05)
    assert clock.seconds["make"] < 0.05
    with suppress(ValueError), clock.busy("fail"):
        time.sleep(0.01)
        raise ValueError
    assert clock.seconds["fail"] >= 0.01
    clock.add({"fail": 1.0, "write": 2.0})
    assert clock.seconds["fail"] > 1
    assert clock.seconds["write"] == 2
    assert shares({"read": 1.0, "compute": 9.0, "wall": 10.0}) == "read 10 %, compute 90 %"


def test_words_read_in_a_process_of_their_own_are_the_same(tmp_path: Path, words: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_bytes("word 1 b1\nna\u00efve\n\n".encode() + b"\xff\n")
    reading = Reading((str(words), str(other)), "text", None, 60, {"": "the {}"})
    clock = Clock()
    here, there = Words(reading, Clock()), Words(reading, clock, apart=True)
    assert list(here) == list(there)
    assert here.records() == there.records()
    assert clock.seconds.keys() == {"read"}
    assert clock.seconds["read"] > 0


def test_what_reading_raises_in_a_process_is_raised_here(tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n")
    reading = Reading((str(empty),), "text", None, 60, {"": "the {}"})
    with pytest.raises(UsageError, match=r"no candidates in .*empty\.txt"):
        list(Words(reading, Clock(), apart=True))


def test_a_reading_process_that_is_killed_is_one_sentence(words: Path) -> None:
    reading = Reading((str(words),), "text", None, 60, {"": "the {}"})
    shards = iter(Words(reading, Clock(), apart=True))
    next(shards)
    os.kill(loky_children()[0], signal.SIGKILL)
    with pytest.raises(NeglabelError, match=r"the process that reads the words ended .* run it again to go on"):
        list(shards)
    assert not loky_children()


def test_reading_in_a_process_ends_with_its_reader(words: Path) -> None:
    reading = Reading((str(words),), "text", None, 60, {"": "the {}"})
    with closing(iter(Words(reading, Clock(), apart=True))) as shards:
        next(shards)
        assert loky_children()
    assert not loky_children()


def loky_children() -> list[int]:
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    lines = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return [child for child, line in lines.items() if b"popen_loky" in line]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("words") / "words.txt"
    path.write_text("\n".join(f"word {i % 70} {chr(97 + i % 26)}{i}" for i in range(600)) + "\n\nword 0 a0\n")
    return path


def run(out: Path, words: Path, model: Path, **options: Any) -> dict[str, Any]:
    given = {
        "corpus": [str(words)], "out": out, "model": str(model), "device": "cpu", "shard_rows": 60,
        "storage": "float32", **options,
    }  # fmt: skip
    return encode(make(EncodeSettings, given), Reporter(quiet=True))


def alike(one: Path, other: Path) -> None:
    """Tables are equal, embeddings within 1e-6 before rounding: processes may have other numbers of threads."""
    names = [p.name for p in sorted(one.glob("*.parquet"))]
    assert names == [p.name for p in sorted(other.glob("*.parquet"))]
    for name in names:
        a, b = (pq.read_table(folder / name) for folder in (one, other))
        if "embedding" in a.column_names:
            x, y = (np.stack(t["embedding"].to_numpy(zero_copy_only=False)) for t in (a, b))
            assert x.dtype == y.dtype == np.float32
            assert np.abs(x - y).max() <= 1e-6
            a, b = a.drop_columns(["embedding"]), b.drop_columns(["embedding"])
        assert a.equals(b)
    assert read_json(one / "manifest.json", "neglabel-candidates")["counts"] == (
        read_json(other / "manifest.json", "neglabel-candidates")["counts"]
    )


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, words: Path, tiny_model: Path) -> Path:
    out = tmp_path_factory.mktemp("stores") / "calm"
    summary = run(out, words, tiny_model)
    assert set(summary["time"]) == {"load", "read", "tokenise", "compute", "write", "wall"}
    assert all(0 < seconds <= summary["time"]["wall"] for seconds in summary["time"].values())
    assert summary["encoded"] == 600
    return out


def test_processes_give_the_same_store(tmp_path: Path, words: Path, tiny_model: Path, calm: Path) -> None:
    summary = run(tmp_path / "beside", words, tiny_model, workers=2)
    assert summary["encoded"] == 600
    assert set(summary["time"]) == {"load", "read", "tokenise", "compute", "write", "wall"}
    alike(calm, tmp_path / "beside")


def test_a_killed_process_costs_no_finished_shard(
    tmp_path: Path, words: Path, tiny_model: Path, calm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = encode_work.to_do

    def then_kill(*arguments: Any) -> Iterator[Any]:
        for place, item in enumerate(real(*arguments)):
            if place == 6:  # four wait for the two processes, so two are finished
                os.kill(loky_children()[0], signal.SIGKILL)
                time.sleep(2)  # the pool has to notice before the other process has done all the rest
            yield item

    monkeypatch.setattr(encode_work, "to_do", then_kill)
    with pytest.raises(NeglabelError, match=r"a process of --workers ended .* with fewer --workers"):
        run(tmp_path / "shaken", words, tiny_model, workers=2)
    assert len(read_json(tmp_path / "shaken" / "manifest.json", "neglabel-candidates")["shards"]) >= 2
    monkeypatch.undo()
    assert run(tmp_path / "shaken", words, tiny_model)["encoded"] < 600
    alike(calm, tmp_path / "shaken")


def test_devices_and_workers_are_checked_before_anything_is_written(
    tmp_path: Path, words: Path, tiny_model: Path
) -> None:
    with pytest.raises(UsageError, match="--devices 64: PyTorch finds 0 CUDA devices here; give at most 1"):
        run(tmp_path / "out", words, tiny_model, devices=64)
    assert not (tmp_path / "out").exists()


def test_several_gpus_get_a_process_each() -> None:
    assert encode_workers.places("cuda", 1, 0) == (["cuda:0"], 0)
    assert encode_workers.places("cuda", 2, 0) == (["cuda:0", "cuda:1"], 1)
    assert encode_workers.places("cuda", 2, 4) == (["cuda:0", "cuda:1"], 4)
    assert encode_workers.places("cpu", 1, 2) == (["cpu"], 2)
