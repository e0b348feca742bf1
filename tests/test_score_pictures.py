"""The score stage on pictures and words, with the small real model of conftest, through load_model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from neglabel import NeglabelError, UsageError
from neglabel.pipeline.image_encoder import ImageEncoder
from neglabel.pipeline.models import load_model

from .make_world import make_gallery, make_world, mined_with, rows, run, unit, with_pictures, write


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    return make_gallery(make_world(tmp_path))


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


def test_each_data_set_says_where_its_time_went(gallery: Path, tiny_model: Path) -> None:
    settings = with_pictures(gallery, tiny_model, cache=gallery / "cache")
    for cached in (False, True):
        summary = run(settings)
        listed = json.loads((gallery / "out" / "manifest.json").read_text())["datasets"]
        assert [data["time"] for data in listed] == [data["time"] for data in summary["datasets"]]
        for data in listed:
            assert list(data["time"]) == ["decode", "tower", "score", "read"]
            assert data["time"]["score"] > 0
            # From the cache nothing is decoded and no tower runs.
            assert (data["time"]["tower"] == 0) is cached
        assert sum(sum(data["time"].values()) for data in listed) <= summary["seconds"]


def test_pictures_in_half_precision(gallery: Path, tiny_model: Path) -> None:
    cache = gallery / "cache"
    run(with_pictures(gallery, tiny_model, cache=cache))
    exact = rows(gallery, "cats")["mcm_logit"]
    summary = run(with_pictures(gallery, tiny_model, cache=cache, precision="bf16"))
    half = rows(gallery, "cats")["mcm_logit"]
    assert summary["cached"] == 0
    assert half != exact
    np.testing.assert_allclose(half, exact, atol=0.02)
    assert json.loads((gallery / "out" / "manifest.json").read_text())["settings"]["precision"] == "bf16"
    assert run(with_pictures(gallery, tiny_model, cache=cache))["cached"] == 9
    assert rows(gallery, "cats")["mcm_logit"] == exact
    with pytest.raises(UsageError, match="precision"):
        with_pictures(gallery, tiny_model, precision="fp8")
