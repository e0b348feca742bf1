"""Known data sets: each layout from a fabricated tree, class names, what is missing or wrong, the command."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from neglabel import NeglabelError, UsageError
from neglabel.cli import app
from neglabel.pipeline import dataset_find, known_datasets
from neglabel.pipeline.class_lists import digest, imagenet, imagenet_part, repeated
from neglabel.pipeline.config import dump, make
from neglabel.pipeline.dataset_find import class_names
from neglabel.pipeline.images import open_images
from neglabel.pipeline.known_datasets import known, registry
from neglabel.pipeline.labels import load_labels
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.named_labels import NamedLabels
from neglabel.pipeline.places import images_in
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.run import stages
from neglabel.pipeline.run_settings import RunSettings
from neglabel.pipeline.score_settings import ScoreSettings

from .conftest import ROOT

RUN = CliRunner()
#: Some of ImageNet-10's classes, one of the others, and their names in open_clip's list.
BRAMBLING, BULLFROG, TENCH = "n01530575", "n01641577", "n01440764"
Override = Callable[..., None]


def pictures(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(root / name)


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def labels(spec: str) -> list[tuple[str, str | int | None]]:
    source = open_images(spec)
    assert all(source.open(row).size == (8, 8) for row in range(len(source.items)))
    return [(item.id, item.label) for item in source.items]


@pytest.fixture
def override(monkeypatch: pytest.MonkeyPatch) -> Override:
    """Replace what is expected of a set: its counts, for a tree of a handful of pictures."""

    def change(name: str, **values: object) -> None:
        changed: Mapping[str, object] = {**known_datasets.registry(), name: known(name).model_copy(update=values)}
        for module in (known_datasets, dataset_find):
            monkeypatch.setattr(module, "registry", lambda: changed)
        monkeypatch.setattr("neglabel.pipeline.dataset_check.registry", lambda: changed)

    monkeypatch.delenv(known_datasets.ROOT, raising=False)
    return change


def state(root: Path, name: str) -> dict[str, object]:
    result = RUN.invoke(app, ["datasets", name, "--root", str(root), "--json"])
    row: dict[str, object] = json.loads(result.stdout)["datasets"][0]
    assert result.exit_code == (0 if row["state"] == "ok" else 1), result.stderr
    return row


def test_folders_by_wordnet_id_and_parts_of_them(tmp_path: Path, override: Override) -> None:
    val = tmp_path / "imagenet" / "val"
    pictures(val, f"{TENCH}/a.JPEG", f"{BRAMBLING}/b.JPEG", f"{BULLFROG}/c.JPEG", f"{BULLFROG}/d.JPEG")
    spec = f"dataset:imagenet-1k,root={tmp_path}"
    assert [label for _, label in labels(spec)] == ["tench", "brambling", "American bullfrog", "American bullfrog"]
    assert [label for _, label in labels(f"dataset:imagenet-10,root={tmp_path}")] == [
        "brambling", "American bullfrog", "American bullfrog"
    ]  # fmt: skip
    override("imagenet-1k", count=4, classes=3)
    assert state(tmp_path, "imagenet-1k")["found_classes"] == 3
    override("imagenet-1k", count=5)
    assert "4 pictures, 5 expected" in str(state(tmp_path, "imagenet-1k")["problem"])
    pictures(val, "n00000001/x.JPEG")
    with pytest.raises(NeglabelError, match="`n00000001` is no class of imagenet-1k"):
        open_images(spec)


def test_folders_by_number_are_numbers(tmp_path: Path, override: Override) -> None:
    """As text, "10" sorts before "2": torchvision's ImageFolder takes folder 10 for class 2."""
    pictures(tmp_path / "imagenet-v2", *(f"{n}/x.jpeg" for n in (0, 2, 10, 999, 100)))
    names = list(imagenet().values())
    assert labels(f"dataset:imagenet-v2,root={tmp_path}") == [
        (f"{n}/x.jpeg", names[n]) for n in (0, 2, 10, 100, 999)
    ]  # fmt: skip
    override("imagenet-v2", count=5, classes=5)
    assert state(tmp_path, "imagenet-v2")["state"] == "ok"
    pictures(tmp_path / "imagenet-v2", "1000/x.jpeg")
    with pytest.raises(NeglabelError, match="`1000` is no class number"):
        open_images(f"dataset:imagenet-v2,root={tmp_path}")


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("val.txt", ["ILSVRC2012_val_00000002.JPEG 10", "ILSVRC2012_val_00000001.JPEG 0"]),
        ("val.txt", [f"ILSVRC2012_val_00000001.JPEG {TENCH}", f"ILSVRC2012_val_00000002.JPEG {BRAMBLING}"]),
        ("imagenet_2012_validation_synset_labels.txt", [TENCH, BRAMBLING]),
        ("LOC_val_solution.csv", ["ImageId,PredictionString", f"ILSVRC2012_val_00000002,{BRAMBLING} 1 2 3 4 n01 5",
                                  f"ILSVRC2012_val_00000001,{TENCH} 1 2 3 4"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["imagenet/val", "."])
def test_flat_pictures_with_a_list(tmp_path: Path, name: str, rows: list[str], where: str) -> None:
    pictures(tmp_path / "imagenet/val", "ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG")
    write(tmp_path / where / name, *rows)
    assert [label for _, label in labels(f"dataset:imagenet-1k,root={tmp_path}")] == ["tench", "brambling"]
    assert [label for _, label in labels(f"dataset:imagenet-10,root={tmp_path}")] == ["brambling"]


def test_lists_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    val, spec = tmp_path / "imagenet" / "val", f"dataset:imagenet-1k,root={tmp_path}"
    pictures(val, "ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG")
    cases = [
        ("val.txt", ["ILSVRC2012_val_00000001.JPEG 0"], "does not name it"),
        ("val.txt", ["ILSVRC2012_val_00000001.JPEG 0", "ILSVRC2012_val_00000002.JPEG 1000"], "class `1000`"),
        ("synset_labels.txt", [TENCH], "1 lines for 2 pictures"),
        ("ILSVRC2012_validation_ground_truth.txt", ["490", "361"], "own order"),
    ]
    with pytest.raises(NeglabelError, match="no list labels them"):
        open_images(spec)
    for name, rows, what in cases:
        write(val / name, *rows)
        with pytest.raises(NeglabelError, match=what):
            open_images(spec)
        (val / name).unlink()


def test_flat_sets_have_no_labels_and_openoods_lists_choose(tmp_path: Path, override: Override) -> None:
    pictures(tmp_path / "iNaturalist" / "images", "a.jpg", "b.jpg")
    assert labels(f"dataset:inaturalist,root={tmp_path}") == [("a.jpg", None), ("b.jpg", None)]
    pictures(tmp_path / "images_classic", "texture/x/1.jpg", "texture/x/2.jpg")
    write(tmp_path / "benchmark_imglist/imagenet/test_textures.txt", "texture/x/2.jpg -1")
    assert labels(f"dataset:textures-openood,root={tmp_path}") == [("texture/x/2.jpg", None)]
    pictures(tmp_path / "images_largescale", "imagenet_1k/val/v1.JPEG")
    write(tmp_path / "benchmark_imglist/imagenet/test_imagenet.txt", "imagenet_1k/val/v1.JPEG 10")
    assert labels(f"dataset:imagenet-1k-openood,root={tmp_path}") == [("imagenet_1k/val/v1.JPEG", "brambling")]
    override("textures-openood", count=1)
    assert state(tmp_path, "textures-openood")["layout"] == "image-list"


def food(root: Path) -> None:
    pictures(root / "food-101/images", "apple_pie/1.jpg", "apple_pie/2.jpg", "hot_dog/3.jpg")
    write(root / "food-101/meta/classes.txt", "apple_pie", "hot_dog")
    write(root / "food-101/meta/labels.txt", "Apple pie", "Hot dog")
    write(root / "food-101/meta/train.txt", "apple_pie/1")
    write(root / "food-101/meta/test.txt", "hot_dog/3", "apple_pie/2")


def cub(root: Path) -> None:
    files = ("001.Black_footed_Albatross/A_1.jpg", "002.Laysan_Albatross/B_2.jpg", "002.Laysan_Albatross/B_3.jpg")
    pictures(root / "CUB_200_2011/images", *files)
    write(root / "CUB_200_2011/images.txt", *(f"{n} {file}" for n, file in enumerate(files, 1)))
    write(root / "CUB_200_2011/train_test_split.txt", "1 0", "2 1", "3 0")


def pets(root: Path) -> None:
    place = root / "oxford-iiit-pet"
    pictures(place / "images", "Abyssinian_1.jpg", "yorkshire_terrier_7.jpg", "Bengal_2.jpg", "pug_9.jpg")
    (place / "images/Abyssinian_100.mat").write_bytes(b"no picture")
    write(place / "annotations/trainval.txt", "Abyssinian_1 1 1 1")
    write(place / "annotations/test.txt", "# a head", "yorkshire_terrier_7 37 2 25", "Bengal_2 6 1 2")


def waterbirds(root: Path) -> None:
    place = root / "waterbird_complete95_forest2water2"
    pictures(place, "001.A/a.jpg", "001.A/b.jpg", "002.B/c.jpg")
    write(place / "metadata.csv", "img_id,img_filename,y,split,place,place_filename",
          "1,001.A/a.jpg,1,0,0,/x", "2,001.A/b.jpg,1,2,0,/x", "3,002.B/c.jpg,0,2,1,/y")  # fmt: skip


def cars(root: Path) -> None:
    from scipy.io import savemat

    place = root / "stanford_cars"
    (place / "devkit").mkdir(parents=True)
    names = np.empty(2, dtype=object)
    names[:] = ["Volvo 240 Sedan 1993", "Ram C/V Cargo Van Minivan 2012"]
    savemat(place / "devkit/cars_meta.mat", {"class_names": names})
    for part, path, rows in (
        ("train", "devkit/cars_train_annos.mat", [("1.jpg", 1), ("2.jpg", 2)]),
        ("test", "cars_test_annos_withlabels.mat", [("1.jpg", 2)]),
    ):
        pictures(place / f"cars_{part}", *(name for name, _ in rows))
        kinds = [("class", object), ("fname", object)]
        savemat(place / path, {"annotations": np.array([(label, name) for name, label in rows], dtype=kinds)})


def car_folders(root: Path) -> None:
    pictures(root / "car_data", "train/Ram C-V Cargo Van Minivan 2012/1.jpg", "train/Volvo 240 Sedan 1993/2.jpg",
             "test/Ram C-V Cargo Van Minivan 2012/1.jpg")  # fmt: skip


VAN, VOLVO = "Ram C/V Cargo Van Minivan 2012", "Volvo 240 Sedan 1993"
SPLIT = {
    "food-101": (food, {"train": 1, "test": 2, "all": 3}, ["Hot dog", "Apple pie"], ["Apple pie", "Hot dog"]),
    "cub-200": (
        cub, {"train": 1, "test": 2, "all": 3}, ["Black footed Albatross", "Laysan Albatross"],
        ["Black footed Albatross", "Laysan Albatross"],
    ),
    "oxford-pet": (
        pets, {"trainval": 1, "test": 2, "all": 4}, ["yorkshire terrier", "Bengal"],
        ["Abyssinian", "Bengal", "pug", "yorkshire terrier"],
    ),
    "waterbirds": (
        waterbirds, {"train": 1, "val": 0, "test": 2, "all": 3}, ["waterbirds", "landbirds"],
        ["landbirds", "waterbirds"],
    ),
    "stanford-cars": (cars, {"train": 2, "test": 1, "all": 3}, [VAN], [VAN, VOLVO]),
    "stanford-cars by folders": (car_folders, {"train": 2, "test": 1, "all": 3}, [VAN], None),
}  # fmt: skip


@pytest.mark.parametrize("case", SPLIT)
def test_splits_are_chosen_and_classes_named(tmp_path: Path, override: Override, case: str) -> None:
    build, counts, in_test, names = SPLIT[case]
    name = case.partition(" ")[0]
    build(tmp_path)
    spec = f"dataset:{name},root={tmp_path}"
    with pytest.raises(UsageError, match=r"has several splits; write .* one of split=tr"):
        open_images(spec)
    for split, count in counts.items():
        assert len(labels(f"{spec},split={split}")) == count
    assert [label for _, label in labels(f"{spec},split=test")] == in_test
    if names:
        assert class_names(spec) == names
    override(name, splits=counts, classes=None, sha256=digest(names) if names else "")
    row = state(tmp_path, name)
    assert (row["state"], row["found"], row["problem"]) == ("ok", counts, "")
    override(name, splits={**counts, "test": 9})
    assert "pictures in test, 9 expected" in str(state(tmp_path, name)["problem"])
    override(name, splits=counts, sha256="0" * 64)
    if names:
        assert "class names are others than expected" in str(state(tmp_path, name)["problem"])


def test_a_listed_picture_that_is_gone(tmp_path: Path) -> None:
    food(tmp_path)
    (tmp_path / "food-101/images/hot_dog/3.jpg").unlink()
    with pytest.raises(NeglabelError, match=r"1 of 2 listed pictures are not there \(first: hot_dog/3.jpg\)"):
        open_images(f"dataset:food-101,root={tmp_path},split=test")


def test_every_set_says_where_it_comes_from(tmp_path: Path, override: Override) -> None:
    for name, entry in registry().items():
        row = state(tmp_path, name)
        assert (row["state"], row["where"]) == ("missing", None)
        assert entry.source in str(row["problem"])
        assert "\n" not in str(row["problem"])
        assert all(place in str(row["problem"]) for layout in entry.layouts for place in layout.places if place != ".")
    with pytest.raises(UsageError, match=r"is not below .*; source: .*iNaturalist.tar.gz; expected: pictures"):
        open_images(f"dataset:inaturalist,root={tmp_path}")


def test_counts_of_the_papers() -> None:
    """As the issue states them."""
    counts = {
        "inaturalist": 10_000, "sun": 10_000, "places": 10_000, "textures": 5_640, "textures-openood": 5_160,
        "imagenet-1k": 50_000, "imagenet-sketch": 50_889, "imagenet-a": 7_500, "imagenet-r": 30_000,
        "imagenet-v2": 10_000, "ninco": 5_879, "openimage-o": 17_632, "ssb-hard": 49_000, "placesbg": None,
    }  # fmt: skip
    assert {name: known(name).count for name in counts} == counts
    totals = {"cub-200": 11_788, "oxford-pet": 7_390, "food-101": 101_000}
    assert {name: known(name).splits["all"] for name in totals} == totals
    for entry in registry().values():
        parts = [count for split, count in entry.splits.items() if split != "all"]
        # 41 pets are in neither split.
        assert not parts or sum(parts) + 41 * (entry.name == "oxford-pet") == entry.splits["all"]


def test_imagenets_names_are_pinned_and_two_occur_twice() -> None:
    names = list(imagenet().values())
    assert (len(names), len(set(names)), repeated(names)) == (1000, 998, ["missile", "sunglasses"])
    assert list(imagenet()) == sorted(imagenet())
    for entry in registry().values():
        if entry.class_names == "imagenet":
            part = imagenet_part(entry)
            assert (len(part), digest(part.values())) == (entry.classes, entry.sha256), entry.name
            assert list(part) == sorted(part)
    reporter, encoder = Reporter(quiet=True), SimpleNamespace(encode=lambda texts, unit: np.eye(1000, 8) + 1)
    loaded = load_labels(NamedLabels("dataset:imagenet-1k"), ["a {}"], lambda: encoder, reporter)  # type: ignore
    assert list(loaded.names) == names
    assert "more than once there are missile, sunglasses; kept as they are" in reporter.warnings[0]
    result = RUN.invoke(app, ["datasets", "imagenet-1k"])
    assert "twice: missile, sunglasses (998 of 1,000 are distinct" in result.stdout


def test_names_equal_the_shared_lists(shared_data: Path) -> None:
    def lines(name: str) -> list[str]:
        return (shared_data / "labels" / f"{name}.txt").read_text(encoding="utf-8").split("\n")[:-1]

    whole = (shared_data / "labels" / "imagenet1k.txt").read_bytes()
    assert hashlib.sha256(whole).hexdigest() == known("imagenet-1k").sha256
    for name in ("imagenet-10", "imagenet-20", "imagenet-100"):
        assert sorted(class_names(f"dataset:{name}")) == sorted(lines(name.replace("-", "")))
    derived = {
        "cub-200": [name.replace("_", " ") for name in lines("cub200")], "food-101": lines("food101"),
        "oxford-pet": sorted(lines("oxford_pets"), key=str.casefold), "textures": sorted(lines("dtd")),
        "stanford-cars": sorted(lines("stanford_cars")), "waterbirds": sorted(lines("waterbirds")),
    }  # fmt: skip
    for name, names in derived.items():
        assert (digest(names), len(names)) == (known(name).sha256, known(name).classes), name
    for photo in sorted((shared_data / "photos").glob("*.JPEG")):
        assert photo.name.partition("_")[0] in imagenet()


def test_labels_by_name_in_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"negatives": "n.txt", "labels": "dataset:imagenet-10", "out": "o"}
    settings = make(ScoreSettings, given)
    assert settings.labels.read_text().splitlines() == class_names("dataset:imagenet-10")
    assert 'labels = "dataset:imagenet-10"\n' in dump(settings)
    monkeypatch.chdir(tmp_path)
    again = dump(make(ScoreSettings, {**given, "labels": "dataset:food-101,root=data"}))
    assert f'labels = "dataset:food-101,root={tmp_path / "data"}"\n' in again
    several = make(MineSettings, {"candidates": ["c"], "labels": ["dataset:imagenet-10", "l.txt"], "out": "o"})
    assert [each.out.name for each in several.each()] == ["imagenet-10.parquet", "l.parquet"]
    assert images_in(tmp_path, "dataset:sun,root=data") == f"dataset:sun,root={tmp_path / 'data'}"
    assert images_in(tmp_path, "dataset:sun") == "dataset:sun"
    scored = {"id": {"food": "dataset:food-101,root=data,split=test"}, "ood": {"sun": "dataset:sun"}}
    run = {"out": "o", "labels": "dataset:food-101,root=data", "corpus": ["wordnet"], "score": scored}
    mining, scoring = stages(make(RunSettings, run), tmp_path / "runs")["pairs"][0]
    below = f"dataset:food-101,root={tmp_path / 'runs' / 'data'}"
    assert (str(mining.labels), str(scoring.labels)) == (below, below)
    assert (scoring.id, scoring.ood) == ({"food": f"{below},split=test"}, {"sun": "dataset:sun"})
    food(tmp_path / "a, b=c")
    monkeypatch.setenv(known_datasets.ROOT, str(tmp_path / "a, b=c"))
    assert class_names("dataset:food-101") == ["Apple pie", "Hot dog"]
    assert len(labels("dataset:food-101,split=all")) == 3


