"""Where pictures come from: files, folders and lists; labels, decoding, and what is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from neglabel import NeglabelError, UsageError
from neglabel.pipeline.images import Source, decode, fingerprint, open_images, open_path, reason


def picture(path: Path, colour: tuple[int, ...] = (200, 30, 30), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (12, 10), colour).save(path)
    return path


def listed(source: Source) -> list[tuple[str, str | int | None]]:
    return [(item.id, item.label) for item in source.items]


def test_one_file(tmp_path: Path) -> None:
    source = open_images(str(picture(tmp_path / "cat.png")))
    assert listed(source) == [("cat.png", None)]
    assert source.open(0).size == (12, 10)


def test_folder_is_sorted_recursive_and_labelled_by_its_first_level(tmp_path: Path) -> None:
    for name in ("z.JPG", "dog/b.png", "dog/a.png", "cat/deep/er/c.webp", ".hidden/d.png", "dog/.e.png"):
        picture(tmp_path / name)
    (tmp_path / "dog" / "notes.txt").write_text("no picture")
    source = open_images(str(tmp_path))
    assert listed(source) == [
        ("cat/deep/er/c.webp", "cat"), ("dog/a.png", "dog"), ("dog/b.png", "dog"), ("z.JPG", None)
    ]  # fmt: skip
    assert all(open_path(item.path).mode == "RGB" for item in source.items)


def test_folder_follows_links_but_not_in_circles(tmp_path: Path) -> None:
    picture(tmp_path / "real" / "a.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "cat").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "round").symlink_to(tmp_path / "set")
    assert ("cat/a.png", "cat") in listed(open_images(str(tmp_path / "set")))


def test_image_list(tmp_path: Path) -> None:
    for name in ("x/1.png", "x/two words.png", "x/3.png", "x/4 5"):
        picture(tmp_path / "root" / name if "." in name else tmp_path / "root" / "x" / "4.png")
    (tmp_path / "root" / "x" / "4.png").rename(tmp_path / "root" / "x" / "4 5")
    content = "x/1.png 7\nx/two words.png cat\n\nx/3.png -1\r\nx/1.png\nx/4 5\n"
    (tmp_path / "list.txt").write_text(content)
    source = open_images(f"{tmp_path / 'list.txt'}@{tmp_path / 'root'}")
    assert listed(source) == [
        ("x/1.png", 7), ("x/two words.png", "cat"), ("x/3.png", None), ("x/1.png", None), ("x/4 5", None)
    ]  # fmt: skip
    (tmp_path / "root" / "list.txt").write_text(content)
    assert listed(open_images(str(tmp_path / "root" / "list.txt"))) == listed(source)


def test_bad_places_are_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "gone.txt").write_text("a.png 0\nb.png 1\n")
    picture(tmp_path / "a.png")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9.png 0\n")
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "words.parquet")
    pq.write_table(pa.table({"embedding": pa.array([], pa.list_(pa.float32()))}), tmp_path / "none.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing")
    cases = {
        "nowhere": "do not exist",
        "empty": "no image file",
        "empty.txt": "is empty",
        "gone.txt": "line 2",
        "gone.txt@nowhere": "is not a folder",
        "missing.txt@.": "does not exist",
        "latin.txt": "UTF-8",
        "words.parquet": "neither an `embedding` nor an `image`",
        "none.parquet": "no rows",
        "broken.parquet": "not a whole Parquet file",
    }
    for spec, what in cases.items():
        with pytest.raises(NeglabelError, match=what) as caught:
            open_images(str(tmp_path / spec).replace("@nowhere", f"@{tmp_path}/nowhere"))
        assert "\n" not in str(caught.value)


def test_what_cannot_be_decoded_gets_a_reason(tmp_path: Path) -> None:
    good = picture(tmp_path / "good.png")
    (tmp_path / "text.png").write_text("this is no picture")
    (tmp_path / "zero.jpg").write_bytes(b"")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:900])
    (tmp_path / "script.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    (tmp_path / "bomb.png").write_bytes(bomb())
    found = {}
    for name in ("text.png", "zero.jpg", "cut.jpg", "script.jpg", "bomb.png", "gone.png"):
        with pytest.raises(Exception) as caught:  # noqa: PT011 (Pillow raises what it likes)
            decode(tmp_path / name)
        found[name] = reason(caught.value)  # type: ignore[arg-type]
        with pytest.raises(NeglabelError, match="can't be opened again"):
            open_path(str(tmp_path / name))
    for name in ("text.png", "zero.jpg", "script.jpg"):
        assert found[name] == "not an image (or a format that is not read)"
    assert found["cut.jpg"] == "truncated"
    assert "pixels" in found["bomb.png"]
    assert found["gone.png"] == "No such file or directory"
    assert decode(good).size == (12, 10)


def bomb() -> bytes:
    """A PNG header of 60,000 × 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 99))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def test_modes_are_left_to_the_models_preprocessing(tmp_path: Path) -> None:
    for mode, colour in (("RGBA", (1, 2, 3, 4)), ("L", 9), ("P", 3), ("LA", (9, 9)), ("1", 1)):
        assert decode(picture(tmp_path / f"{mode}.png", colour, mode)).mode == mode  # type: ignore[arg-type]


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65_535, 256).round().astype(np.uint16).reshape(16, 16)
    for name in ("grey.png", "grey.tif"):
        Image.fromarray(ramp).save(tmp_path / name)
        assert np.abs(np.asarray(decode(tmp_path / name)).astype(int) - (ramp / 257)).max() <= 1


def test_exif_orientation_is_not_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (20, 10))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert open_path(str(tmp_path / "turned.jpg")).size == (20, 10)


def test_fingerprint_changes_with_the_pictures(tmp_path: Path) -> None:
    import os

    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    before = fingerprint(open_images(str(tmp_path)), [0, 1])
    assert fingerprint(open_images(str(tmp_path)), [0, 1]) == before
    assert fingerprint(open_images(str(tmp_path)), [1, 0]) != before
    os.utime(tmp_path / "b.png", ns=(1, 1))
    assert fingerprint(open_images(str(tmp_path)), [0, 1]) != before


def test_lists_are_split_at_line_feeds_only(tmp_path: Path) -> None:
    name = "a\u2028b\x0bc.png"
    picture(tmp_path / name)
    (tmp_path / "list.txt").write_bytes(f"{name} cat\r\n\n{name}\ngone.png\n".encode())
    with pytest.raises(UsageError, match="line 4"):
        open_images(str(tmp_path / "list.txt"))
    (tmp_path / "list.txt").write_bytes(f"{name} cat\r\n\n{name}\n".encode())
    assert listed(open_images(str(tmp_path / "list.txt"))) == [(name, "cat"), (name, None)]
