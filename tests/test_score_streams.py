"""`score` with streaming scores: which pictures a stream holds, in which order, and what says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from neglabel import UsageError
from neglabel.pipeline import store
from neglabel.pipeline.scores import Texts, group_negatives, start_stream

from .make_world import M, make_gallery, make_world, options, rows, run, stop_at_the_second, vectors, with_pictures

STREAMING = ["adaneg", "clipscope"]
SOFT = {"adaneg": 0.3, "clipscope": 0.3}


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return make_world(tmp_path)


def texts(world: Path) -> Texts:
    labels, negatives = vectors(world / "labels.parquet"), vectors(world / "negatives.parquet")
    return Texts(labels, negatives, group_negatives(M, 3))


def manifest(world: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world / "out" / "manifest.json").read_text(encoding="utf-8"))
    return found


def test_each_data_set_is_a_stream_in_its_order(world: Path) -> None:
    run(options(world, score=["mcm", "adaneg", "neglabel", "clipscope"], temperature=SOFT))
    for data, file in (("in", "id"), ("far", "ood")):
        found = rows(world, data)
        assert [n for n in found if n in ("mcm", "adaneg", "neglabel", "clipscope")] == [
            "mcm", "adaneg", "neglabel", "clipscope"
        ]  # fmt: skip
        for name in STREAMING:
            score, logit = start_stream(name, texts(world), SOFT[name])(vectors(world / f"{file}.parquet"))
            np.testing.assert_allclose(found[name], score, rtol=1e-6)
            np.testing.assert_allclose(found[f"{name}_logit"], logit, rtol=1e-6, atol=1e-6)
    moved = np.array(rows(world, "in")["adaneg"]) - 1.1 * np.array(rows(world, "in")["neglabel"])
    assert np.abs(moved).max() > 0.01
    static = {name: rows(world, "in")[name] for name in ("mcm", "neglabel", "top_labels", "id_share")}
    run(options(world, score=["mcm", "neglabel"]))
    assert static == {name: rows(world, "in")[name] for name in static}
    run(options(world, score=["adaneg"], temperature={"adaneg": 0.3}))
    assert "adaneg" in rows(world, "in")
    assert "neglabel" not in rows(world, "in")


def test_a_mixed_stream_is_all_pictures_shuffled_by_the_seed(world: Path) -> None:
    pictures = np.concatenate([vectors(world / "id.parquet"), vectors(world / "ood.parquet")])
    found = {}
    for seed in (0, 7):
        run(options(world, score=["neglabel", *STREAMING], temperature=SOFT, stream="mixed", seed=seed))
        order = np.random.default_rng(seed).permutation(80)
        groups = group_negatives(M, 3, seed=seed)
        for name in STREAMING:
            start = Texts(texts(world).labels, texts(world).negatives, groups)
            want = np.empty(80)
            want[order] = start_stream(name, start, SOFT[name])(pictures[order])[1]
            found[seed, name] = [*rows(world, "in")[f"{name}_logit"], *rows(world, "far")[f"{name}_logit"]]
            np.testing.assert_allclose(found[seed, name], want, rtol=1e-6, atol=1e-6)
    assert found[0, "clipscope"] != found[7, "clipscope"]


def test_files_say_which_stream_it_was(world: Path) -> None:
    run(options(world, score=["neglabel", "adaneg"], stream="mixed", seed=3))
    of = {entry["name"]: entry["stream"] for entry in manifest(world)["scores"]}
    assert of["neglabel"] is None
    assert (of["adaneg"]["protocol"], of["adaneg"]["seed"]) == ("mixed", 3)
    assert "earlier pictures" in of["adaneg"]["sees"]
    assert store.read_metadata(world / "out" / "scores-far.parquet") == {"streams": {"adaneg": of["adaneg"]}}
    assert manifest(world)["settings"]["stream"] == "mixed"
    run(options(world, score=["neglabel", "adaneg"]))
    about = store.read_metadata(world / "out" / "scores-in.parquet")["streams"]["adaneg"]
    assert (about["protocol"], about["seed"]) == ("separate", None)
    run(options(world))
    assert not pq.read_schema(world / "out" / "scores-in.parquet").metadata


@pytest.mark.parametrize("stream", ["separate", "mixed"])
def test_batches_of_pictures_change_nothing(tmp_path: Path, tiny_model: Path, stream: str) -> None:
    world = make_gallery(make_world(tmp_path))
    (world / "cats" / "class_1" / "1.png").write_text("no picture")
    found = []
    given: dict[str, Any] = {"score": ["neglabel", *STREAMING], "temperature": SOFT, "stream": stream}
    for size in (1, 64):
        done = run(with_pictures(world, tiny_model, batch_size=size, **given))
        assert [data["unreadable"] for data in done["datasets"]] == [1, 0]
        assert all(data["time"]["tower"] > 0 for data in done["datasets"])
        found.append([rows(world, name)[f"{score}_logit"] for name in ("cats", "cars") for score in STREAMING])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("stream", "again"), [("separate", ["id", "ood", "ood"]), ("mixed", ["id", "ood", "id", "ood"])]
)
def test_a_killed_run_goes_on_behind_whole_streams_only(
    world: Path, monkeypatch: pytest.MonkeyPatch, stream: str, again: list[str]
) -> None:
    read = stop_at_the_second(monkeypatch)
    settings = options(world, score=["neglabel", *STREAMING], temperature=SOFT, stream=stream)
    with pytest.raises(KeyboardInterrupt):
        run(settings)
    run(settings)
    assert read == again
    taken_up = rows(world, "in"), rows(world, "far")
    (world / "out" / "manifest.json").unlink()
    run(settings.model_copy(update={"out": world / "out2"}))
    fresh = [pq.read_table(world / "out2" / f"scores-{name}.parquet").to_pydict() for name in ("in", "far")]
    assert list(taken_up) == fresh


def test_what_can_not_be_mixed_is_refused(world: Path) -> None:
    with pytest.raises(UsageError, match="no score asked for is one of a stream; ask for adaneg, clipscope"):
        run(options(world, stream="mixed"))
    far = {"far": str(world / "ood.parquet")}
    two = {**far, "near": str(world / "id.parquet")}
    for changes in ({"ood": two}, {"ood": {}}, {"id": {}}, {"images": {"unknown": "x"}}):
        with pytest.raises(UsageError, match="give --id and one --ood a run, and no --images"):
            run(options(world, score=["adaneg"], stream="mixed", **changes))
    (world / "none.txt").write_text("")
    run(options(world, score=STREAMING, negatives=world / "none.txt"))
    assert np.isnan(rows(world, "in")["adaneg"]).all()
    assert np.isnan(rows(world, "far")["clipscope_logit"]).all()
