"""`encode --engine ray` with workers that die: the store is the local one; and parts encoded apart."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file

from neglabel import NeglabelError
from neglabel.pipeline.config import make
from neglabel.pipeline.encode import encode
from neglabel.pipeline.mine import mine
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.ray_jobs import Done, Failed, Job
from neglabel.pipeline.ray_pool import ATTEMPTS, Pool
from neglabel.pipeline.ray_session import Slots
from neglabel.pipeline.score import score
from neglabel.pipeline.settings import EncodeSettings

from .make_world import K, make_gallery, make_world, unit, with_pictures, write
from .make_world import options as make_options
from .ray_world import Killer, workers
from .test_encode import write_words
from .test_mine_work import candidates_in
from .tiny_model import build_tiny

ray = pytest.importorskip("ray", reason="Ray is not installed; pip install 'neglabel[ray]' to test it")
SHARD = 400


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Ray on this machine with two workers' room, once for all tests here."""
    from neglabel.pipeline.ray_session import session

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neglabel.pipeline.ray_session.cores", lambda: 2)
        with session(None) as started:
            yield started


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_words(tmp_path_factory.mktemp("words") / "words.txt", 8 * SHARD - 50)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, words: Path, tiny_model: Path) -> Path:
    out = tmp_path_factory.mktemp("stores") / "calm"
    run(out, words, tiny_model, engine="local")
    return out


def run(out: Path, words: Path, model: Path, **options: Any) -> dict[str, Any]:
    given = {"corpus": [str(words)], "out": out, "model": str(model), "device": "cpu", "shard_rows": SHARD,
             "engine": "ray", "workers": 2 if options.get("engine", "ray") == "ray" else 0, **options}  # fmt: skip
    return encode(make(EncodeSettings, given), Reporter(quiet=True))


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def alike(one: Path, other: Path) -> None:
    """Tables by the manifests are equal but for one unit of float16, and there is no other file of a shard."""
    ours, theirs = manifest_of(one), manifest_of(other)
    assert (ours["complete"], ours["counts"]) == (True, theirs["counts"])
    assert "beyond" not in ours
    assert len(ours["shards"]) == len(theirs["shards"])
    for a, b in zip(ours["shards"], theirs["shards"], strict=True):
        x, y = (pq.read_table(folder / record["file"]) for folder, record in ((one, a), (other, b)))
        u, v = (np.stack(t["embedding"].to_numpy(zero_copy_only=False)).astype(np.float32) for t in (x, y))
        assert np.abs(u - v).max() <= 2**-11
        assert x.drop_columns(["embedding"]).equals(y.drop_columns(["embedding"]))
    named = {name for record in ours["shards"] for name in (record["file"], record["rejected_file"]) if name}
    assert {path.name for path in one.glob("*.parquet")} == named


def test_workers_that_are_killed_leave_the_local_store(
    tmp_path: Path, cluster: Any, words: Path, tiny_model: Path, calm: Path
) -> None:
    out = tmp_path / "out"
    with Killer(lambda: any(out.glob("shard-*"))) as killer:
        summary = run(out, words, tiny_model)
    assert killer.killed == 1
    assert summary["encoded"] == manifest_of(calm)["counts"]["candidates"]
    assert any("a Ray worker ended at shard" in warning for warning in summary["warnings"])
    alike(out, calm)
    # The local engine goes on with it where it was made otherwise: it is the same store.
    (out / manifest_of(out)["shards"][3]["file"]).unlink()
    assert run(out, words, tiny_model, engine="local")["encoded"] == SHARD
    alike(out, calm)


def test_an_address_where_nobody_answers_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    from neglabel.pipeline.ray_session import session

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and doesn't listen
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(NeglabelError, match=f"--address {place} .Connection refused"), session(place):
            pass


