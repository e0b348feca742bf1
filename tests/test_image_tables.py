"""Pictures in tables: Parquet, Hugging Face data sets, and `imagefolder`."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from neglabel import NeglabelError, UsageError
from neglabel.pipeline.images import fingerprint, open_images, open_path

from .test_images import listed, picture


@pytest.fixture
def hf_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keeps what `datasets` writes inside the test's own folder."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf-cache"))
    return tmp_path / "hf-cache"


def test_parquet_of_embeddings(tmp_path: Path) -> None:
    vectors = pa.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], pa.list_(pa.float32()))
    pq.write_table(pa.table({"embedding": vectors, "label": [3, -1, None]}), tmp_path / "e.parquet")
    source = open_images(str(tmp_path / "e.parquet"))
    assert source.embeddings == tmp_path / "e.parquet"
    assert listed(source) == [("0", 3), ("1", None), ("2", None)]
    table = pa.table({"embedding": vectors, "label": ["a", "", None], "id": ["x", "y", "z"], "path": ["p", None, ""]})
    pq.write_table(table, tmp_path / "n.parquet")
    assert [tuple(i) for i in open_images(str(tmp_path / "n.parquet")).items] == [
        ("x", "p", "a"), ("y", "", None), ("z", "", None)
    ]  # fmt: skip
    pq.write_table(pa.table({"embedding": vectors, "label": [0.5, 1.0, 2.0]}), tmp_path / "f.parquet")
    with pytest.raises(UsageError, match=r"f\.parquet: `label` is double"):
        open_images(str(tmp_path / "f.parquet"))
    with pytest.raises(NeglabelError, match="embedding"):
        open_path("")


def test_parquet_of_pictures(tmp_path: Path, hf_home: Path) -> None:
    content = [picture(tmp_path / f"{i}.png", (i * 50, 0, 0)).read_bytes() for i in range(3)]
    struct_column = pa.array([{"bytes": c, "path": None} for c in content])
    pq.write_table(pa.table({"image": struct_column, "label": [0, 1, 2]}), tmp_path / "struct.parquet")
    pq.write_table(pa.table({"image": pa.array([*content, b"junk"])}), tmp_path / "binary.parquet")
    for name in ("struct.parquet", "binary.parquet"):
        source = open_images(str(tmp_path / name))
        assert source.embeddings is None
        assert [source.open(i).getpixel((0, 0))[0] for i in range(3)] == [0, 50, 100]  # type: ignore[index]
        assert open_path(source.items[2].path).getpixel((0, 0)) == (100, 0, 0)
    with pytest.raises(NeglabelError, match="not an image"):
        open_path(f"{tmp_path / 'binary.parquet'}#3")
    with pytest.raises(NeglabelError, match="no row 9"):
        open_path(f"{tmp_path / 'binary.parquet'}#9")


def test_hugging_face_imagefolder(tmp_path: Path, hf_home: Path) -> None:
    for i, name in enumerate(("train/cat/a.png", "train/dog/b.png", "test/cat/c.png")):
        picture(tmp_path / "data" / name, (i * 50, 0, 0))
    (tmp_path / "data" / "train" / "dog" / "z.png").write_bytes(b"junk")
    spec = f"hf:imagefolder:{tmp_path / 'data'}"
    with pytest.raises(UsageError, match=r"several splits.*train, test"):
        open_images(spec)
    with pytest.raises(UsageError, match="no split 'dev'"):
        open_images(f"{spec}@dev")
    source = open_images(f"{spec}@train")
    assert listed(source) == [("0", "cat"), ("1", "dog"), ("2", "dog")]
    assert source.items[1].path == f"{spec}@train#1"
    assert open_path(source.items[1].path).getpixel((0, 0)) == (50, 0, 0)
    with pytest.raises(NeglabelError, match="not an image"):
        open_path(source.items[2].path)
    before = fingerprint(source, range(3))
    assert fingerprint(open_images(f"{spec}@train"), range(3)) == before
    picture(tmp_path / "data" / "train" / "cat" / "a.png", (255, 255, 255))
    assert fingerprint(open_images(f"{spec}@train"), range(3)) != before


def test_hugging_face_saved_to_disk(tmp_path: Path, hf_home: Path) -> None:
    import datasets

    images = [Image.new("RGB", (4, 4), (i * 50, 0, 0)) for i in range(2)]
    features = datasets.Features({"img": datasets.Image(), "fine": datasets.ClassLabel(names=["ant", "bee"])})
    made = datasets.Dataset.from_dict({"img": images, "fine": [1, 0]}, features=features)
    made.save_to_disk(str(tmp_path / "saved"))
    source = open_images(f"hf:{tmp_path / 'saved'}")
    assert listed(source) == [("0", "bee"), ("1", "ant")]
    assert source.open(1).getpixel((0, 0)) == (50, 0, 0)


def test_paths_open_again_from_anywhere(
    tmp_path: Path, hf_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    home, elsewhere = tmp_path / "a@b" / "c:d", tmp_path / "elsewhere"
    elsewhere.mkdir()
    content = picture(home / "pics" / "train" / "dog" / "0.png", (70, 0, 0)).read_bytes()
    pq.write_table(pa.table({"image": pa.array([content])}), home / "table.parquet")
    vectors = pa.array([[1.0, 0.0]] * 4, pa.list_(pa.float32()))
    paths = ["pics/train/dog/0.png", "gone.png", "", "hf:x/y@z#0"]
    pq.write_table(pa.table({"embedding": vectors, "path": paths}), home / "e.parquet")
    (home / "list.txt").write_text("train/dog/0.png 0\n")
    datasets.Dataset.from_dict({"image": [str(home / "pics/train/dog/0.png")]}).cast_column(
        "image", datasets.Image()
    ).save_to_disk(str(home / "saved"))
    monkeypatch.chdir(home)
    specs = (
        "pics", "pics/train/dog/0.png", "list.txt@pics", "table.parquet", "hf:imagefolder:pics", "hf:pics",
        "hf:imagefolder:pics@train", "hf:saved", "e.parquet",
    )  # fmt: skip
    items = {spec: open_images(spec).items for spec in specs}
    assert [item.path for item in items["e.parquet"]][1:] == ["gone.png", "", "hf:x/y@z#0"]
    assert items["hf:imagefolder:pics"][0].path == f"hf:imagefolder:{home}/pics@train#0"
    monkeypatch.chdir(elsewhere)
    for spec, found in items.items():
        assert open_path(found[0].path).getpixel((0, 0)) == (70, 0, 0), spec
