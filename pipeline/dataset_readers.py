"""Known data sets on disk → pictures and class names, a function a layout.

Each takes the place that :mod:`dataset_find` found and gives a :class:`Reading`. Every list of files is compared with
what lies there, so a half-unpacked archive is refused and not scored.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from neglabel import NeglabelError
from neglabel.pipeline.class_lists import imagenet, imagenet_part
from neglabel.pipeline.image_sources import folder, image_list
from neglabel.pipeline.images import Item
from neglabel.pipeline.known_datasets import Kind, Known, Layout
from neglabel.pipeline.labelled_list import labelled

#: Codes of metadata.csv of Waterbirds.
WATERBIRDS = {"0": "train", "1": "val", "2": "test"}


class Reading(NamedTuple):
    """``items``: pictures, the label a class's key (WordNet id, folder, …; None: no class); ``names``: key → class
    name, in class order."""

    items: Sequence[Item]
    names: Mapping[str, str]


Reader = Callable[[Path, Layout, Known, str, Path], Reading]


def _flat(place: Path, layout: Layout, entry: Known, split: str, root: Path) -> Reading:
    return Reading([item._replace(label=None) for item in folder(place).items], {})


def _class_folders(place: Path, layout: Layout, entry: Known, split: str, root: Path) -> Reading:
    items = folder(place).items
    if entry.class_names == "imagenet":
        return _numbered(place, items) if entry.numbered else _by_wnid(place, items, entry)
    return Reading(items, _named(entry, items))


def _by_wnid(place: Path, items: Sequence[Item], entry: Known) -> Reading:
    names = imagenet_part(entry)
    # A part of ImageNet is picked out of the whole; anything else in there belongs to no data set.
    fitting = imagenet() if entry.subset_of else names
    for item in items:
        if item.label not in fitting:
            raise NeglabelError(
                f"{place / item.id}: `{item.label or '.'}` is no class of {entry.name}; take it out of the folder"
            )
    return Reading([item for item in items if item.label in names], names)


def _numbered(place: Path, items: Sequence[Item]) -> Reading:
    """Folder "10" is class 10, the eleventh, although as text it would come third."""
    wnids = list(imagenet())
    numbers = {str(item.label) for item in items}
    for label in numbers:
        if not (label.isdecimal() and int(label) < len(wnids)):
            raise NeglabelError(f"{place}: the folder `{label}` is no class number (0 to {len(wnids) - 1}); remove it")
    ordered = sorted(items, key=lambda item: (int(str(item.label)), item.id))
    return Reading([item._replace(label=wnids[int(str(item.label))]) for item in ordered], imagenet())


def _named(entry: Known, items: Iterable[Item]) -> dict[str, str]:
    """Folder → class name by the set's rule, in the order of folders (of names, for cars)."""
    keys = sorted({str(item.label) for item in items if item.label is not None})
    if entry.class_names != "cars":
        return {key: key for key in keys}
    # A folder can't be called C/V.
    names = {key: key.replace("Ram C-V ", "Ram C/V ") for key in keys}
    return dict(sorted(names.items(), key=lambda pair: pair[1]))


def _split_folders(place: Path, layout: Layout, entry: Known, split: str, root: Path) -> Reading:
    parts = layout.split_needs[split]
    items = [item._replace(id=f"{part}/{item.id}") for part in parts for item in folder(place / part).items]
    return Reading(items, _named(entry, items))


def _labelled_list(place: Path, layout: Layout, entry: Known, split: str, root: Path) -> Reading:
    names = imagenet_part(entry)
    items = labelled(place, folder(place).items, root, list(imagenet()))
    return Reading([item for item in items if item.label in names], names)


def _image_list(place: Path, layout: Layout, entry: Known, split: str, root: Path) -> Reading:
    listed = image_list(f"{place / layout.list}", place / layout.list, place / layout.images).items
    if entry.class_names != "imagenet":
        return Reading([item._replace(label=None) for item in listed], {})
    wnids = list(imagenet())
    for item in listed:
        if not (isinstance(item.label, int) and item.label < len(wnids)):
            raise NeglabelError(f"{place / layout.list}: {item.id} has the label {item.label}, which is no class index")
    return Reading([item._replace(label=wnids[int(item.label or 0)]) for item in listed], imagenet_part(entry))