@pytest.mark.parametrize("runs", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_a_shard_that_always_fails_is_named_and_the_others_are_kept(
    tmp_path: Path, cluster: Any, tiny_model: Path, runs: int
) -> None:
    # A model that gives NaN for prompts with one rare token, in the third shard.
    bad = build_tiny(tmp_path / "bad")
    words = [f"word {n}" for n in range(5 * 40)]
    words[2 * 40 + 7] = "xylophone"
    (tmp_path / "w.txt").write_text("\n".join(words) + "\n")
    weights = load_file(bad / "open_clip_model.safetensors")
    from open_clip.tokenizer import SimpleTokenizer

    token = SimpleTokenizer().encode("xylophone")[0]
    assert token not in {t for n in range(10) for t in SimpleTokenizer().encode(f"the nice word {n}")}
    weights["token_embedding.weight"][token] = float("nan")
    save_file(weights, bad / "open_clip_model.safetensors")
    times: dict[str, int] = {}
    for _ in range(runs):  # the second run tries the missing shard alone
        before = times
        with pytest.raises(NeglabelError, match=r"1 shard can't be encoded, .*shard 2: the model gives NaN for 'word "):
            run(tmp_path / "out", tmp_path / "w.txt", bad, shard_rows=40)
        manifest = manifest_of(tmp_path / "out")
        assert not manifest["complete"]
        assert (len(manifest["shards"]), sorted(manifest["beyond"])) == (2, ["3", "4"])
        assert manifest["counts"]["candidates"] == 160
        times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("shard-*")}
        assert len(times) == 4
        assert before in ({}, times)


def mined(place: Path, out: str, **options: Any) -> dict[str, Any]:
    given = {"candidates": [place / f"c{n}.parquet" for n in range(4)], "labels": place / "a.parquet",
             "out": place / out, "top": 60, "device": "cpu", "engine": "ray", **options}  # fmt: skip
    return mine(make(MineSettings, given), Reporter(quiet=True))


def test_mining_by_files_selects_what_one_process_does(tmp_path: Path, cluster: Any) -> None:
    place = candidates_in(tmp_path)
    compare_mining(place, [
        {"labels": [place / "a.parquet", place / "b.parquet"], "per_pos": True, "top": 9, "work": place / "w"},
        {"random": 3}, {"work": place / "w", "top": 200},
    ])  # fmt: skip


@pytest.mark.soak
def test_mining_by_files_in_more_ways(tmp_path: Path, cluster: Any) -> None:
    place = candidates_in(tmp_path)
    compare_mining(place, [
        {}, {"per_pos": True, "top": 9}, {"sample": 300, "percentile": 0.5}, {"top": 1_000},
        {"labels": [place / "a.parquet", place / "b.parquet"]}, {"work": place / "w", "top": 20},
        {"work": place / "w", "top": 200}, {"work": place / "w", "top": 200},
    ])  # fmt: skip


def compare_mining(place: Path, cases: list[dict[str, Any]]) -> None:
    for number, case in enumerate(cases):
        several = isinstance(case.get("labels"), list)
        names = [f"{number}-{engine}{'' if several else '.parquet'}" for engine in ("ray", "local")]
        mined(place, names[0], **case)
        mined(place, names[1], **{**case, "engine": "local", "work": None})
        for a, b in zip(*(sorted((place / n).iterdir()) if several else [place / n] for n in names), strict=True):
            if a.suffix == ".parquet":
                assert pq.read_table(a).equals(pq.read_table(b)), case
                about = [json.loads(pq.read_schema(path).metadata[b"neglabel"]) for path in (a, b)]
                for each in about:
                    each["settings"].pop("out")
                assert about[0] == about[1]


@pytest.mark.soak
def test_workers_killed_while_mining_change_nothing(tmp_path: Path, cluster: Any) -> None:
    place = candidates_in(tmp_path)
    mined(place, "local.parquet", engine="local")
    with Killer(lambda: bool(workers()), times=2) as killer:
        mined(place, "ray.parquet")
    assert killer.killed == 2
    assert pq.read_table(place / "ray.parquet").equals(pq.read_table(place / "local.parquet"))


def scored(world: Path, out: str, engine: str, **changes: Any) -> dict[str, Any]:
    return score(make_options(world, out=world / out, engine=engine, **changes), Reporter(quiet=True))


