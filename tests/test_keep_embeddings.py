"""``score --keep-embeddings``: what was compared is kept beside the scores, row by row."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neglabel.pipeline import score_sets, store
from neglabel.pipeline.score_embeddings import keeping

from .make_world import D, M, make_gallery, make_world, options, run, unit, vectors, with_pictures, write


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return make_world(tmp_path)


def manifest(world: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world / "out" / "manifest.json").read_text())
    return found


def test_the_scores_can_be_made_again_from_what_is_kept(world: Path) -> None:
    run(options(world, keep_embeddings=True, groups=1))
    out = world / "out"
    negatives = pq.read_table(out / "negatives.parquet")
    assert negatives.column_names == ["rank", "text", "pos", "embedding"]
    assert store.read_metadata(out / "negatives.parquet") == store.read_metadata(world / "negatives.parquet")
    assert pq.read_table(out / "labels.parquet")["text"].to_pylist() == manifest(world)["labels"]
    labels, words = vectors(out / "labels.parquet"), vectors(out / "negatives.parquet")
    assert manifest(world)["embeddings"] is True
    for data in manifest(world)["datasets"]:
        path = out / f"embeddings-{data['name']}.parquet"
        assert pq.read_schema(path).field("embedding").type == pa.list_(pa.float32(), D)
        pictures = vectors(path)
        np.testing.assert_allclose(np.linalg.norm(pictures, axis=1), 1, atol=1e-6)
        a, b = np.exp(pictures @ labels.T / 0.01).sum(1), np.exp(pictures @ words.T / 0.01).sum(1)
        scores = pq.read_table(out / f"scores-{data['name']}.parquet")
        assert scores.num_rows == len(pictures) == data["rows"]
        np.testing.assert_allclose(scores["neglabel_logit"].to_numpy(), np.log(a / b), atol=1e-4)
        assert data["embeddings_sha256"] == hashlib.sha256(pictures.astype("<f4").tobytes()).hexdigest()


def test_without_it_nothing_is_kept_and_what_was_kept_goes(world: Path) -> None:
    run(options(world, keep_embeddings=True, images={"more": str(world / "ood.parquet")}))
    run(options(world, keep_embeddings=True))
    assert not (world / "out" / "embeddings-more.parquet").exists()
    run(options(world))
    assert sorted(p.name for p in (world / "out").iterdir()) == [
        "manifest.json", "negatives.parquet", "scores-far.parquet", "scores-in.parquet", "settings.toml",
        "unreadable.parquet",
    ]  # fmt: skip
    assert manifest(world)["embeddings"] is False
    assert not any("embeddings_sha256" in data for data in manifest(world)["datasets"])


def test_unreadable_pictures_leave_no_row_and_the_cache_changes_nothing(tmp_path: Path, tiny_model: Path) -> None:
    gallery = make_gallery(make_world(tmp_path))
    (gallery / "cats" / "class_1" / "1.png").write_text("no picture")
    found = []
    for _ in range(2):  # the second time from the cache, in other blocks
        run(with_pictures(gallery, tiny_model, keep_embeddings=True, cache=gallery / "cache", batch_size=2))
        kept = vectors(gallery / "out" / "embeddings-cats.parquet")
        assert len(kept) == 4 == pq.read_table(gallery / "out" / "scores-cats.parquet").num_rows
        names = ("embeddings-cats.parquet", "embeddings-cars.parquet", "labels.parquet", "negatives.parquet")
        found.append([(gallery / "out" / name).read_bytes() for name in names])
    assert found[0] == found[1]
    assert pq.read_table(gallery / "out" / "negatives.parquet").column_names == ["rank", "text", "embedding"]


def test_no_negatives_are_kept_as_none(world: Path) -> None:
    (world / "none.txt").write_text("\n")
    run(options(world, negatives=world / "none.txt", keep_embeddings=True, groups=1))
    table = pq.read_table(world / "out" / "negatives.parquet")
    assert (table.num_rows, table.schema.field("embedding").type) == (0, pa.list_(pa.float32(), D))
    write(world / "bare.parquet", unit(np.random.default_rng(1), M), text=[f"w{i}" for i in range(M)])
    run(options(world, negatives=world / "bare.parquet", keep_embeddings=True))
    assert pq.read_table(world / "out" / "negatives.parquet").num_rows == M


def test_a_failure_keeps_no_half_file(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = score_sets._blocks

    def stops(source: Any, model: Any) -> Any:
        yield from inner(source, model)
        raise KeyboardInterrupt

    monkeypatch.setattr(score_sets, "_blocks", stops)
    with pytest.raises(KeyboardInterrupt):
        run(options(world, keep_embeddings=True))
    assert not (world / "out").exists()


@given(sizes=st.lists(st.integers(0, 9), max_size=8))
def test_the_file_does_not_depend_on_the_blocks(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    folder = tmp_path_factory.mktemp("kept")
    rows = unit(np.random.default_rng(2), sum(sizes), 3)
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "ROW_GROUP", 4)
        for blocks in (np.split(rows, np.cumsum(sizes)[:-1]) if sizes else [], [rows]):
            with keeping(folder / "e.parquet", 3) as kept:
                for block in blocks:
                    kept.add(block)
            made.append((kept.sha256, (folder / "e.parquet").read_bytes()))
        assert made[0] == made[1]
        file = pq.ParquetFile(folder / "e.parquet")
        groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        assert groups == [4] * (len(rows) // 4) + [len(rows) % 4] * (len(rows) % 4 > 0)
    np.testing.assert_array_equal(vectors(folder / "e.parquet").reshape(-1, 3) if len(rows) else rows, rows)