def test_usage_is_refused_in_one_sentence(tmp_path: Path, override: Override) -> None:
    cases = {
        "dataset:imagenet": "no data set `imagenet`; known: imagenet-1k",
        "dataset:sun": "say where the data lie",
        "dataset:sun,root=/nowhere/at-all": "is not a folder",
        "dataset:sun,root=s3://bucket/x": "name a local root",
        "dataset:sun,split=test": "has no split `test`; leave it out",
        "dataset:food-101,split=val": "write one of train, test, all",
        "dataset:sun,path=x": "`path` is no option",
        "dataset:sun,root=a,root=b": "given twice",
        "dataset:sun,root=": "`root` is empty; give it a value or leave it out",
    }
    for spec, what in cases.items():
        with pytest.raises(UsageError, match=what) as caught:
            open_images(spec)
        assert "\n" not in str(caught.value)
    result = RUN.invoke(app, ["datasets", "sun", "--root", ""])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the root of data sets is empty" in result.stderr
    with pytest.raises(UsageError, match="has no class names"):
        class_names("dataset:sun")
    for arguments in (["nothing"], ["sun", "--root", str(tmp_path / "gone")]):
        result = RUN.invoke(app, ["datasets", *arguments])
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith("neglabel datasets: ")
    # Without names nothing was promised.
    result = RUN.invoke(app, ["datasets", "--root", str(tmp_path)])
    assert result.exit_code == 0
    assert "sun: missing: sun is not below" in result.stdout
    assert "state" not in json.loads(RUN.invoke(app, ["datasets", "--json"]).stdout)["datasets"][0]


