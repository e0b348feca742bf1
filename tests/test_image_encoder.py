"""Pictures → unit vectors: equal to open_clip's own, streaming."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from neglabel import NeglabelError
from neglabel.pipeline.image_encoder import BATCHES_AHEAD, ImageEncoder
from neglabel.pipeline.images import open_images


def pictures(n: int, seed: int = 0) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(20, 90, (n, 2))
    return [Image.fromarray(rng.integers(0, 255, (h, w, 3), np.uint8)) for h, w in sizes]


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


@pytest.mark.parametrize("name", ["RN50", "ViT-B-32", "ViT-B-16-quickgelu"])
def test_equals_open_clips_encode_image(name: str) -> None:
    torch.manual_seed(0)
    model, _, preprocess = open_clip.create_model_and_transforms(name, pretrained=None)
    model.eval()
    images = [*pictures(3), Image.new("RGBA", (50, 40), (10, 200, 30, 90)), Image.new("L", (30, 60), 77)]
    ours = ImageEncoder(model, preprocess, batch_size=2).encode(images)
    with torch.no_grad():
        theirs = model.encode_image(torch.stack([preprocess(image) for image in images]), normalize=True).numpy()
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() <= 2e-5
    assert np.abs(np.linalg.norm(ours, axis=1) - 1).max() <= 1e-6


def test_neighbours_order_and_batches_do_not_matter(tiny: tuple[Any, Any]) -> None:
    images = pictures(9)
    whole = ImageEncoder(*tiny, batch_size=9).encode(images)
    for size, order in ((1, range(9)), (4, range(9)), (4, [3, 1, 8, 0, 2, 7, 6, 5, 4])):
        some = ImageEncoder(*tiny, batch_size=size, workers=3).encode([images[i] for i in order])
        assert np.abs(some - whole[list(order)]).max() <= 1e-6


def test_files_and_no_pictures_at_all(encoder: ImageEncoder, folder: Path) -> None:
    files = sorted(folder.iterdir())
    np.testing.assert_array_equal(encoder.encode(files), encoder.encode([Image.open(f) for f in files]))
    assert encoder.encode([]).shape == (0, 32)
    (folder / "bad.png").write_text("no")
    with pytest.raises(NeglabelError, match=r"picture 1 .* not an image"):
        encoder.encode([files[0], folder / "bad.png"])


def test_stream_keeps_order_and_lists_failures(encoder: ImageEncoder, folder: Path) -> None:
    (folder / "00.png").write_text("no")
    (folder / "05.png").write_bytes((folder / "05.png").read_bytes()[:200])
    batches = list(encoder.stream(open_images(str(folder)), range(11)))
    assert [row for b in batches for row in b.rows] == [1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert [(row, why.split(" (")[0]) for b in batches for row, why in b.failures] == [
        (0, "not an image"), (5, "truncated")
    ]  # fmt: skip
    assert sum(len(b) for b in batches) == 11
    assert all(b.embedding.shape == (len(b.rows), 32) for b in batches)


def test_a_preprocessing_that_fails_is_the_pictures_failure(tiny: tuple[Any, Any], folder: Path) -> None:
    def broken(image: Image.Image) -> Any:
        raise MemoryError

    (batch, *_) = ImageEncoder(tiny[0], broken, batch_size=20).stream(open_images(str(folder)), range(2))
    assert [why for _, why in batch.failures] == ["MemoryError", "MemoryError"]
    assert batch.embedding.shape == (0, 32)


def test_decoding_is_bounded_and_stops_with_its_consumer(tiny: tuple[Any, Any]) -> None:
    begun: list[int] = []
    lock = threading.Lock()

    class Endless:
        spec, embeddings, items = "", None, range(10**9)

        def open(self, row: int) -> Image.Image:
            with lock:
                begun.append(row)
            return Image.new("RGB", (8, 8))

        def signature(self, row: int) -> str:
            return ""

    stream = ImageEncoder(*tiny, batch_size=4, workers=2).stream(Endless(), range(10**9))  # type: ignore[arg-type]
    next(stream)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert max(begun) < (2 + BATCHES_AHEAD) * 4
    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]


def test_nan_weights_are_refused(tiny: tuple[Any, Any]) -> None:
    class Broken(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
            return torch.full((len(pixels), 3), torch.nan)

    with pytest.raises(NeglabelError, match="NaN"):
        ImageEncoder(Broken(), tiny[1]).encode(pictures(1))
