"""The score stage: what it writes, against NumPy; what it refuses; what it survives."""

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
from PIL import Image

from neglabel import NeglabelError, UsageError
from neglabel.pipeline import config, score_sets, store
from neglabel.pipeline.image_encoder import ImageEncoder
from neglabel.pipeline.models import LoadedModel, load_model
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.score import score
from neglabel.pipeline.scores import group_negatives
from neglabel.pipeline.settings import ScoreSettings

D, K, M = 24, 7, 40


def unit(rng: np.random.Generator, n: int, dimension: int = D) -> np.ndarray:
    vectors = rng.normal(size=(n, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def write(path: Path, embedding: np.ndarray, metadata: dict[str, Any] | None = None, **columns: Any) -> Path:
    store.write_table(path, pa.table({**columns, "embedding": store.embedding_array(embedding)}), metadata)
    return path


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Labels, negatives as mine writes them, and embeddings of pictures."""
    rng = np.random.default_rng(0)
    write(tmp_path / "labels.parquet", unit(rng, K), text=[f"class {k}" for k in range(K)])
    metadata = {"format": "neglabel-negatives", "version": 1, "settings": {"random": None}, "model": None}
    words = {"rank": pa.array(range(M), pa.int32()), "text": [f"word {j}" for j in range(M)], "pos": ["noun"] * M}
    write(tmp_path / "negatives.parquet", unit(rng, M), metadata, **words)
    write(tmp_path / "id.parquet", unit(rng, 50), label=[i % (K + 1) for i in range(50)])
    write(tmp_path / "ood.parquet", unit(rng, 30), label=["x", *[""] * 29], id=[f"p{i}" for i in range(30)])
    return tmp_path


def options(world: Path, **changes: Any) -> ScoreSettings:
    given: dict[str, Any] = {
        "negatives": world / "negatives.parquet",
        "labels": world / "labels.parquet",
        "out": world / "out",
        "id": {"in": str(world / "id.parquet")},
        "ood": {"far": str(world / "ood.parquet")},
        "groups": 3,
    }
    return config.make(ScoreSettings, {**given, **changes})


def run(settings: ScoreSettings) -> dict[str, Any]:
    return score(settings, Reporter(quiet=True))


def rows(world: Path, name: str) -> dict[str, list[Any]]:
    return pq.read_table(world / "out" / f"scores-{name}.parquet").to_pydict()


def vectors(path: Path) -> np.ndarray:
    return np.concatenate([b.embedding for b in store.stream(path)]).astype(np.float64)


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
    assert manifest["datasets"] == [
        {"name": "in", "role": "id", "source": str(world / "id.parquet"), "rows": 50, "unreadable": 0},
        {"name": "far", "role": "ood", "source": str(world / "ood.parquet"), "rows": 30, "unreadable": 0},
    ]
    assert manifest["scores"][0] == {"name": "neglabel", "temperature": 0.01, "groups": 3}
    assert manifest["scores"][1] == {"name": "mcm", "temperature": 1.0, "groups": None}
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
    monkeypatch.setattr("neglabel.indexes.flat.BLOCK_VECTORS", 9)
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


def test_bad_input_is_one_sentence_and_writes_nothing(world: Path) -> None:
    rng = np.random.default_rng(1)
    write(world / "thin.parquet", unit(rng, 4, 8), text=list("abcd"))
    hole = unit(rng, M)
    hole[3, 2] = np.nan
    write(world / "nan.parquet", hole, text=["w"] * M)
    write(world / "scores.parquet", unit(rng, 2), {"format": "neglabel-candidates"}, text=["a", "b"])
    (world / "words.txt").write_bytes(b"caf\xe9\n")
    (world / "other").mkdir()
    (world / "other" / "thesis.tex").write_text("")
    (world / "pictures" / "inner").mkdir(parents=True)
    for name in ("a.png", "inner/b.png"):
        Image.new("RGB", (9, 9)).save(world / "pictures" / name)
    here = str(world / "id.parquet")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"score": ["energy"]}, "unknown score 'energy'; valid: neglabel, neglabel-ungrouped, mcm, msp"),
        ({"temperature": {"neglabel": 0.0}}, "above 0"),
        ({"temperature": {"neglabel": float("nan")}}, "above 0"),
        ({"temperature": {"neglabel": 0.1}, "score": ["mcm"]}, "score asked for"),
        ({"groups": 41}, "--groups 1"),
        ({"ood": {"same": f"{world}/../{world.name}/id.parquet"}}, "the same pictures"),
        ({"id": {"a": str(world / "pictures")}, "ood": {"b": str(world / "pictures/inner")}}, "lies inside"),
        ({"ood": {"IN": str(world / "ood.parquet")}}, "give each its own"),
        ({"ood": {"../x": here}}, "file's name"),
        ({"ood": {".x": here}}, "file's name"),
        ({"id": {}, "ood": {}}, "no pictures"),
        ({"ood": {"x": str(world / "gone")}}, "do not exist"),
        ({"labels": world / "gone.txt"}, "does not exist"),
        ({"negatives": world / "gone.parquet"}, "no such file"),
        ({"negatives": world / "nan.parquet"}, "row 3"),
        ({"negatives": world / "scores.parquet"}, "not negatives"),
        ({"negatives": world / "id.parquet"}, "no `text` column"),
        ({"negatives": world / "thin.parquet", "groups": 1}, f"{D} dimensions and negatives .*thin.parquet 8"),
        ({"ood": {"x": str(world / "thin.parquet")}}, f"{D} dimensions and pictures .*thin.parquet 8"),
        ({"negatives": world / "words.txt"}, "not UTF-8"),
        ({"label_prompt": ["no place"]}, "needs {} once"),
        ({"negatives_prompt": "no place"}, "needs {} once"),
        ({"out": world / "other"}, "holds something else"),
        ({"out": world / "words.txt"}, "is a file"),
    ]
    for changes, what in cases:
        out = changes.get("out", world / "out")
        before = sorted(world.rglob("*"))
        settings = ScoreSettings(**{**options(world).model_dump(), **changes})
        with pytest.raises(NeglabelError, match=what.replace("{}", r"\{\}")) as caught:
            run(settings)
        assert "\n" not in str(caught.value)
        assert sorted(world.rglob("*")) == before, changes
        assert not (out / "manifest.json").exists()


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
    assert (manifest["complete"], manifest["datasets"]) == (False, [])
    monkeypatch.setattr(score_sets, "_blocks", inner)
    run(options(world))
    assert json.loads((world / "out" / "manifest.json").read_text())["complete"] is True


# With a model: the small real one of conftest, through load_model.


@pytest.fixture
def gallery(world: Path, tiny_model: Path) -> Path:
    rng = np.random.default_rng(3)
    for folder, n in (("cats/class_1", 3), ("cats/class 2", 2), ("cars", 4)):
        (world / folder).mkdir(parents=True)
        for i in range(n):
            Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(world / folder / f"{i}.png")
    (world / "labels.txt").write_text("class 0\nclass 1\nclass 2\n")
    (world / "words.txt").write_text("a photo of rust\na photo of rain\na photo of law\n")
    return world


def with_pictures(world: Path, model: Path | None, **changes: Any) -> ScoreSettings:
    given = {
        "id": {"cats": str(world / "cats")},
        "ood": {"cars": str(world / "cars")},
        "labels": world / "labels.txt",
        "negatives": world / "words.txt",
        "groups": 1,
        "model": None if model is None else str(model),
        "device": "cpu",
    }
    return options(world, **{**given, **changes})


def mined_with(world: Path, loaded: LoadedModel, **changes: Any) -> Path:
    metadata = {
        "format": "neglabel-negatives",
        "version": 1,
        "settings": {"random": 4},
        "model": {**loaded.identity, **changes},
        "labels": {"count": 3, "path": "", "prompts": ["a sketch of {}"]},
    }
    embedding = unit(np.random.default_rng(9), 5, 32)
    return write(world / "mined.parquet", embedding, metadata, text=[f"w{i}" for i in range(5)])


def test_pictures_and_words_through_a_real_model(gallery: Path, tiny_model: Path) -> None:
    summary = run(with_pictures(gallery, tiny_model, label_prompt=["a {}", "the {}"], negatives_prompt="{}!"))
    found = rows(gallery, "cats")
    assert found["id"] == ["class 2/0.png", "class 2/1.png", "class_1/0.png", "class_1/1.png", "class_1/2.png"]
    assert found["label"] == ["class 2"] * 2 + ["class 1"] * 3
    assert set(rows(gallery, "cars")["label"]) == {""}
    assert summary["device"] == "cpu"
    loaded = load_model(str(tiny_model), device="cpu")
    import torch

    def texts(prompts: list[str]) -> np.ndarray:
        return loaded.model.encode_text(loaded.tokenizer(prompts), normalize=True).numpy().astype(np.float64)

    with torch.no_grad():
        pixels = torch.stack([loaded.preprocess(Image.open(p)) for p in found["path"]])
        images = loaded.model.encode_image(pixels, normalize=True).numpy().astype(np.float64)
        names = ["class 0", "class 1", "class 2"]
        labels = sum(texts([p.format(n) for n in names]) for p in ("a {}", "the {}"))
        labels /= np.linalg.norm(labels, axis=1, keepdims=True)
        words = texts([line + "!" for line in (gallery / "words.txt").read_text().splitlines()])
    a, b = np.exp(images @ labels.T / 0.01).sum(1), np.exp(images @ words.T / 0.01).sum(1)
    np.testing.assert_allclose(found["neglabel_logit"], np.log(a / b), atol=5e-3)
    assert pq.read_table(gallery / "out" / "negatives.parquet").column_names == ["rank", "text"]
    manifest = json.loads((gallery / "out" / "manifest.json").read_text())
    assert manifest["model"] == dict(loaded.identity)


def test_the_negatives_say_which_model_and_prompts(gallery: Path, tiny_model: Path, tmp_path: Path) -> None:
    loaded = load_model(str(tiny_model), device="cpu")
    mined = mined_with(gallery, loaded)
    run(with_pictures(gallery, None, negatives=mined))
    own = rows(gallery, "cats")
    manifest = json.loads((gallery / "out" / "manifest.json").read_text())
    assert manifest["negatives"]["random"] is True
    assert manifest["settings"]["label_prompt"] == ["a sketch of {}"]
    assert manifest["model"]["checkpoint_sha256"] == loaded.identity["checkpoint_sha256"]
    run(with_pictures(gallery, tiny_model, negatives=mined, label_prompt=["a sketch of {}"]))
    assert rows(gallery, "cats")["neglabel_logit"] == own["neglabel_logit"]
    run(with_pictures(gallery, tiny_model, negatives=mined, label_prompt=["{}"]))
    assert rows(gallery, "cats")["neglabel_logit"] != own["neglabel_logit"]


def test_another_model_than_the_negatives_is_refused(gallery: Path, tiny_model: Path) -> None:
    mined = mined_with(gallery, load_model(str(tiny_model), device="cpu"), checkpoint_sha256="f" * 64)
    with pytest.raises(UsageError, match=r"is not the model of negatives .*checkpoint_sha256"):
        run(with_pictures(gallery, tiny_model, negatives=mined))
    write(gallery / "wide.parquet", unit(np.random.default_rng(1), 3, 48), text=["a", "b", "c"])
    with pytest.raises(UsageError, match="dimensions"):
        run(with_pictures(gallery, tiny_model, negatives=gallery / "wide.parquet"))
    assert not (gallery / "out").exists()


def test_unreadable_pictures_are_listed_and_strict_stops(gallery: Path, tiny_model: Path) -> None:
    (gallery / "cars" / "1.png").write_text("no picture")
    (gallery / "cars" / "3.png").write_bytes((gallery / "cars" / "3.png").read_bytes()[:100])
    summary = run(with_pictures(gallery, tiny_model))
    assert rows(gallery, "cars")["id"] == ["0.png", "2.png"]
    listed = pq.read_table(gallery / "out" / "unreadable.parquet").to_pylist()
    assert [(row["dataset"], row["id"]) for row in listed] == [("cars", "1.png"), ("cars", "3.png")]
    assert "not an image" in listed[0]["reason"]
    assert summary["datasets"][1]["unreadable"] == 2
    assert "2 of 4 pictures" in summary["warnings"][-1]
    with pytest.raises(NeglabelError, match=r"cars/1\.png can't be decoded"):
        run(with_pictures(gallery, tiny_model, strict=True, out=gallery / "strict"))
    assert [p.name for p in (gallery / "strict").iterdir() if "cars" in p.name or p.name.startswith(".")] == []


def test_a_set_of_broken_pictures_gives_an_empty_table(gallery: Path, tiny_model: Path) -> None:
    for path in (gallery / "cars").iterdir():
        path.write_text("no picture")
    summary = run(with_pictures(gallery, tiny_model))
    assert rows(gallery, "cars")["id"] == []
    assert summary["datasets"][1]["rows"] == 0
    assert summary["datasets"][1]["id_share"] is None


def test_a_cache_costs_no_forward_pass(gallery: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts, inner = [0], ImageEncoder._forward

    def forward(self: ImageEncoder, pixels: Any) -> Any:
        counts[0] += len(pixels)
        return inner(self, pixels)

    monkeypatch.setattr(ImageEncoder, "_forward", forward)
    settings = with_pictures(gallery, tiny_model, cache=gallery / "cache")
    run(settings)
    first = rows(gallery, "cats")
    assert counts == [9]
    run(settings)
    assert counts == [9]
    assert rows(gallery, "cats") == first
    (gallery / "words.txt").write_text("something else\n")
    run(settings)
    assert counts == [9]
    assert rows(gallery, "cats")["neglabel_logit"] != first["neglabel_logit"]
    Image.new("RGB", (31, 31), (5, 5, 5)).save(gallery / "cars" / "0.png")
    run(settings)
    assert counts == [13]


def test_ctrl_c_leaves_no_half_written_file(gallery: Path, tiny_model: Path) -> None:
    """A real process, interrupted while it encodes; the same command then finishes."""
    for i in range(400):
        shutil.copy(gallery / "cats" / "class_1" / "0.png", gallery / "cars" / f"copy{i}.png")
    settings = with_pictures(gallery, tiny_model, batch_size=1)
    (gallery / "again.toml").write_text(config.dump(settings))
    code = (
        "import sys; from pathlib import Path; from neglabel.pipeline import config; "
        "from neglabel.pipeline.progress import Reporter; from neglabel.pipeline.score import score; "
        "from neglabel.pipeline.settings import ScoreSettings; "
        "score(config.make(ScoreSettings, {}, Path(sys.argv[1])), Reporter())"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(gallery / "again.toml")], stderr=subprocess.DEVNULL) as run_:
        while not list((gallery / "out").glob(".scores-cars*")) and run_.poll() is None:
            time.sleep(0.01)
        run_.send_signal(signal.SIGINT)
        assert run_.wait(30) != 0
    assert sorted(p.name for p in (gallery / "out").iterdir()) == ["manifest.json", "scores-cats.parquet"]
    run(settings)
    assert len(rows(gallery, "cars")["id"]) == 404


def test_embeddings_need_no_model(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neglabel.pipeline.models.load_model", None)
    run(options(world))
