"""The score stage on embeddings: what it writes, against NumPy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neglabel.pipeline import config, store
from neglabel.pipeline.score_settings import ScoreSettings
from neglabel.pipeline.scores import group_negatives

from .make_world import D, K, M, make_world, options, rows, run, vectors, write


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return make_world(tmp_path)


def test_rows_against_numpy(world: Path) -> None:
    run(options(world, temperature={"neglabel": 0.05}))
    images, labels = vectors(world / "id.parquet"), vectors(world / "labels.parquet")
    words, found = vectors(world / "negatives.parquet"), rows(world, "in")
    a, b = np.exp(images @ labels.T / 0.05), np.exp(images @ words.T / 0.05)
    groups = group_negatives(M, 3, seed=0)
    want = np.mean([a.sum(1) / (a.sum(1) + b[:, g].sum(1)) for g in groups], axis=0)
    np.testing.assert_allclose(found["neglabel"], want, rtol=1e-5)
    np.testing.assert_allclose(found["neglabel_logit"], np.log(want / (1 - want)), atol=1e-5)
    raw = np.exp(images @ labels.T)
    np.testing.assert_allclose(found["mcm"], raw.max(1) / raw.sum(1), rtol=1e-6)
    sharp = np.exp(images @ labels.T * 100)
    np.testing.assert_allclose(found["msp"], sharp.max(1) / sharp.sum(1), rtol=1e-4)
    total = a.sum(1) + b.sum(1)
    np.testing.assert_allclose(found["id_share"], a.sum(1) / total, rtol=1e-4)
    for kind, share, name in (("labels", a, "class"), ("negatives", b, "word")):
        order = np.argsort(-share, axis=1)[:, :5]
        assert found[f"top_{kind}"] == [[f"{name} {j}" for j in row] for row in order]
        shares = np.take_along_axis(share, order, axis=1) / total[:, None]
        np.testing.assert_allclose(found[f"top_{kind[:-1]}_shares"], shares, rtol=1e-4)
    assert found["predicted_label"] == [f"class {k}" for k in a.argmax(1)]
    assert found["label"] == [f"class {i % 8}" if i % 8 < K else "7" for i in range(50)]
    assert rows(world, "far")["label"][:2] == ["x", ""]


def test_files_are_as_documented(world: Path) -> None:
    summary = run(options(world))
    out = world / "out"
    assert sorted(p.name for p in out.iterdir()) == [
        "manifest.json", "negatives.parquet", "scores-far.parquet", "scores-in.parquet", "settings.toml",
        "unreadable.parquet",
    ]  # fmt: skip
    table = pq.read_table(out / "scores-in.parquet")
    assert table.column_names == [
        "id", "path", "dataset", "role", "label", "predicted_label", "neglabel", "neglabel_logit", "mcm", "mcm_logit",
        "msp", "msp_logit", "top_labels", "top_label_shares", "top_negatives", "top_negative_shares", "id_share",
    ]  # fmt: skip
    assert table.schema.field("neglabel_logit").type == pa.float64()
    assert table.schema.field("top_label_shares").type == pa.list_(pa.float32())
    assert not any(column.null_count for column in table.columns)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["format"] == "neglabel-scores"
    assert manifest["complete"] is True
    assert manifest["labels"] == [f"class {k}" for k in range(K)]
    for data in manifest["datasets"]:
        assert list(data.pop("time")) == ["decode", "tower", "score", "read"]
    assert manifest["datasets"] == [
        {"name": "in", "role": "id", "source": str(world / "id.parquet"), "rows": 50, "unreadable": 0},
        {"name": "far", "role": "ood", "source": str(world / "ood.parquet"), "rows": 30, "unreadable": 0},
    ]
    rest = {"fused": None, "stream": None}
    assert manifest["scores"][0] == {"name": "neglabel", "temperature": 0.01, "groups": 3, **rest}
    assert manifest["scores"][1] == {"name": "mcm", "temperature": 1.0, "groups": None, **rest}
    assert manifest["negatives"] == {"path": str(world / "negatives.parquet"), "count": M, "random": False}
    negatives = pq.read_table(out / "negatives.parquet")
    assert negatives.column_names == ["rank", "text", "pos"]
    assert store.read_metadata(out / "negatives.parquet") == store.read_metadata(world / "negatives.parquet")
    assert pq.read_table(out / "unreadable.parquet").column_names == ["dataset", "id", "path", "reason"]
    again = config.make(ScoreSettings, {}, out / "settings.toml")
    assert again == options(world, temperature={"neglabel": 0.01, "mcm": 1.0, "msp": 0.01})
    assert [d["rows"] for d in summary["datasets"]] == [50, 30]
    assert 0 < summary["datasets"][0]["id_share"] < 1


def test_block_size_changes_nothing(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(options(world))
    whole = rows(world, "in")
    monkeypatch.setattr("neglabel.indexes.flat.NegativeIndex.rows_per_block", lambda *_, **__: 3)
    run(options(world))
    pieces = rows(world, "in")
    assert pieces["id"] == whole["id"]
    assert pieces["top_negatives"] == whole["top_negatives"]
    for name in ("neglabel_logit", "mcm_logit", "msp_logit"):
        np.testing.assert_allclose(pieces[name], whole[name], atol=1e-4)


def test_order_of_pictures_changes_nothing(world: Path) -> None:
    images = vectors(world / "id.parquet").astype(np.float32)
    order = np.random.default_rng(5).permutation(50)
    write(world / "mixed.parquet", images[order])
    run(options(world, images={"mixed": str(world / "mixed.parquet")}))
    np.testing.assert_allclose(
        rows(world, "mixed")["neglabel_logit"], np.array(rows(world, "in")["neglabel_logit"])[order], atol=1e-4
    )
    assert set(rows(world, "mixed")["role"]) == {"unknown"}


def test_a_rerun_removes_what_is_no_longer_asked_for(world: Path) -> None:
    run(options(world))
    run(options(world, ood={"near": str(world / "ood.parquet")}, score=["mcm"], temperature={}))
    assert sorted(p.name for p in (world / "out").glob("scores-*")) == ["scores-in.parquet", "scores-near.parquet"]
    assert "neglabel" not in rows(world, "in")


def test_no_negatives_is_no_evidence(world: Path) -> None:
    write(world / "none.parquet", np.empty((0, D), np.float32), text=pa.array([], pa.string()))
    (world / "none.txt").write_text("\n")
    for name in ("none.parquet", "none.txt"):
        summary = run(options(world, negatives=world / name, groups=100))
        found = rows(world, "in")
        assert np.isnan(found["neglabel"]).all()
        assert np.isnan(found["neglabel_logit"]).all()
        assert np.isnan(found["id_share"]).all()
        assert np.isfinite(found["mcm_logit"]).all()
        assert found["top_negatives"] == [[]] * 50
        assert sum(found["top_label_shares"][0]) <= 1 + 1e-6
        assert summary["datasets"][0]["id_share"] is None
        assert "no evidence" in summary["warnings"][0]
        json.dumps(summary, allow_nan=False)


def test_embeddings_need_no_model(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neglabel.pipeline.models.load_model", None)
    run(options(world))
