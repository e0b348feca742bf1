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
from neglabel.pipeline.clock import Clock
from neglabel.pipeline.image_encoder import BATCHES_AHEAD, ImageEncoder
from neglabel.pipeline.image_tower import COSINE
from neglabel.pipeline.images import open_images

from .make_pictures import picture_folder, pictures, tiny_encoder, tiny_tower


@pytest.fixture
def encoder() -> ImageEncoder:
    return tiny_encoder()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return picture_folder(tmp_path / "pictures")


@pytest.mark.parametrize("name", ["RN50", "ViT-B-32", "ViT-B-16-quickgelu"])
def test_equals_open_clips_encode_image(name: str) -> None:
    torch.manual_seed(0)
    config = open_clip.get_model_config(name)
    config["text_cfg"].update(layers=1, vocab_size=64)  # not looked at here
    if name != "RN50":
        config["vision_cfg"]["layers"] = 3  # all alike
    model, preprocess = open_clip.model.CLIP(**config).eval(), open_clip.transform.image_transform(224, is_train=False)
    images = [*pictures(3), Image.new("RGBA", (50, 40), (10, 200, 30, 90)), Image.new("L", (30, 60), 77)]
    ours = ImageEncoder(model, preprocess, batch_size=2).encode(images)
    with torch.no_grad():
        theirs = model.encode_image(torch.stack([preprocess(image) for image in images]), normalize=True).numpy()
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() <= 2e-5
    assert np.abs(np.linalg.norm(ours, axis=1) - 1).max() <= 1e-6


def test_neighbours_order_and_batches_do_not_matter() -> None:
    images = pictures(9)
    whole = tiny_encoder(batch_size=9).encode(images)
    for size, order in ((1, range(9)), (4, range(9)), (4, [3, 1, 8, 0, 2, 7, 6, 5, 4])):
        some = tiny_encoder(batch_size=size, workers=3).encode([images[i] for i in order])
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


def test_a_preprocessing_that_fails_is_the_pictures_failure(folder: Path) -> None:
    def broken(image: Image.Image) -> Any:
        raise MemoryError

    (batch, *_) = ImageEncoder(tiny_tower()[0], broken, batch_size=20).stream(open_images(str(folder)), range(2))
    assert [why for _, why in batch.failures] == ["MemoryError", "MemoryError"]
    assert batch.embedding.shape == (0, 32)


def test_decoding_is_bounded_and_stops_with_its_consumer() -> None:
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

    stream = tiny_encoder().stream(Endless(), range(10**9))  # type: ignore[arg-type]
    next(stream)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert max(begun) < (2 + BATCHES_AHEAD) * 4
    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]


def test_nan_weights_are_refused() -> None:
    class Broken(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
            return torch.full((len(pixels), 3), torch.nan)

    with pytest.raises(NeglabelError, match="NaN"):
        ImageEncoder(Broken(), tiny_tower()[1]).encode(pictures(1))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_half_precision_is_close_and_silent_where_it_is(precision: str, kind: str) -> None:
    model, preprocess = tiny_tower()
    if kind == "vit":
        torch.manual_seed(0)
        vision = {"layers": 3, "width": 64, "head_width": 16, "patch_size": 16, "image_size": 48}
        text = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
        model = open_clip.model.CLIP(embed_dim=32, vision_cfg=vision, text_cfg=text).eval()
    notices: list[str] = []
    images = pictures(6)
    exact = ImageEncoder(model, preprocess, batch_size=4).encode(images)
    half = ImageEncoder(model, preprocess, batch_size=4, precision=precision, notice=notices.append)
    found = half.encode(images)
    assert np.abs(found - exact).max() > 1e-6
    assert (found * exact).sum(axis=1).min() >= COSINE
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() <= 1e-6
    assert notices == []
    assert half.tower.computed_in == precision
    # Text goes on in float32.
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_half_precision_that_is_too_coarse_is_said_once_with_its_figure() -> None:
    class Cancelling(torch.nn.Module):
        """Large numbers that all but cancel: bf16 has no digits left."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.linear = torch.nn.Linear(3 * 48 * 48, 8)
            torch.nn.init.constant_(self.linear.bias, 300.0)

        def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.linear(pixels.flatten(1)).float() - 300.0

    model, images, notices = Cancelling().eval().requires_grad_(False), pictures(6), list[str]()
    preprocess = tiny_tower()[1]
    exact = ImageEncoder(model, preprocess).encode(images)
    found = ImageEncoder(model, preprocess, batch_size=3, precision="bf16", notice=notices.append).encode(images)
    (notice,) = notices
    smallest = float((found[:3].astype(np.float64) * exact[:3]).sum(axis=1).min())
    assert smallest < COSINE
    assert f"among the first 3 is {smallest:.4f}" in notice


def test_a_batch_in_flight_changes_neither_order_nor_failures(encoder: ImageEncoder, folder: Path) -> None:
    """The queue that CUDA gets, run with everything on the CPU."""
    for bad in ("01.png", "04.png", "05.png", "06.png", "07.png"):  # the second batch has no picture at all
        (folder / bad).write_text("no")
    source = open_images(str(folder))
    plain = list(encoder.stream(source, range(11)))
    encoder.device = torch.device("cuda")
    queued = list(encoder.stream(source, range(11)))
    assert [(list(b.rows), list(b.failures)) for b in queued] == [(list(b.rows), list(b.failures)) for b in plain]
    for a, b in zip(queued, plain, strict=True):
        np.testing.assert_array_equal(a.embedding, b.embedding)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_on_cuda_as_on_the_cpu(precision: str, folder: Path) -> None:
    (folder / "05.png").write_text("no")
    torch.manual_seed(0)
    model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32", pretrained=None)
    source, notices = open_images(str(folder)), list[str]()
    expected = ImageEncoder(model.eval(), preprocess, batch_size=4).encode(
        [path for path in sorted(folder.iterdir()) if path.name != "05.png"]
    )
    there = ImageEncoder(model.to("cuda"), preprocess, batch_size=4, precision=precision, notice=notices.append)
    batches = list(there.stream(source, range(11)))
    found = np.concatenate([b.embedding for b in batches])
    assert [row for b in batches for row in b.rows] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert notices == []
    if precision == "fp32":
        assert np.abs(found - expected).max() <= 2e-5
    else:
        assert (found * expected).sum(axis=1).min() >= COSINE


def test_time_goes_to_the_step_that_took_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("neglabel.pipeline.clock.time.perf_counter", lambda: clock[0])
    times = Clock(("decode", "tower", "score"))
    encoder = tiny_encoder(times=times)
    inner = encoder._forward

    def forward(pixels: Any) -> Any:
        clock[0] += 5.0
        return inner(pixels)

    monkeypatch.setattr(encoder, "_forward", forward)
    before = dict(times.seconds)
    for _ in encoder.stream(open_images(str(folder)), range(11)):
        with times.busy("score"):
            clock[0] += 0.5
        clock[0] += 100.0  # nobody's
    assert times.since(before) == {"decode": 0.0, "tower": 15.0, "score": 1.5}
