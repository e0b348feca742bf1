"""ID and OOD pictures of a score run must not be the same, however they are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from neglabel import UsageError
from neglabel.pipeline import store
from neglabel.pipeline.score_plan import data_sets

from .make_world import make_gallery, make_world, unit, with_pictures


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    return make_gallery(make_world(tmp_path))


def test_one_picture_is_not_both_id_and_ood(gallery: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(gallery / "hf"))
    monkeypatch.chdir(gallery)
    (gallery / "link").symlink_to(gallery / "cats" / "class_1")
    (gallery / "cars" / "linked.png").symlink_to(gallery / "cats" / "class_1" / "2.png")
    (gallery / "list.txt").write_text("class_1/0.png 1\n")
    (gallery / "cars.txt").write_text("1.png -1\n")
    vectors = unit(np.random.default_rng(0), 1)
    pictures = pa.table({"path": ["cats/class_1/1.png"], "embedding": store.embedding_array(vectors)})
    store.write_table(gallery / "e.parquet", pictures)
    cats = {"a": "cats"}
    for id_, ood in (
        (cats, "hf:imagefolder:cats"),
        (cats, "hf:cats"),
        (cats, "cats/class_1/0.png"),
        (cats, "link"),
        (cats, "list.txt@cats"),
        (cats, "cars"),
        (cats, "e.parquet"),
        ({"a": "hf:imagefolder:cats"}, "hf:cats"),
        ({"a": "hf:imagefolder:cats"}, "hf:imagefolder:cats@train"),
        ({"a": "list.txt@cats"}, "cats/class_1/../class_1/0.png"),
    ):
        with pytest.raises(UsageError, match=r"both hold .*; keep ID and OOD pictures apart|lies inside the first"):
            data_sets(with_pictures(gallery, None, id=id_, ood={"b": ood}))
    sets = data_sets(with_pictures(gallery, None, id=cats, ood={"b": "cars.txt@cars", "c": "cars.txt@cars"}))
    assert [len(data.source.items) for data in sets] == [5, 1, 1]


def test_splits_of_one_folder_are_apart(gallery: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(gallery / "hf"))
    for split in ("train", "test"):
        (gallery / "both" / split / "x").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(gallery / "both" / split / "x" / "0.png")
    both = f"hf:imagefolder:{gallery / 'both'}"
    sets = data_sets(with_pictures(gallery, None, id={"a": f"{both}@train"}, ood={"b": f"{both}@test"}))
    assert [data.role for data in sets] == ["id", "ood"]
    # A folder that holds the other split as well is apart by its own pictures.
    sets = data_sets(with_pictures(gallery, None, id={"a": str(gallery / "both" / "train")}, ood={"b": f"{both}@test"}))
    assert len(sets) == 2