def same_scores(world: Path, one: str, other: str) -> None:
    """Equal text, and numbers but for float32's rounding: a cosine's last bit may depend on the number of threads of
    its product, and a logit is a cosine divided by a temperature of 0.01.
    """
    names = [path.name for path in sorted((world / one).glob("*.parquet"))]
    assert names == [path.name for path in sorted((world / other).glob("*.parquet"))]
    for name in names:
        a, b = (pq.read_table(world / folder / name) for folder in (one, other))
        assert (a.schema, a.num_rows) == (b.schema, b.num_rows)
        for column in a.column_names:
            kind = a.schema.field(column).type
            x, y = a[column].to_pylist(), b[column].to_pylist()
            if pa.types.is_list(kind) and pa.types.is_floating(kind.value_type):
                x, y = ([number for row in rows for number in row] for rows in (x, y))
            if pa.types.is_floating(kind) or (x and isinstance(x[0], float)):
                np.testing.assert_allclose(x, y, rtol=0, atol=2**-23 / 0.01)
            elif column not in ("path", "embedding"):
                assert x == y, column


def test_scoring_by_blocks_while_workers_are_killed_gives_the_local_scores(
    tmp_path: Path, cluster: Any, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_gallery(make_world(tmp_path))
    rng = np.random.default_rng(5)
    write(world / "many.parquet", unit(rng, 20_000), label=[i % K for i in range(20_000)])
    # So many that a block of embeddings is several products; what the workers do is counted.
    metadata = {"format": "neglabel-negatives", "version": 1, "settings": {"random": None}, "model": None}
    names = {"rank": pa.array(range(1_400), pa.int32()), "text": [f"word {j}" for j in range(1_400)]}
    write(world / "negatives.parquet", unit(rng, 1_400), metadata, **names, pos=["noun"] * 1_400)
    done: list[str] = []
    monkeypatch.setattr("neglabel.pipeline.score_ray.Job", lambda *job: done.append(job[1]) or Job(*job))
    given = {"id": {"many": str(world / "many.parquet")}}
    scored(world, "local", "local", **given)
    with Killer(lambda: bool(workers()) and (world / "ray").exists()) as killer:
        scored(world, "ray", "ray", **given)
    assert killer.killed == 1
    assert len(done) == 3 * 2  # three blocks, two pieces for the one worker of a node
    same_scores(world, "ray", "local")
    for number in range(40):
        shutil.copy(world / "cars" / "0.png", world / "cars" / f"x{number}.png")
    (world / "cars" / "broken.png").write_bytes(b"no picture")
    for engine in ("local", "ray"):
        kept: dict[str, Any] = {"cache": world / "cache"} if engine == "ray" else {}
        # A stream is one sequence, whoever encodes its pictures.
        kept |= {"score": ["neglabel", "adaneg"], "stream": "mixed"}
        settings = with_pictures(world, tiny_model, out=world / f"p-{engine}", engine=engine, batch_size=4, **kept)
        begun = settings.out / "manifest.json"
        with Killer(lambda begun=begun: begun.exists() and bool(workers())) as killer:
            summary = score(settings, Reporter(quiet=True))
        assert [row["unreadable"] for row in summary["datasets"]] == [0, 1]
    assert killer.killed == 1
    same_scores(world, "p-ray", "p-local")
    again = with_pictures(world, tiny_model, out=world / "again", batch_size=4, cache=world / "cache")
    assert score(again, Reporter(quiet=True))["cached"] == 49


def test_a_job_that_always_kills_its_worker_is_given_up_and_all_others_are_done(tmp_path: Path, cluster: Any) -> None:
    # Defined here, so that they travel by value: a worker can't import a test.
    def make() -> tuple[int, int]:
        return 100, 100

    def work(state: int, number: int, place: Path) -> int:
        if number in (3, 4):
            (place / f"{number}-{os.getpid()}").touch()
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 5:
            raise NeglabelError("five is no number")
        return state + number

    said: list[str] = []
    with Pool(cluster, Slots(2, 1, 0), make, (), said.append) as pool:
        jobs = (Job(number, f"job {number}", work, (number, tmp_path)) for number in range(10))
        found = {one.key: one for one in pool.run(jobs)}
    assert sorted(found) == list(range(10))
    assert isinstance(found[3], Failed)
    assert "ended 3 times" in found[3].why
    assert found[5] == Failed(5, "job 5", "five is no number")
    assert [found[n].value for n in range(10) if isinstance(found[n], Done)] == [100, 101, 102, 104, 106, 107, 108, 109]
    # One more where a result that was on its way died with its worker, and so the job before was suspected.
    assert ATTEMPTS <= len(list(tmp_path.glob("3-*"))) <= ATTEMPTS + 1
    assert len(said) == len(list(tmp_path.glob("3-*")))
