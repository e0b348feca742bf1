"""Image embeddings kept on disk: what is found again, and what is encoded anew."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from neglabel import UsageError
from neglabel.pipeline import image_shards
from neglabel.pipeline.image_cache import ImageCache
from neglabel.pipeline.image_encoder import ImageEncoder
from neglabel.pipeline.images import open_images
from neglabel.pipeline.progress import Reporter

from .make_pictures import picture_folder, tiny_encoder

IDENTITY = {"model": "tiny", "checkpoint_sha256": "0" * 64}


@pytest.fixture
def encoder() -> ImageEncoder:
    return tiny_encoder()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return picture_folder(tmp_path / "pictures")


class Counting:
    """Counts the pictures that go through the model."""

    def __init__(self, encoder: ImageEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, inner = 0, encoder._forward

        def forward(pixels: Any) -> Any:
            self.count += len(pixels)
            return inner(pixels)

        monkeypatch.setattr(encoder, "_forward", forward)


def kept(cache: Path) -> list[Path]:
    """The shards of a cache."""
    return list(cache.glob("*/images-*.parquet"))


def manifest_of(cache: Path) -> dict[str, Any]:
    (path,) = cache.glob("*/manifest.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


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


@pytest.mark.parametrize("damage", ["cut", "flip", "junk", "gone"])
@pytest.mark.parametrize("what", ["shard", "manifest"])
def test_a_damaged_cache_file_is_made_anew(
    encoder: ImageEncoder, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str, what: str
) -> None:
    counting = Counting(encoder, monkeypatch)
    first = run(ImageCache(tmp_path / "cache", encoder, IDENTITY, Reporter(quiet=True)), folder)
    (file,) = (tmp_path / "cache").glob("*/images-*.parquet" if what == "shard" else "*/manifest.json")
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[content.index(b'"rows"') + 1 if what == "manifest" else len(content) // 3] ^= 0x10
    file.write_bytes({"cut": content[:-40], "flip": content, "junk": b"junk", "gone": b""}[damage])
    if damage == "gone":
        file.unlink()
    reporter = Reporter(quiet=True)
    np.testing.assert_array_equal(run(ImageCache(tmp_path / "cache", encoder, IDENTITY, reporter), folder), first)
    assert counting.count == 22
    if (damage, what) == ("gone", "manifest"):
        assert reporter.warnings == []  # as in a cache that is new
    else:
        (warning,) = reporter.warnings
        assert "encoded again" in warning
    assert len(kept(tmp_path / "cache")) == 1
    again = Reporter(quiet=True)
    run(ImageCache(tmp_path / "cache", encoder, IDENTITY, again), folder)
    assert (counting.count, again.warnings) == (22, [])


def test_the_manifest_says_what_made_the_cache_and_proves_its_files(
    encoder: ImageEncoder, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neglabel.pipeline.image_cache.CHUNK", 6)
    (folder / "08.png").write_text("no")
    run(ImageCache(tmp_path / "cache", encoder, IDENTITY, Reporter(quiet=True)), folder)
    manifest = manifest_of(tmp_path / "cache")
    assert (manifest["format"], manifest["version"]) == ("neglabel-images", 1)
    assert manifest["model"] == IDENTITY
    assert (manifest["precision"], manifest["preprocessing"]) == ("fp32", repr(encoder.preprocess))
    assert [(shard["pictures"], shard["rows"]) for shard in manifest["shards"]] == [(6, 6), (5, 4)]
    for shard in manifest["shards"]:
        file = next((tmp_path / "cache").glob(f"*/{shard['file']}"))
        assert hashlib.sha256(file.read_bytes()).hexdigest() == shard["sha256"]
        table = pq.read_table(file)
        assert table.num_rows == shard["rows"]
    assert table["offset"].to_pylist() == [0, 1, 3, 4]


def test_models_precisions_and_data_sets_share_a_cache(
    encoder: ImageEncoder, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, other = tmp_path / "cache", picture_folder(tmp_path / "other", 5, seed=1)

    def hits(encoder: ImageEncoder, pictures: Path, **identity: str) -> int:
        made = ImageCache(cache, encoder, {**IDENTITY, **identity}, Reporter(quiet=True))
        run(made, pictures)
        return made.hits

    assert [hits(encoder, folder), hits(encoder, other), hits(encoder, folder), hits(encoder, other)] == [0, 0, 11, 5]
    assert hits(encoder, folder, checkpoint_sha256="1") == 0
    half = tiny_encoder(precision="bf16")
    assert [hits(half, folder), hits(half, folder), hits(encoder, folder)] == [0, 11, 11]
    # The same weights by another name, and the same pictures at another place, are the same.
    assert hits(encoder, shutil.copytree(folder, tmp_path / "moved"), model="elsewhere", pretrained="x.pt") == 11
    assert len(list(cache.iterdir())) == 3


def test_files_of_an_earlier_neglabel_are_left_alone_and_named(
    encoder: ImageEncoder, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").mkdir()
    old = tmp_path / "cache" / f"images-{'a' * 32}.parquet"
    old.write_bytes(b"as it was")
    reporter = Reporter()
    run(ImageCache(tmp_path / "cache", encoder, IDENTITY, reporter), folder)
    assert "earlier neglabel" in capsys.readouterr().err
    assert (old.read_bytes(), reporter.warnings) == (b"as it was", [])


def test_killed_between_a_shard_and_its_record_what_was_recorded_is_kept(
    encoder: ImageEncoder, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stream(cache: ImageCache) -> Any:
        return cache.stream(open_images(str(folder)))

    first = stream(ImageCache(tmp_path / "cache", encoder, IDENTITY, Reporter(quiet=True)))
    next(first)
    first.close()  # four pictures are recorded
    with monkeypatch.context() as patch:
        patch.setattr(image_shards, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            list(stream(ImageCache(tmp_path / "cache", encoder, IDENTITY, Reporter(quiet=True))))
    reporter = Reporter(quiet=True)
    again = ImageCache(tmp_path / "cache", encoder, IDENTITY, reporter)
    run(again, folder)
    assert (again.hits, again.misses, reporter.warnings) == (4, 7, [])
    assert len(kept(tmp_path / "cache")) == 1


def test_finished_shards_stay_when_a_later_one_fails(
    encoder: ImageEncoder, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neglabel.pipeline.image_cache.CHUNK", 4)
    stream = ImageCache(tmp_path / "cache", encoder, IDENTITY, Reporter(quiet=True)).stream(open_images(str(folder)))
    next(stream)
    next(stream)
    with pytest.raises(RuntimeError, match="stopped"):
        stream.throw(RuntimeError("stopped"))  # type: ignore[attr-defined]
    again = ImageCache(tmp_path / "cache", encoder, IDENTITY, Reporter(quiet=True))
    run(again, folder)
    assert (again.hits, again.misses) == (8, 3)


def test_two_processes_keep_each_others_shards(encoder: ImageEncoder, folder: Path, tmp_path: Path) -> None:
    other = picture_folder(tmp_path / "other", 5, seed=1)
    caches = [ImageCache(tmp_path / "cache", encoder, IDENTITY, Reporter(quiet=True)) for _ in range(2)]
    run(caches[0], folder)
    run(caches[1], other)
    assert {shard["pictures"] for shard in manifest_of(tmp_path / "cache")["shards"]} == {11, 5}


def test_unknown_weights_are_not_cached(encoder: ImageEncoder, folder: Path, tmp_path: Path) -> None:
    reporter = Reporter(quiet=True)
    run(ImageCache(tmp_path / "cache", encoder, {"model": "tiny"}, reporter), folder)
    assert "not used" in reporter.warnings[0]
    assert not (tmp_path / "cache").exists()
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
    assert len(kept(tmp_path / "cache")) == 1
