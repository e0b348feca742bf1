"""Stage 2: the candidate distance, the selection, presets, and what is dropped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neglabel import NeglabelError, UsageError
from neglabel.indexes.cosines import as_float32
from neglabel.indexes.percentile import PercentileIndex
from neglabel.pipeline.config import make
from neglabel.pipeline.encode import encode
from neglabel.pipeline.mine import mine, select
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.search import Search
from neglabel.pipeline.settings import EncodeSettings


def unit64(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def reference(candidates: np.ndarray, labels: np.ndarray, eta: float) -> np.ndarray:
    """Eq. 4 as written: the 100η-th percentile of the negated cosines."""
    return np.percentile(-(unit64(candidates) @ unit64(labels).T), 100 * eta, axis=1)


def ranking(distance: np.ndarray, top: int) -> list[int]:
    """Farthest first, equal distances (to rounding) by the lower index."""
    return sorted(range(len(distance)), key=lambda i: (-round(float(distance[i]), 11), i))[:top]


def offer(search: Search, rows: np.ndarray, start: int) -> None:
    arrays = (*as_float32(rows), np.arange(start, start + len(rows)), np.zeros(len(rows), np.uint8))
    search.offer(rows, *arrays)


@pytest.mark.parametrize("labels", [1, 2, 19, 20, 21, 1_000, 5_000])
@pytest.mark.parametrize("eta", [0, 0.01, 0.05, 0.5, 0.95, 1])
def test_distances_and_selection_equal_float64_numpy(labels: int, eta: float) -> None:
    rng = np.random.default_rng(labels)
    c = rng.normal(size=(600, 48)).astype(np.float16)
    c[300:340] = c[:40]  # exact ties
    e = rng.normal(size=(labels, 48)).astype(np.float32)
    want = reference(c, e, eta)
    index = PercentileIndex(unit64(e).astype(np.float32), eta, "cpu")
    got = index.distances(unit64(c).astype(np.float32))
    assert np.abs(got - want).max() <= min(1e-6, index.error_bound)
    assert select(c, e, eta, 200, "cpu").tolist() == ranking(want, 200)


def test_only_as_many_neighbours_are_asked_for_as_the_percentile_needs() -> None:
    e = np.eye(1_000, 1_000, dtype=np.float32)
    ks = {eta: PercentileIndex(e, eta, "cpu").k for eta in (0, 0.05, 0.5, 0.95, 1)}
    assert ks == {0: 1, 0.05: 51, 0.5: 501, 0.95: 51, 1: 1}


@given(
    seed=st.integers(0, 2**32 - 1), chunk=st.integers(1, 400), top=st.integers(1, 320), eta=st.floats(0, 1),
    labels=st.integers(1, 30),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_selection_does_not_depend_on_chunks(seed: int, chunk: int, top: int, eta: float, labels: int) -> None:
    rng = np.random.default_rng(seed)
    c = rng.integers(-2, 3, size=(300, 6)).astype(np.float32)  # few values: many exact ties
    c[~c.any(axis=1)] = 1
    e = rng.normal(size=(labels, 6)).astype(np.float32)
    search = Search(e, eta, [min(top, 300)])
    for start in range(0, 300, chunk):
        offer(search, c[start : start + chunk], start)
    assert search.best[0].result()["position"].tolist() == ranking(reference(c, e, eta), top)


@given(seed=st.integers(0, 2**32 - 1), low=st.floats(0, 1), high=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_distance_is_monotone_in_eta(seed: int, low: float, high: float) -> None:
    low, high = sorted((low, high))
    rng = np.random.default_rng(seed)
    c, e = (unit64(rng.normal(size=(20, 8))).astype(np.float32) for _ in range(2))
    near, far = (PercentileIndex(e, eta, "cpu").distances(c) for eta in (low, high))
    assert (near <= far + 1e-6).all()


def test_memory_is_bounded_by_m() -> None:
    rng = np.random.default_rng(0)
    e = unit64(rng.normal(size=(5, 8))).astype(np.float32)
    search, held = Search(e, 0.05, [50]), 0
    for start in range(0, 40_000, 500):
        row = rng.normal(size=(1, 8)).astype(np.float32) if start % 1000 else e[:1]
        block = row.repeat(500, axis=0)  # nothing but ties
        offer(search, block, start)
        held = max(held, search.best[0]._held, search.near._held)
    assert held <= 2 * 100 + 1_024 + 500


def test_select_refuses_bad_arrays() -> None:
    good = np.eye(3, dtype=np.float32)
    for bad, says in ((np.ones((2, 4)), "shape"), (np.array([[1, np.nan, 0]]), "row 0"), (np.zeros((1, 3)), "row 0")):
        with pytest.raises(ValueError, match=says):
            select(bad, good)
    with pytest.raises(ValueError, match="percentile"):
        select(good, good, 5)


# The stage, on real Parquet ------------------------------------------------------------------------------------


def write(path: Path, texts: list[str], rows: np.ndarray, **columns: list[str]) -> Path:
    values = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
    pq.write_table(pa.table({"text": texts, **columns, "embedding": values}), path)
    return path


@pytest.fixture
def world(tmp_path: Path) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    labels = write(tmp_path / "labels.parquet", ["Dog", "cat"], rng.normal(size=(2, 16)).astype(np.float32))
    names = ["dog", "CAT", "tree", "Tree", "house", "sky", "soft", "hard"]
    rows = rng.normal(size=(8, 16)).astype(np.float16)
    pos = ["noun"] * 6 + ["adjective"] * 2
    return {
        "labels": labels, "rows": rows, "names": names, "pos": pos,
        "candidates": write(tmp_path / "c.parquet", names, rows, pos=pos), "out": tmp_path / "neg.parquet",
    }  # fmt: skip


def run(world: dict[str, Any], **options: Any) -> tuple[dict[str, Any], pa.Table]:
    given = {k: world[k] for k in ("labels", "out")} | {"candidates": [world["candidates"]], "device": "cpu"}
    summary = mine(make(MineSettings, {**given, **options}), Reporter(quiet=True))
    return summary, pq.read_table(world["out"])


def test_id_names_and_duplicates_are_dropped_and_counted(world: dict[str, Any]) -> None:
    summary, table = run(world)
    assert summary["counts"] == {"candidates": 5, "duplicates": 1, "id_names": 2, "excluded": 0, "kept": 5}
    assert set(table["text"].to_pylist()) == {"tree", "house", "sky", "soft", "hard"}
    labels = np.array(pq.read_table(world["labels"])["embedding"].to_pylist())
    want = dict(zip(world["names"], reference(world["rows"], labels, 0.05), strict=True))
    for row in table.to_pylist():
        assert row["distance"] == pytest.approx(want[row["text"]], abs=1e-6)
        cosines = unit64(labels) @ unit64(world["rows"])[world["names"].index(row["text"])]
        assert row["nearest_label"] == ["Dog", "cat"][int(cosines.argmax())]
        assert row["nearest_cosine"] == pytest.approx(cosines.max(), abs=1e-6)
    assert table["distance"].to_pylist() == sorted(table["distance"].to_pylist(), reverse=True)
    assert table["rank"].to_pylist() == list(range(5))


def test_keep_id_names_exclude_and_text_out(world: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "no.txt").write_text("SKY\nnothing\n")
    _, table = run(world, keep_id_names=True, exclude=[tmp_path / "no.txt"], text_out=tmp_path / "w.txt")
    assert set(table["text"].to_pylist()) == {"dog", "CAT", "tree", "house", "soft", "hard"}
    assert (tmp_path / "w.txt").read_text().splitlines() == table["text"].to_pylist()


def test_shares_are_rounded_down_and_parts_of_speech_ranked_apart(world: dict[str, Any]) -> None:
    _, table = run(world, preset="official")  # 15 % of 5 nouns and of 2 adjectives: none
    assert table.num_rows == 0
    _, table = run(world, preset="official", top_share=0.5)
    assert table["pos"].to_pylist() == ["noun", "noun", "adjective"]
    nouns = [r for r in table.to_pylist() if r["pos"] == "noun"]
    assert nouns[0]["distance"] >= nouns[1]["distance"]


def test_random_is_a_seeded_baseline(world: dict[str, Any]) -> None:
    picks = [run(world, random=seed, top=3)[1]["text"].to_pylist() for seed in (0, 0, 1, 2, 3)]
    assert picks[0] == picks[1]
    assert len({tuple(p) for p in picks}) > 1
    assert all(len(set(p)) == 3 for p in picks)
    assert json.loads(pq.read_schema(world["out"]).metadata[b"neglabel"])["settings"]["random"] == 3


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"percentile": 5}, "did you mean 0.05?"),
        ({"top": 10, "top_share": 0.1}, "exclude each other"),
        ({"out": "neg.txt"}, "name a FILE.parquet"),
    ],
)
def test_bad_options(world: dict[str, Any], option: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as error:
        run(world, **option)
    assert says in str(error.value)


def test_bad_files_are_named_with_their_row(world: dict[str, Any], tmp_path: Path) -> None:
    bad = world["rows"].astype(np.float32)
    bad[3, 2] = np.nan
    with pytest.raises(NeglabelError, match=r"nan\.parquet, row 4: the embedding is NaN"):
        run(world, candidates=[write(tmp_path / "nan.parquet", world["names"], bad)])
    bad[3] = 0
    with pytest.raises(NeglabelError, match=r"zero\.parquet, row 4: the embedding is a zero vector"):
        run(world, candidates=[write(tmp_path / "zero.parquet", world["names"], bad)])
    with pytest.raises(UsageError, match="have 16 dimensions, the candidates 8"):
        run(world, candidates=[write(tmp_path / "d.parquet", world["names"], bad[:, :8] + 1)])
    pq.write_table(pa.table({"word": ["a"]}), tmp_path / "no.parquet")
    with pytest.raises(UsageError, match="has no `text` column"):
        run(world, candidates=[tmp_path / "no.parquet"])
    (tmp_path / "cut.parquet").write_bytes(Path(world["candidates"]).read_bytes()[:300])
    with pytest.raises(NeglabelError, match="not a whole Parquet file"):
        run(world, candidates=[tmp_path / "cut.parquet"])
    with pytest.raises(UsageError, match="does not exist"):
        run(world, candidates=[tmp_path / "nowhere.parquet"])
    (tmp_path / "labels.txt").write_text("dog\n")
    with pytest.raises(UsageError, match="nothing says which model encodes it"):
        run(world, labels=tmp_path / "labels.txt")
    assert not world["out"].exists()


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_lengths_that_float32_has_not_change_nothing(tmp_path: Path, size: float) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 8))
    found = []
    for name, scale in (("plain", 1.0), ("odd", size)):
        values = pa.FixedSizeListArray.from_arrays(pa.array((rows * scale).reshape(-1)), 8)
        table = pa.table({"text": [f"w{n}" for n in range(60)], "embedding": values})
        pq.write_table(table.slice(0, 50), tmp_path / f"{name}.parquet")
        pq.write_table(table.slice(50), tmp_path / f"{name}-labels.parquet")
        given = {"candidates": [tmp_path / f"{name}.parquet"], "labels": tmp_path / f"{name}-labels.parquet"}
        mine(make(MineSettings, {**given, "out": tmp_path / "n.parquet", "top": 20, "device": "cpu"}),
             Reporter(quiet=True))  # fmt: skip
        found.append(pq.read_table(tmp_path / "n.parquet"))
    vectors = [np.stack(table["embedding"].to_numpy()) for table in found]
    assert found[0]["text"].equals(found[1]["text"])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_a_device_that_is_not_there_is_refused(world: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neglabel.pipeline.mine.gpu_count", lambda: 0)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UsageError, match="--device cuda"):
        run(world, device="cuda")


def test_nothing_else_is_overwritten(world: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    before = {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    for options, says in (
        ({"out": world["candidates"]}, "--out .* is an input"),
        ({"text_out": world["labels"]}, "--text-out .* is an input"),
        ({"text_out": world["out"]}, "is where --out writes"),
        ({"text_out": tmp_path / "neg.parquet.settings.toml"}, "is where --out writes"),
        ({"text_out": tmp_path / "folder"}, "is a folder"),
    ):
        with pytest.raises(UsageError, match=says):
            run(world, **options)
    with pytest.raises(UsageError, match="exists and holds no negative labels"):
        mine(make(MineSettings, {"candidates": [world["candidates"]], "labels": world["labels"],
                                 "out": write(tmp_path / "other.parquet", ["a"], np.ones((1, 16), np.float32))}),
             Reporter(quiet=True))  # fmt: skip
    (tmp_path / "other.parquet").unlink()
    assert {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


def test_an_output_inside_a_store_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "w.txt").write_text("one\ntwo\n")
    (tmp_path / "l.txt").write_text("dog\n")
    store = tmp_path / "s"
    encode(make(EncodeSettings, {"corpus": [str(tmp_path / "w.txt")], "out": store, "model": str(tiny_model)}),
           Reporter(quiet=True))  # fmt: skip
    given = {"candidates": [store], "labels": tmp_path / "l.txt", "out": tmp_path / "n.parquet"}
    with pytest.raises(UsageError, match="is an input, or lies in one"):
        mine(make(MineSettings, {**given, "text_out": store / "manifest.json"}), Reporter(quiet=True))
    manifest = json.loads((store / "manifest.json").read_text())
    (store / "manifest.json").write_text(json.dumps({**manifest, "version": 99}))
    with pytest.raises(UsageError, match="made by a newer neglabel"):
        mine(make(MineSettings, given), Reporter(quiet=True))


def test_effective_settings_hold_what_the_preset_came_to(world: dict[str, Any]) -> None:
    run(world, preset="official")
    settings = json.loads(pq.read_schema(world["out"]).metadata[b"neglabel"])["settings"]
    assert {k: settings[k] for k in ("preset", "percentile", "top", "top_share", "per_pos", "keep_id_names")} == {
        "preset": "official", "percentile": 0.05, "top": None, "top_share": 0.15, "per_pos": True,
        "keep_id_names": True,
    }  # fmt: skip


def test_the_summary_shows_words_by_distance_whatever_the_order(world: dict[str, Any]) -> None:
    for options in ({"per_pos": True}, {"random": 3}):
        summary, table = run(world, **options)
        ordered = sorted(table["distance"].to_pylist(), reverse=True)
        assert [d for _, d in summary["farthest"]] == pytest.approx(ordered[:10], abs=1e-4)
        assert [d for _, d in summary["nearest"]] == pytest.approx(ordered[-10:], abs=1e-4)


def test_a_share_that_is_nothing_warns(world: dict[str, Any]) -> None:
    summary, table = run(world, top_share=0.00001)
    assert table.num_rows == 0
    assert "no negative label is kept" in summary["warnings"][-1]


def test_stores_shards_and_order_give_one_selection(tmp_path: Path, tiny_model: Path) -> None:
    words = [f"thing {i}" for i in range(300)]
    (tmp_path / "w.txt").write_text("\n".join(words))
    (tmp_path / "l.txt").write_text("dog\ncat\nowl\n")
    results = []
    for rows in (300, 64, 7):
        out = tmp_path / f"store{rows}"
        given = {"corpus": [str(tmp_path / "w.txt")], "out": out, "model": str(tiny_model), "shard_rows": rows}
        encode(make(EncodeSettings, given), Reporter(quiet=True))
        target = tmp_path / f"neg{rows}.parquet"
        mine(make(MineSettings, {"candidates": [out], "labels": tmp_path / "l.txt", "out": target, "top": 50}),
             Reporter(quiet=True))  # fmt: skip
        results.append(pq.read_table(target).to_pydict())
    assert results[0]["text"] == results[1]["text"] == results[2]["text"]
    assert np.allclose(results[0]["distance"], results[2]["distance"], atol=1e-6)
    # The same store twice changes nothing: candidates are de-duplicated across stores.
    twice = {"candidates": [tmp_path / "store300", tmp_path / "store64"], "labels": tmp_path / "l.txt",
             "out": tmp_path / "twice.parquet", "top": 50}  # fmt: skip
    summary = mine(make(MineSettings, twice), Reporter(quiet=True))
    assert summary["counts"]["duplicates"] == 300
    assert pq.read_table(tmp_path / "twice.parquet")["text"].to_pylist() == results[0]["text"]


def test_presets_are_checked_to_agree(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "w.txt").write_text("one\ntwo\n")
    (tmp_path / "l.txt").write_text("dog\n")
    given = {"corpus": [str(tmp_path / "w.txt")], "out": tmp_path / "s", "model": str(tiny_model), "preset": "official"}
    encode(make(EncodeSettings, given), Reporter(quiet=True))
    mining = {"candidates": [tmp_path / "s"], "labels": tmp_path / "l.txt", "out": tmp_path / "n.parquet"}
    with pytest.raises(UsageError, match="--preset paper, but the candidates were encoded with preset official"):
        mine(make(MineSettings, {**mining, "preset": "paper"}), Reporter(quiet=True))
    mine(make(MineSettings, mining), Reporter(quiet=True))
    metadata = json.loads(pq.read_schema(tmp_path / "n.parquet").metadata[b"neglabel"])
    assert metadata["settings"]["preset"] == "official"
    assert metadata["labels"]["prompts"] == ["the nice {}"]


@pytest.mark.gpu
def test_gpu_selection_equals_the_cpus() -> None:
    from neglabel.indexes.device import gpu_count

    if not gpu_count():
        pytest.skip("FAISS finds no CUDA device")
    rng = np.random.default_rng(0)
    c, e = rng.normal(size=(20_000, 512)).astype(np.float32), rng.normal(size=(5_000, 512)).astype(np.float32)
    for eta in (0, 0.05, 0.5, 1):
        assert select(c, e, eta, 2_000, "cuda").tolist() == select(c, e, eta, 2_000, "cpu").tolist()
