"""Image embeddings kept on disk: what is found again, and what is encoded anew."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from neglabel import UsageError
from neglabel.pipeline.image_cache import ImageCache
from neglabel.pipeline.image_encoder import ImageEncoder
from neglabel.pipeline.images import open_images
from neglabel.pipeline.progress import Reporter

from .test_image_encoder import pictures

IDENTITY = {"model": "tiny", "checkpoint_sha256": "0" * 64}


@pytest.fixture(scope="module")
def tiny() -> tuple[Any, Any]:
    torch.manual_seed(0)
    vision = {"layers": [1, 1, 1, 1], "width": 16, "image_size": 48, "head_width": 16}
    text = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
    model = open_clip.model.CLIP(embed_dim=32, vision_cfg=vision, text_cfg=text).eval()
    return model, open_clip.transform.image_transform(48, is_train=False)


@pytest.fixture
def encoder(tiny: tuple[Any, Any]) -> ImageEncoder:
    return ImageEncoder(*tiny, batch_size=4, workers=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    for i, image in enumerate(pictures(11)):
        image.save(tmp_path / "pictures" / f"{i:02}.png")
    return tmp_path / "pictures"


class Counting:
    """Counts the pictures that go through the model."""

    def __init__(self, encoder: ImageEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, inner = 0, encoder._forward

        def forward(pixels: Any) -> Any:
            self.count += len(pixels)
            return inner(pixels)

        monkeypatch.setattr(encoder, "_forward", forward)


def run(cache: ImageCache, folder: Path) -> np.ndarray:
    source = open_images(str(folder))
    batches = list(cache.stream(source))
    rows = [row for b in batches for row in b.rows]
    assert rows == sorted(rows)
    assert sorted([*rows, *(row for b in batches for row, _ in b.failures)]) == list(range(len(source.items)))
    return np.concatenate([b.embedding for b in batches])


def test_cache_hits_cost_no_forward_pass(
    encoder: ImageEncoder, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neglabel.pipeline.image_cache.CHUNK", 6)
    counting = Counting(encoder, monkeypatch)
    fresh = ImageCache(tmp_path / "cache", encoder, IDENTITY, Reporter(quiet=True))
    first = run(fresh, folder)
    assert (counting.count, fresh.hits, fresh.misses) == (11, 0, 11)
    again = ImageCache(tmp_path / "cache", encoder, IDENTITY, Reporter(quiet=True))
    np.testing.assert_array_equal(run(again, folder), first)
    assert (counting.count, again.hits) == (11, 11)
    run(ImageCache(tmp_path / "cache", encoder, {**IDENTITY, "checkpoint_sha256": "1"}, Reporter(quiet=True)), folder)
    assert counting.count == 22


def test_a_changed_picture_misses(
    encoder: ImageEncoder, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neglabel.pipeline.image_cache.CHUNK", 6)
    counting = Counting(encoder, monkeypatch)
    cache = ImageCache(tmp_path / "cache", encoder, IDENTITY, Reporter(quiet=True))
    first = run(cache, folder)
    Image.new("RGB", (30, 30), (1, 2, 3)).save(folder / "07.png")
    os.utime(folder / "07.png", ns=(5, 5))
    second = run(cache, folder)
    assert counting.count == 11 + 5  # the chunk that holds it
    assert np.flatnonzero(np.abs(first - second).max(axis=1) > 1e-6).tolist() == [7]


def test_unreadable_pictures_are_tried_again(
    encoder: ImageEncoder, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "03.png").write_text("no")
    counting = Counting(encoder, monkeypatch)
    cache = ImageCache(tmp_path / "cache", encoder, IDENTITY, Reporter(quiet=True))
    first = run(cache, folder)
    np.testing.assert_array_equal(run(cache, folder), first)
    assert counting.count == 10
    assert len(first) == 10


@pytest.mark.parametrize("damage", ["cut", "flip", "junk"])
def test_a_damaged_cache_file_is_made_anew(
    encoder: ImageEncoder, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    counting = Counting(encoder, monkeypatch)
    first = run(ImageCache(tmp_path / "cache", encoder, IDENTITY, Reporter(quiet=True)), folder)
    (file,) = (tmp_path / "cache").iterdir()
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[len(content) // 3] ^= 0x10
    file.write_bytes({"cut": content[:-40], "flip": content, "junk": b"junk"}[damage])
    reporter = Reporter(quiet=True)
    np.testing.assert_array_equal(run(ImageCache(tmp_path / "cache", encoder, IDENTITY, reporter), folder), first)
    assert counting.count == 22
    assert "damaged" in reporter.warnings[0]
    assert [f.name for f in (tmp_path / "cache").iterdir()] == [file.name]
    run(ImageCache(tmp_path / "cache", encoder, IDENTITY, reporter), folder)
    assert counting.count == 22


def test_unknown_weights_are_not_cached(encoder: ImageEncoder, folder: Path, tmp_path: Path) -> None:
    reporter = Reporter(quiet=True)
    run(ImageCache(tmp_path / "cache", encoder, {"model": "tiny"}, reporter), folder)
    assert "not used" in reporter.warnings[0]
    assert not list((tmp_path / "cache").iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="can't be created"):
        ImageCache(tmp_path / "file", encoder, IDENTITY, reporter)


@pytest.mark.parametrize("how", ["model", "consumer", "decoder"])
def test_an_interrupted_chunk_keeps_what_is_encoded(
    encoder: ImageEncoder, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    cache = ImageCache(tmp_path / "cache", encoder, IDENTITY, Reporter(quiet=True))
    with monkeypatch.context() as patch:
        inner, batches = encoder._forward, [0]

        def forward(pixels: Any) -> Any:
            batches[0] += 1
            if how == "model" and batches[0] == 3:
                raise KeyboardInterrupt
            return inner(pixels)

        patch.setattr(encoder, "_forward", forward)
        stream = cache.stream(open_images(str(folder)))
        next(stream)
        next(stream)
        if how == "model":
            with pytest.raises(KeyboardInterrupt):
                next(stream)
        elif how == "consumer":
            stream.close()  # type: ignore[attr-defined]
        else:
            with pytest.raises(RuntimeError, match="stopped"):
                stream.throw(RuntimeError("stopped"))  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]
    counting = Counting(encoder, monkeypatch)
    again = ImageCache(tmp_path / "cache", encoder, IDENTITY, Reporter(quiet=True))
    np.testing.assert_allclose(run(again, folder), encoder.encode(sorted(folder.iterdir())), atol=1e-6)
    assert (again.hits, again.misses) == (8, 3)
    assert counting.count == 3 + 11  # the reference encodes all
    assert len(list((tmp_path / "cache").iterdir())) == 1