def _cub(place: Path, layout: Layout, entry: Known, split: str, root: Path) -> Reading:
    """``images.txt`` numbers the pictures, ``train_test_split.txt`` says 1 for training; the folder is the class."""
    files = dict(line.split(maxsplit=1) for line in _lines(place / "images.txt"))
    training = dict(line.split() for line in _lines(place / "train_test_split.txt"))
    wanted = {"train": ("1",), "test": ("0",), "all": ("0", "1")}[split]
    names = {key: key.partition(".")[2].replace("_", " ") for key in sorted({f.split("/")[0] for f in files.values()})}
    chosen = [file for number, file in files.items() if training.get(number) in wanted]
    return Reading(_existing(place / "images", [(file, file.split("/")[0]) for file in chosen]), names)


def _pets(place: Path, layout: Layout, entry: Known, split: str, root: Path) -> Reading:
    """The class is the file's name without its number; class order is that of names, whatever their case."""
    there = [(item.id, item.id.rpartition("_")[0]) for item in folder(place / "images").items]
    names = {key: key.replace("_", " ") for key in sorted({key for _, key in there}, key=str.casefold)}
    if split != "all":
        listed = [line.split()[0] for line in _lines(place / "annotations" / f"{split}.txt")]
        there = [(f"{name}.jpg", name.rpartition("_")[0]) for name in listed]
    return Reading(_existing(place / "images", there), names)


def _food(place: Path, layout: Layout, entry: Known, split: str, root: Path) -> Reading:
    """``meta/classes.txt`` has the folders, ``meta/labels.txt`` their names, ``meta/SPLIT.txt`` ``class/number``."""
    folders, labels = _lines(place / "meta" / "classes.txt"), _lines(place / "meta" / "labels.txt")
    if len(folders) != len(labels):
        raise NeglabelError(f"{place / 'meta'}: classes.txt and labels.txt differ in length; unpack the archive again")
    chosen = [line for part in (("train", "test") if split == "all" else (split,))
              for line in _lines(place / "meta" / f"{part}.txt")]  # fmt: skip
    pictures = [(f"{line}.jpg", line.split("/")[0]) for line in chosen]
    return Reading(_existing(place / "images", pictures), dict(zip(folders, labels, strict=True)))


def _cars(place: Path, layout: Layout, entry: Known, split: str, root: Path) -> Reading:
    """MATLAB files: the picture's name and class (from 1), and the classes' names."""
    names = [str(name) for name in _mat(place / "devkit" / "cars_meta.mat", "class_names")]
    lists = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}
    items: list[Item] = []
    for part in ("train", "test") if split == "all" else (split,):
        rows = _mat(place / lists[part], "annotations")
        pictures = [(str(row["fname"]), names[int(row["class"]) - 1]) for row in rows]
        found = _existing(place / f"cars_{part}", pictures)
        items += [item._replace(id=f"cars_{part}/{item.id}") for item in found]
    return Reading(items, {name: name for name in sorted(names)})


def _waterbirds(place: Path, layout: Layout, entry: Known, split: str, root: Path) -> Reading:
    with open(place / "metadata.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = {str(number): name for number, name in enumerate(entry.class_names)}
    try:
        chosen = [(row["img_filename"], row["y"]) for row in rows if split in ("all", WATERBIRDS[row["split"]])]
    except KeyError as error:
        raise NeglabelError(f"{place / 'metadata.csv'} has no {error}; unpack the archive again") from None
    return Reading(_existing(place, chosen), names)


READERS: Mapping[Kind, Reader] = {
    "flat": _flat, "class-folders": _class_folders, "split-folders": _split_folders, "labelled-list": _labelled_list,
    "image-list": _image_list, "cars": _cars, "cub": _cub, "pets": _pets, "food": _food, "waterbirds": _waterbirds,
}  # fmt: skip


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NeglabelError(f"{path} can't be read: {error}; unpack the archive again") from None
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _mat(path: Path, name: str) -> Iterable:
    from scipy.io import loadmat

    try:
        values: Iterable = loadmat(path, squeeze_me=True)[name].reshape(-1)
    except Exception as error:  # scipy raises what it likes at a file that is none
        raise NeglabelError(f"{path} can't be read: {type(error).__name__}: {error}; copy it again") from None
    return values


def _existing(images: Path, pictures: Sequence[tuple[str, str]]) -> list[Item]:
    """(relative path, key) → items. Raises NeglabelError where pictures are missing, with the first."""
    there = {item.id: item.path for item in folder(images).items}
    missing = [name for name, _ in pictures if name not in there]
    if missing:
        raise NeglabelError(
            f"{images}: {len(missing):,} of {len(pictures):,} listed pictures are not there (first: {missing[0]}); "
            "unpack the archive again"
        )
    return [Item(name, there[name], key) for name, key in pictures]
