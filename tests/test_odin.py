"""ODIN's noise: pictures moved by the gradient, against autograd in float64 and pytorch-ood; ``score --odin-noise``."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from neglabel import UsageError
from neglabel.pipeline.image_encoder import ImageEncoder
from neglabel.pipeline.models import load_model
from neglabel.pipeline.odin import Noise, channel_std, moved

from .make_pictures import pictures, tiny_tower
from .make_world import make_gallery, make_world, rows, run, unit, with_pictures

SIZE, T = 0.01, 10.0


@pytest.fixture
def labels() -> np.ndarray:
    return unit(np.random.default_rng(5), 6, 32)


def step(model: Any, pixels: torch.Tensor, labels: np.ndarray, std: torch.Tensor) -> torch.Tensor:
    """One picture's step as ODIN's code takes it, in float64: the cross-entropy of the class that is predicted."""
    x = pixels.double()[None].requires_grad_(True)
    h = model.encode_image(x)
    logits = (h / h.norm(dim=-1, keepdim=True)) @ torch.from_numpy(labels).double().T / T
    torch.nn.functional.cross_entropy(logits, logits.argmax(dim=-1)).backward()
    assert x.grad is not None
    return -(SIZE * x.grad.sign() / std.double()[None, :, None, None])[0]


def test_the_step_is_odins(labels: np.ndarray) -> None:
    model, preprocess = tiny_tower()
    pixels = torch.stack([preprocess(image) for image in pictures(5)])
    std = channel_std(preprocess)

    def vectors(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(model.encode_image(x), dim=-1)

    with torch.inference_mode():  # as a caller may have it
        found = moved(pixels, vectors, Noise(SIZE, labels, T), std) - pixels
    exact = deepcopy(model).double()
    expected = torch.stack([step(exact, picture, labels, std) for picture in pixels])
    # Each value is ±ε/σ of its channel, or 0 where nothing depends on it; signs near 0 may differ in float32.
    assert float((found - expected).abs().gt(1e-5).float().mean()) < 0.005
    assert float((found != 0).float().mean()) > 0.5


def test_pytorch_ood_moves_alike(labels: np.ndarray) -> None:
    peer = pytest.importorskip("pytorch_ood.detector", reason="pytorch-ood is not installed")
    model, preprocess = tiny_tower()
    pixels, std = torch.stack([preprocess(image) for image in pictures(4)]), channel_std(preprocess)

    def vectors(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(model.encode_image(x), dim=-1)

    theirs = peer.odin_preprocessing(
        lambda x: vectors(x) @ torch.from_numpy(labels).T, pixels, eps=SIZE, temperature=T, norm_std=std.tolist()
    )
    same = (moved(pixels, vectors, Noise(SIZE, labels, T), std) - theirs).abs() < 1e-5
    assert float(same.float().mean()) > 0.995


@pytest.mark.parametrize("batch_size", [2, 9])
def test_an_encoder_gives_vectors_of_moved_pictures(labels: np.ndarray, batch_size: int) -> None:
    model, preprocess = tiny_tower()
    images, std = pictures(5), channel_std(preprocess)
    found = ImageEncoder(model, preprocess, batch_size=batch_size, noise=Noise(SIZE, labels, T)).encode(images)
    pixels = torch.stack([preprocess(image) for image in images])
    exact = deepcopy(model).double()
    with torch.no_grad():
        still = exact.encode_image(pixels.double(), normalize=True).numpy()
    steps = torch.stack([step(exact, picture, labels, std) for picture in pixels])
    with torch.no_grad():
        expected = exact.encode_image(pixels.double() + steps, normalize=True).numpy()
    assert np.abs(found - expected).max() < 1e-2 * np.abs(expected - still).max()
    # What ODIN is for: the nearest label's share grows.
    own = (still @ labels.T).argmax(axis=1)[:, None]
    assert (np.take_along_axis(found @ labels.T, own, 1) > np.take_along_axis(still @ labels.T, own, 1)).all()
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() <= 1e-6


def test_no_noise_moves_nothing(labels: np.ndarray) -> None:
    images = pictures(4)
    plain, none = (ImageEncoder(*tiny_tower(), noise=noise) for noise in (None, Noise(0.0, labels, T)))
    np.testing.assert_array_equal(none.encode(images), plain.encode(images))


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    return make_gallery(make_world(tmp_path))


def test_scores_of_moved_pictures(gallery: Path, tiny_model: Path, tmp_path: Path) -> None:
    asked = with_pictures(gallery, tiny_model, score=["odin"], odin_noise=SIZE, label_prompt=["a {}"])
    run(asked)
    found = rows(gallery, "cats")
    loaded = load_model(str(tiny_model), device="cpu")
    exact = deepcopy(loaded.model).double()
    with torch.no_grad():
        texts = loaded.model.encode_text(loaded.tokenizer(["a class 0", "a class 1", "a class 2"]), normalize=True)
    std = channel_std(loaded.preprocess)
    pixels = [loaded.preprocess(Image.open(path)) for path in found["path"]]
    still = torch.stack(pixels).double()
    ahead = still + torch.stack([step(exact, picture, texts.numpy(), std) for picture in pixels])
    with torch.no_grad():
        scores = [
            torch.softmax(exact.encode_image(x, normalize=True) @ texts.double().T / T, dim=-1).amax(dim=-1).numpy()
            for x in (still, ahead)
        ]
    error = np.abs(np.asarray(found["odin"]) - scores[1]).max()
    assert error < 0.02 * np.abs(scores[1] - scores[0]).max() + 1e-7
    manifest = json.loads((gallery / "out" / "manifest.json").read_text())
    assert manifest["settings"]["odin_noise"] == SIZE


def test_the_cache_keeps_moved_pictures_apart(gallery: Path, tiny_model: Path, tmp_path: Path) -> None:
    def cached(**changes: Any) -> tuple[int, list[float]]:
        asked = with_pictures(gallery, tiny_model, cache=tmp_path / "cache", **{"score": ["odin"], **changes})
        return run(asked)["cached"], rows(gallery, "cats")[asked.score[0]]

    none, plain = cached(score=["tempered-msp"])
    assert none == 0
    none, noisy = cached(odin_noise=SIZE)
    assert none == 0
    assert noisy != plain
    assert cached(odin_noise=SIZE) == (9, noisy)
    assert cached(score=["tempered-msp"]) == (9, plain)
    assert cached(odin_noise=2 * SIZE)[0] == 0
    assert cached(odin_noise=SIZE, label_prompt=["my {}"])[0] == 0
    assert cached(odin_noise=SIZE, temperature={"odin": 1.0})[0] == 0


def test_refusals(gallery: Path, tiny_model: Path) -> None:
    with pytest.raises(UsageError, match=r"--odin-noise .* --score odin alone"):
        run(with_pictures(gallery, tiny_model, odin_noise=SIZE))
    with pytest.raises(UsageError, match=r"--score odin needs --odin-noise, .* 0\.0014"):
        run(with_pictures(gallery, tiny_model, score=["odin"]))
    with pytest.raises(UsageError, match="ODIN without noise is --score tempered-msp"):
        run(with_pictures(gallery, tiny_model, score=["odin"], odin_noise=0))
    with pytest.raises(UsageError, match="--odin-noise works with --engine local alone"):
        run(with_pictures(gallery, tiny_model, score=["odin"], odin_noise=SIZE, engine="ray"))
    with pytest.raises(UsageError, match=r"--odin-noise needs pictures, and .*id.parquet holds embeddings"):
        run(with_pictures(gallery, tiny_model, score=["odin"], odin_noise=SIZE,
                          id={"in": str(gallery / "id.parquet")}))  # fmt: skip
    with pytest.raises(UsageError, match=r"odin.noise"):
        with_pictures(gallery, tiny_model, score=["odin"], odin_noise=1.5)
