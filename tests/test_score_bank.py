"""`score --bank`: scores fitted to ID features in the stage, gradnorm, and NegLabel with other similarities."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from neglabel import NeglabelError, UsageError
from neglabel.pipeline import score_sets
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.score import score
from neglabel.pipeline.scores import group_negatives

from .make_world import D, K, make_gallery, make_world, options, rows, run, unit, vectors, with_pictures, write

BANKED = ["knn", "vim", "mahalanobis", "mahalanobis-mcm"]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """With a bank of 300 pictures around their labels: names, an index and spellings; two of no ID label."""
    rng = np.random.default_rng(5)
    make_world(tmp_path)
    label = [f"class {i % K}" for i in range(300)]
    label[0], label[1], label[2], label[3] = "3", "Class_4", "zebra", "99"
    features = vectors(tmp_path / "labels.parquet")[[i % K for i in range(300)]] + 0.3 * rng.normal(size=(300, D))
    features[:2] = vectors(tmp_path / "labels.parquet")[[3, 4]] + 0.1 * rng.normal(size=(2, D))
    write(tmp_path / "bank.parquet", (2 * features).astype(np.float32), label=label)
    return tmp_path


def manifest(world: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world / "out" / "manifest.json").read_text(encoding="utf-8"))
    return found


def unit64(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


def test_the_stage_fits_to_the_bank(world: Path) -> None:
    """Against float64 references of the formulas, on what the files hold."""
    reporter = Reporter(quiet=True)
    score(options(world, bank=str(world / "bank.parquet"), score=[*BANKED, "mcm"]), reporter)
    kept = np.r_[0:2, 4:300]
    f = unit64(vectors(world / "bank.parquet"))[kept]
    classes = np.array([3, 4, *[i % K for i in range(4, 300)]])
    x, w = unit64(vectors(world / "ood.parquet")), 100 * unit64(vectors(world / "labels.parquet"))
    found = rows(world, "far")

    distances = np.sort(np.square(x[:, None] - f[None]).sum(-1), axis=1)[:, 49]
    np.testing.assert_allclose(found["knn"], -distances, rtol=1e-5)

    principal = np.linalg.svd(f, full_matrices=False)[2][: D // 2]
    residual = [np.linalg.norm(v - v @ principal.T @ principal, axis=1) for v in (f, x)]
    logits = x @ w.T
    alpha = (f @ w.T).max(1).mean() / residual[0].mean()
    vim = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1) - alpha * residual[1]
    np.testing.assert_allclose(found["vim"], vim, rtol=1e-4, atol=1e-4)

    means = np.stack([f[classes == c].mean(0) for c in range(K)])
    centred = f - means[classes]
    for name, mu, covariance in (
        ("mahalanobis", means, centred.T @ centred / len(f)),
        ("mahalanobis-mcm", unit64(means), np.cov(f.T)),
    ):
        gaps = x[:, None] - mu[None]
        want = (-0.5 * np.einsum("ncd,de,nce->nc", gaps, np.linalg.inv(covariance), gaps)).max(1)
        np.testing.assert_allclose(found[f"{name}_logit"], want, rtol=1e-4)

    about = manifest(world)["bank"]
    assert {k: about[k] for k in ("rows", "classes", "unlabelled", "left_out", "unreadable")} == {
        "rows": 298, "classes": K, "unlabelled": 0, "left_out": 2, "unreadable": 0
    }  # fmt: skip
    assert manifest(world)["settings"]["bank"] == str(world / "bank.parquet")
    assert any("2 of 300 pictures left out: a label that is no ID label" in warning for warning in reporter.warnings)


def test_embeddings_reach_the_scores_that_compare_them(world: Path) -> None:
    run(options(world, score=["gradnorm", "neglabel-l1", "neglabel-kl", "neglabel"], seed=4))
    x, a, b = (unit64(vectors(world / f"{name}.parquet")) for name in ("ood", "labels", "negatives"))
    p = np.exp(100 * x @ a.T - (100 * x @ a.T).max(1, keepdims=True))
    want = np.abs(K * p / p.sum(1, keepdims=True) - 1).sum(1) * np.abs(x).sum(1)
    found = rows(world, "far")
    np.testing.assert_allclose(found["gradnorm"], want, rtol=1e-4)

    def log_softmax(v: np.ndarray) -> np.ndarray:
        return np.asarray(v - np.log(np.exp(v).sum(1, keepdims=True)))

    def l1(texts: np.ndarray) -> np.ndarray:
        return np.asarray(-np.abs(x[:, None] - texts[None]).mean(-1))

    def kl(texts: np.ndarray) -> np.ndarray:
        q = np.exp(log_softmax(x))
        return np.asarray((q[:, None] * (log_softmax(texts)[None] - log_softmax(x)[:, None])).sum(-1))

    groups = group_negatives(len(b), 3, seed=4)
    for name, similarity in (("neglabel-l1", l1), ("neglabel-kl", kl), ("neglabel", lambda texts: x @ texts.T)):
        ours, theirs = np.exp(similarity(a) / 0.01).sum(1), np.exp(similarity(b) / 0.01)
        shares = [ours / (ours + theirs[:, group].sum(1)) for group in groups]
        np.testing.assert_allclose(found[name], np.mean(shares, axis=0), rtol=2e-4, err_msg=name)


@pytest.mark.parametrize("changed", ["nothing", "bank", "features", "classes"])
def test_a_killed_run_is_not_taken_up_with_another_bank(
    world: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """Another file; the same name with other features, or with the same features as other classes."""
    inner = score_sets._blocks
    scored: list[str] = []

    def interrupted(source: Any, model: Any) -> Any:
        scored.append(Path(source.spec).stem)
        yield from inner(source, model)
        if len(scored) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(score_sets, "_blocks", interrupted)
    bank = world / "bank.parquet"
    asked = options(world, bank=str(bank), score=["mahalanobis"])
    with pytest.raises(KeyboardInterrupt):
        run(asked)
    features, label = vectors(bank), pq.read_table(bank)["label"].to_pylist()
    if changed == "bank":
        asked = options(world, bank=str(write(world / "other.parquet", features[::-1], label=label[::-1])))
        asked = asked.model_copy(update={"score": ("mahalanobis",)})
    elif changed == "features":
        write(bank, features[:, ::-1], label=label)
    elif changed == "classes":
        write(bank, features, label=[*label[:4], *np.roll(label[4:], 1)])
    run(asked)
    assert scored == ["id", "ood", *(["id"] if changed != "nothing" else []), "ood"]
    taken_up = {name: rows(world, name)["mahalanobis"] for name in ("in", "far")}
    shutil.rmtree(world / "out")
    run(asked)
    assert taken_up == {name: rows(world, name)["mahalanobis"] for name in ("in", "far")}


def test_blocks_and_slabs_change_nothing(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = [*BANKED, "gradnorm", "neglabel-l1", "neglabel-kl"]
    asked = options(world, bank=str(world / "bank.parquet"), score=scores)
    run(asked)
    whole = {name: np.array(rows(world, "far")[name]) for name in scores}
    monkeypatch.setattr("neglabel.indexes.flat.BLOCK_VALUES", 1)
    monkeypatch.setattr("neglabel.indexes.flat.NegativeIndex.rows_per_block", lambda self: 7)
    monkeypatch.setattr("neglabel.pipeline.scores.knn._ROWS", 3)
    monkeypatch.setattr("neglabel.pipeline.scores.similarity._SLAB", 100)
    run(asked)
    for name in scores:
        np.testing.assert_allclose(rows(world, "far")[name], whole[name], rtol=1e-5, err_msg=name)


def test_pictures_as_a_bank_are_encoded_through_the_cache(tmp_path: Path, tiny_model: Path) -> None:
    world = make_gallery(make_world(tmp_path))
    rng = np.random.default_rng(8)
    for name in ("class_0", "class 1", "class 2"):
        (world / "train" / name).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(world / "train" / name / f"{i}.png")
    (world / "train" / "class 2" / "9.png").write_bytes(b"no picture")
    asked = with_pictures(
        world, tiny_model, bank=str(world / "train"), score=["mahalanobis"], cache=world / "cache",
        id={"cats": str(world / "cats")},
    )  # fmt: skip
    first = run(asked)
    assert any("1 of 13 pictures left out: can't be decoded" in warning for warning in first["warnings"])
    about = manifest(world)["bank"]
    assert (about["rows"], about["classes"], about["unreadable"]) == (12, 3, 1)
    again = run(asked)
    assert again["cached"] == 12 + 5 + 4
    assert manifest(world)["bank"] == about
    with pytest.raises(NeglabelError, match=r"--bank: .*9\.png can't be decoded"):
        run(asked.model_copy(update={"strict": True}))


def test_refusals_name_what_is_missing(world: Path) -> None:
    bare = write(world / "bare.parquet", unit(np.random.default_rng(1), 60))
    few = write(world / "few.parquet", unit(np.random.default_rng(1), 9), label=["class 1"] * 9)
    thin = write(world / "thin.parquet", unit(np.random.default_rng(1), 60, 8), label=["class 1"] * 60)
    other = write(world / "other.parquet", unit(np.random.default_rng(1), 60), label=["zebra"] * 60)
    cases = [
        ({"score": ["knn"]}, "--score knn needs a bank of ID features; give --bank IMAGES"),
        ({"score": ["mahalanobis"], "bank": str(bare)}, "60 of 60 pictures have no label, and mahalanobis needs"),
        ({"score": ["vim"], "bank": str(few)}, "bank's 9 pictures span no more than the 12 dimensions"),
        ({"score": ["knn"], "bank": str(few)}, "50-th nearest of 9 ID pictures; give more pictures"),
        ({"score": ["knn"], "bank": str(thin)}, "dimensions and pictures .*thin.parquet 8"),
        ({"score": ["knn"], "bank": str(other)}, "none of its 60 pictures is of an ID label"),
        ({"score": ["knn"], "bank": str(world / "id.parquet")}, "--bank .* and in=.* both hold .*id.parquet#0"),
        ({"score": ["knn"], "bank": str(world / "gone")}, "do not exist"),
        ({"score": ["clipn-ctw"]}, "needs the \"no\" texts of CLIPN's own text tower, which `neglabel score`"),
    ]
    for changes, message in cases:
        with pytest.raises((UsageError, NeglabelError), match=message):
            run(options(world, **changes))
        assert not (world / "out").exists(), message


def test_a_bank_without_labels_is_enough_for_distances(world: Path) -> None:
    bare = write(world / "bare.parquet", unit(np.random.default_rng(1), 60))
    run(options(world, bank=str(bare), score=["knn", "vim"]))
    assert manifest(world)["bank"]["unlabelled"] == 60
    unused = run(options(world, bank=str(bare), score=["mcm"]))
    assert any("is not used: no score asked for is fitted to it" in warning for warning in unused["warnings"])
    assert manifest(world)["bank"] is None


def test_fused_groups_are_a_seeded_part_of_the_groups(world: Path) -> None:
    run(options(world, score=["neglabel", "neglabel-ungrouped"], groups=8, fused_groups=3, seed=6))
    x, a, b = (unit64(vectors(world / f"{name}.parquet")) for name in ("ood", "labels", "negatives"))
    groups = group_negatives(len(b), 8, seed=6)[np.random.default_rng(6).permutation(8)[:3]]
    ours, theirs = np.exp(100 * x @ a.T).sum(1), np.exp(100 * x @ b.T)
    want = np.mean([ours / (ours + theirs[:, group].sum(1)) for group in groups], axis=0)
    found = rows(world, "far")
    np.testing.assert_allclose(found["neglabel"], want, rtol=1e-4)
    np.testing.assert_allclose(found["neglabel-ungrouped"], ours / (ours + theirs.sum(1)), rtol=1e-4)
    assert [(s["groups"], s["fused"]) for s in manifest(world)["scores"]] == [(8, 3), (None, None)]
    with pytest.raises(UsageError, match="--fused-groups 9 is more than the 8 groups there are; choose 1 to 8"):
        run(options(world, groups=8, fused_groups=9))
    with pytest.raises(UsageError, match="--fused-groups 2: no score asked for has groups; ask for neglabel"):
        run(options(world, score=["mcm"], fused_groups=2))
