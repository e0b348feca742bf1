"""A score run that fails or is interrupted: what stays, and what does not."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neglabel import NeglabelError
from neglabel.pipeline import config, score_sets
from neglabel.pipeline.image_encoder import ImageEncoder

from .make_world import make_gallery, make_world, options, rows, run, stop_at_the_second, unit, with_pictures, write

LISTED = {"name", "role", "source", "rows", "unreadable", "time"}


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return make_world(tmp_path)


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    return make_gallery(make_world(tmp_path))


def test_interrupted_runs_leave_nothing_half_written(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(options(world))
    inner = score_sets._blocks

    def interrupted(source: Any, model: Any) -> Any:
        yield from inner(source, model)
        if "ood" in source.spec:
            raise KeyboardInterrupt

    monkeypatch.setattr(score_sets, "_blocks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(options(world, temperature={"neglabel": 0.5}))
    assert not list((world / "out").glob(".*"))
    manifest = json.loads((world / "out" / "manifest.json").read_text())
    assert (manifest["complete"], [data["name"] for data in manifest["datasets"]]) == (False, ["in"])
    monkeypatch.setattr(score_sets, "_blocks", inner)
    run(options(world))
    manifest = json.loads((world / "out" / "manifest.json").read_text())
    assert (manifest["complete"], [set(data) for data in manifest["datasets"]]) == (True, [LISTED, LISTED])


@pytest.mark.parametrize("changed", ["nothing", "temperature", "pictures", "file", "label", "embeddings"])
def test_a_killed_run_is_taken_up_where_its_data_sets_are_the_same(
    world: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """What is finished is not scored again, unless anything that it was made of has changed; the result is the same."""
    inner = score_sets._blocks
    scored: list[str] = []

    def interrupted(source: Any, model: Any) -> Any:
        scored.append(Path(source.spec).stem)
        yield from inner(source, model)
        if "ood" in source.spec and len(scored) < 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(score_sets, "_blocks", interrupted)
    settings = options(world)
    with pytest.raises(KeyboardInterrupt):
        run(settings)
    if changed == "temperature":
        settings = options(world, temperature={"neglabel": 0.5})
    elif changed == "pictures":
        write(world / "id.parquet", unit(np.random.default_rng(5), 50), label=[0] * 50)
    elif changed == "label":
        write(world / "labels.parquet", unit(np.random.default_rng(5), 7), text=[f"class {k}" for k in range(7)])
    elif changed == "file":
        (world / "out" / "scores-in.parquet").write_bytes(b"PAR1")
    elif changed == "embeddings":
        settings = options(world, keep_embeddings=True)
    taken_up = run(settings)
    assert scored == ["id", "ood", *(["id"] if changed != "nothing" else []), "ood"]
    kept = {name: rows(world, name) for name in ("in", "far")}
    shutil.rmtree(world / "out")
    fresh = run(settings)
    assert kept == {name: rows(world, name) for name in ("in", "far")}
    plain = [[{k: v for k, v in data.items() if k != "time"} for data in one["datasets"]] for one in (taken_up, fresh)]
    assert plain[0] == plain[1]


def test_what_could_not_be_decoded_is_kept_of_a_killed_run(
    gallery: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (gallery / "cats" / "class_1" / "0.png").write_text("no picture")
    scored = stop_at_the_second(monkeypatch)
    settings = with_pictures(gallery, tiny_model)
    with pytest.raises(KeyboardInterrupt):
        run(settings)
    assert [data["unreadable"] for data in run(settings)["datasets"]] == [1, 0]
    assert scored == ["cats", "cars", "cars"]
    assert pq.read_table(gallery / "out" / "unreadable.parquet")["id"].to_pylist() == ["class_1/0.png"]


def test_ctrl_c_leaves_no_half_written_file(gallery: Path, tiny_model: Path) -> None:
    """A real process, interrupted while it encodes; the same command then finishes."""
    for i in range(400):
        shutil.copy(gallery / "cats" / "class_1" / "0.png", gallery / "cars" / f"copy{i}.png")
    settings = with_pictures(gallery, tiny_model, batch_size=1)
    (gallery / "again.toml").write_text(config.dump(settings))
    code = (
        "import sys; from pathlib import Path; from neglabel.pipeline import config; "
        "from neglabel.pipeline.progress import Reporter; from neglabel.pipeline.score import score; "
        "from neglabel.pipeline.score_settings import ScoreSettings; "
        "score(config.make(ScoreSettings, {}, Path(sys.argv[1])), Reporter())"
    )
    # A test run in the background of a shell may ignore SIGINT, and so would its children.
    with subprocess.Popen(
        [sys.executable, "-c", code, str(gallery / "again.toml")], stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as run_:  # fmt: skip
        while not list((gallery / "out").glob(".scores-cars*")) and run_.poll() is None:
            time.sleep(0.01)
        run_.send_signal(signal.SIGINT)
        assert run_.wait(30) != 0
    assert sorted(p.name for p in (gallery / "out").iterdir()) == ["manifest.json", "scores-cats.parquet"]
    run(settings)
    assert len(rows(gallery, "cars")["id"]) == 404


def test_what_fails_with_nothing_finished_leaves_nothing(gallery: Path, tiny_model: Path) -> None:
    (gallery / "cats" / "class_1" / "0.png").write_text("no picture")
    (gallery / "empty").mkdir()
    for out, there in ((gallery / "a" / "b" / "out", gallery / "a"), (gallery / "empty", gallery / "empty" / "x")):
        with pytest.raises(NeglabelError, match="can't be decoded"):
            run(with_pictures(gallery, tiny_model, strict=True, out=out))
        assert not there.exists()
    assert list((gallery / "empty").iterdir()) == []
    # What is finished stays.
    swapped = {"id": {"cars": str(gallery / "cars")}, "ood": {"cats": str(gallery / "cats")}}
    with pytest.raises(NeglabelError, match="can't be decoded"):
        run(with_pictures(gallery, tiny_model, strict=True, **swapped))
    assert sorted(p.name for p in (gallery / "out").iterdir()) == ["manifest.json", "scores-cars.parquet"]
    assert json.loads((gallery / "out" / "manifest.json").read_text())["complete"] is False
    # A folder of an earlier run stays ours.
    (gallery / "out" / "scores-cars.parquet").unlink()
    with pytest.raises(NeglabelError, match="can't be decoded"):
        run(with_pictures(gallery, tiny_model, strict=True))
    assert [p.name for p in (gallery / "out").iterdir()] == ["manifest.json"]


@pytest.mark.parametrize("wrong", ["nan", "length"])
def test_pictures_that_are_bad_embeddings_are_found_before_anything_is_written(world: Path, wrong: str) -> None:
    bad = unit(np.random.default_rng(1), 20)
    bad[7, 3] = np.nan
    write(world / "bad.parquet", bad)
    if wrong == "length":
        column = pa.array([row.tolist() for row in unit(np.random.default_rng(2), 9_000, 2)] + [[1.0] * 3] * 9_000)
        pq.write_table(pa.table({"embedding": column}), world / "bad.parquet")
        write(world / "labels.parquet", unit(np.random.default_rng(0), 3, 2), text=list("abc"))
        changes = {"id": {}, "negatives": world / "none.txt", "ood": {"b": str(world / "bad.parquet")}}
        (world / "none.txt").write_text("")
    else:
        changes = {"ood": {"b": str(world / "bad.parquet")}}
    with pytest.raises(NeglabelError, match=r"row 8: the embedding is NaN|near row|dimensions among others"):
        run(options(world, **changes))
    assert not (world / "out").exists()


def test_an_interrupted_run_keeps_what_the_cache_has(
    gallery: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = with_pictures(gallery, tiny_model, cache=gallery / "cache", batch_size=2)
    inner, done = ImageEncoder._forward, [0]

    def forward(self: ImageEncoder, pixels: Any) -> Any:
        if done[0] == 4:
            raise KeyboardInterrupt
        done[0] += len(pixels)
        return inner(self, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(ImageEncoder, "_forward", forward)
        with pytest.raises(KeyboardInterrupt):
            run(settings)
    assert not settings.out.exists()
    summary = run(settings)
    assert summary["cached"] == 4
    assert run(settings)["cached"] == 9
    assert run(with_pictures(gallery, tiny_model))["cached"] is None