def test_scored_with_labels_and_pictures_by_name(tmp_path: Path, tiny_model: Path) -> None:
    """All the way: names of labels and of pictures meet in the accuracy's column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pictures(tmp_path / "imagenet/val", f"{TENCH}/a.JPEG", f"{BRAMBLING}/b.JPEG", f"{BULLFROG}/c.JPEG")
    pictures(tmp_path / "SUN", "a.jpg", "b.jpg")
    dimension = json.loads((tiny_model / "open_clip_config.json").read_text())["model_cfg"]["embed_dim"]
    vectors = np.random.default_rng(0).normal(size=(20, dimension)).astype(np.float32)
    words = {"text": [f"word {n}" for n in range(20)], "embedding": list(vectors)}
    pq.write_table(pa.table(words), tmp_path / "words.parquet")
    result = RUN.invoke(app, [
        "mine", str(tmp_path / "words.parquet"), "--labels", "dataset:imagenet-10", "--top", "5",
        "--model", str(tiny_model), "--device", "cpu", "--out", str(tmp_path / "negatives.parquet"), "--quiet",
    ])  # fmt: skip
    assert result.exit_code == 0, result.stderr
    result = RUN.invoke(app, [
        "score", "--negatives", str(tmp_path / "negatives.parquet"), "--labels", "dataset:imagenet-10",
        "--id", f"imagenet-10=dataset:imagenet-10,root={tmp_path}", "--ood", f"sun=dataset:sun,root={tmp_path}",
        "--model", str(tiny_model), "--device", "cpu", "--out", str(tmp_path / "s"), "--quiet",
    ])  # fmt: skip
    assert result.exit_code == 0, result.stderr
    rows = pq.read_table(tmp_path / "s/scores-imagenet-10.parquet")
    assert rows["label"].to_pylist() == ["brambling", "American bullfrog"]
    assert set(rows["predicted_label"].to_pylist()) <= set(class_names("dataset:imagenet-10"))
    assert "label that is no ID label" not in result.stderr
    assert "was mined for" not in result.stderr


def test_the_page_has_every_set() -> None:
    page = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    for name, entry in registry().items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        numbers = [entry.count, *entry.splits.values()] if entry.splits else [entry.count]
        assert all(f"{number:,}" in row for number in numbers if number), name
