"""A full disk, an output that can't be written, a stage that is killed: one sentence, nothing finished lost, and the
next run heals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import tomli_w

from neglabel import NeglabelError
from neglabel.pipeline import config, encode_manifest
from neglabel.pipeline.encode import encode
from neglabel.pipeline.mine import mine
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report import report
from neglabel.pipeline.settings import EncodeSettings, ReportSettings

from .conftest import ROOT
from .make_scores import Set, write_run
from .make_world import make_gallery, make_world, options, run

SIZE = 1 << 20


def mounted(*command: str) -> bool:
    if sys.platform != "linux" or os.geteuid():
        return False
    return subprocess.run(["mount", *command], capture_output=True).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    if not mounted("-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)):
        pytest.skip("a small disk can be mounted by root on Linux only: a full one is not tried here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody may write to, root neither."""
    place = tmp_path / "sealed"
    place.mkdir()
    if not (mounted("--bind", str(place), str(place)) and mounted("-o", "remount,ro,bind", str(place))):
        pytest.skip("a folder can be made read-only for root by root on Linux only: it is not tried here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(disk: Path, left: int = 0) -> Path:
    """Take all room but ``left`` bytes."""
    filler = disk / "filler"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    filler.write_bytes(b"x" * max(0, free - left))
    return filler


def mining(world: Path, out: Path) -> dict[str, Any]:
    given = {"candidates": [world / "negatives.parquet"], "labels": world / "labels.parquet", "out": out, "top": 20}
    return mine(config.make(MineSettings, {**given, "device": "cpu"}), Reporter(quiet=True))


def reporting(world: Path, out: Path) -> dict[str, Any]:
    if not (world / "scores").exists():
        write_run(world / "scores", [Set("in", "id"), Set("out", "ood")])
    return report(config.make(ReportSettings, {"scores": [world / "scores"], "out": out}), Reporter(quiet=True))


STAGES = {
    "mine": lambda world, out: mining(world, out / "n.parquet"),
    "score": lambda world, out: run(options(world, out=out)),
    "report": reporting,
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_is_one_sentence_and_heals(tmp_path: Path, disk: Path, stage: str) -> None:
    world, work = make_world(tmp_path), STAGES[stage]
    filler = fill(disk)
    with pytest.raises(NeglabelError, match=r"No space left on device|can't be (written|created)") as caught:
        work(world, disk / "out")
    assert "\n" not in str(caught.value)
    assert not list(disk.rglob("*.part"))
    filler.unlink()
    work(world, disk / "out")


def encoding(tmp_path: Path, model: Path, out: Path) -> dict[str, Any]:
    (tmp_path / "w.txt").write_text("\n".join(f"word {i}" for i in range(90)))
    given = {"corpus": [str(tmp_path / "w.txt")], "model": str(model), "shard_rows": 30, "out": out}
    return encode(config.make(EncodeSettings, {**given, "precision": "fp32", "device": "cpu"}), Reporter(quiet=True))


def words(out: Path) -> list[str]:
    return [word for path in sorted(out.glob("shard-*")) for word in pq.read_table(path)["text"].to_pylist()]


def test_a_shard_whose_manifest_found_no_room_alone_is_encoded_again(
    tmp_path: Path, disk: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real, filler = disk / "out", encode_manifest.write_json, disk / "filler"

    def no_room(path: Path, value: Any) -> None:
        if len(value["shards"]) == 2 and not filler.exists():
            fill(disk)
        real(path, value)

    with monkeypatch.context() as patch:
        patch.setattr(encode_manifest, "write_json", no_room)
        with pytest.raises(NeglabelError, match="No space left on device"):
            encoding(tmp_path, tiny_model, out)
    assert (out / "shard-00001.parquet").exists()
    assert len(json.loads((out / "manifest.json").read_text())["shards"]) == 1
    filler.unlink()
    assert encoding(tmp_path, tiny_model, out)["encoded"] == 60
    assert words(out) == [f"word {i}" for i in range(90)]


@pytest.mark.parametrize("stage", STAGES)
def test_an_output_that_cant_be_written_is_one_sentence(tmp_path: Path, sealed: Path, stage: str) -> None:
    world = make_world(tmp_path)
    with pytest.raises(NeglabelError, match=r"Read-only|can't be (written|created)") as caught:
        STAGES[stage](world, sealed / "out")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("stage", STAGES)
def test_a_file_where_the_output_should_be_is_one_sentence(tmp_path: Path, stage: str) -> None:
    world = make_world(tmp_path)
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(NeglabelError) as caught:
            STAGES[stage](world, out)
        assert str(tmp_path / "file") in str(caught.value)
        assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "mine"


#: Before which of its files a stage is killed: in every run of the tests, and in `make soak`.
FEW: dict[str, list[int]] = {"mine": [3], "score": [2, 3, 6], "report": [3], "run": []}
ALL = {**FEW, "mine": [*range(6)], "score": [*range(9)], "report": [0, 1, 3, 6], "run": [1, 4, 7, 12, 18, 27]}


@pytest.mark.parametrize("kills", [FEW, pytest.param(ALL, marks=pytest.mark.soak)], ids=["few", "all"])
def test_a_stage_that_is_killed_loses_nothing_finished_and_heals(
    tmp_path: Path, tiny_model: Path, kills: dict[str, list[int]]
) -> None:
    """The runs are :mod:`tests.killed`. (Of encode: test_encode.)"""
    world = make_gallery(make_world(tmp_path))
    reporting(world, tmp_path / "unused")
    out = {name: tmp_path / f"out-{name}" for name in ("mine", "work", "score", "report", "run")}
    whole = {
        "out": str(out["run"]), "labels": str(world / "labels.txt"), "corpus": [str(tmp_path / "w.txt")],
        "model": str(tiny_model), "device": "cpu", "encode": {"shard_rows": 30, "precision": "fp32"},
        "mine": {"top": 20}, "report": {"cases": 0},
        "score": {"id": {"cats": str(world / "cats")}, "ood": {"cars": str(world / "cars")}, "groups": 1},
    }  # fmt: skip
    (tmp_path / "run.toml").write_text(tomli_w.dumps(whole))
    (tmp_path / "w.txt").write_text("\n".join(f"word {i}" for i in range(90)))
    mine_settings = {"candidates": [str(world / f"{name}.parquet") for name in ("negatives", "labels")], "top": 20,
                     "labels": str(world / "labels.parquet"), "out": str(out["mine"] / "n.parquet"), "device": "cpu",
                     "work": str(out["work"]), "keep_id_names": True}  # fmt: skip
    score_settings = json.loads(options(world, out=out["score"]).model_dump_json(exclude_none=True))
    jobs = [
        {"stage": "neglabel.pipeline.mine:mine", "kind": "neglabel.pipeline.mine_settings:MineSettings",
         "settings": mine_settings, "folders": [str(out["mine"]), str(out["work"])], "kills": kills["mine"]},
        {"stage": "neglabel.pipeline.score:score", "kind": "neglabel.pipeline.score_settings:ScoreSettings",
         "settings": score_settings, "folders": [str(out["score"])], "kills": kills["score"]},
        {"stage": "neglabel.pipeline.report:report", "kind": "neglabel.pipeline.settings:ReportSettings",
         "settings": {"scores": [str(world / "scores")], "out": str(out["report"]), "cases": 0},
         "folders": [str(out["report"])], "kills": kills["report"]},
        {"stage": "neglabel.pipeline.run:run_file", "kind": "", "settings": {"file": str(tmp_path / "run.toml")},
         "folders": [str(out["run"])], "kills": kills["run"]},
    ]  # fmt: skip
    (tmp_path / "jobs.json").write_text(json.dumps([job for job in jobs if job["kills"]]))
    ran = subprocess.run(
        [sys.executable, "-m", "neglabel.tests.killed", str(tmp_path / "jobs.json")], capture_output=True, text=True,
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3_000:]
    found = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert len(found) == sum(len(job["kills"]) for job in jobs)
    for one in found:
        differ = [path for path in one["differ"] if not path.endswith(".kept")]  # complete for a bound of their own
        assert (one["ended"], one["again"], differ, one["parts"]) == (-9, 0, [], []), (one, ran.stderr[-2_000:])
    kept = {(one["stage"].split(":")[1], one["kill"]): {Path(p).name for p in one["kept"]} for one in found}
    # What was whole when the blow fell is there still, not made again: digests of words, a data set that is listed.
    assert any(name.startswith("words-") for name in kept["mine", 3])
    assert "scores-in.parquet" not in kept["score", 2]  # not listed yet
    assert "scores-in.parquet" in kept["score", 3]
    assert {"scores-in.parquet", "scores-far.parquet"} <= kept["score", 6]
    assert not kills["run"] or "shard-00000.parquet" in kept["run_file", 7]
