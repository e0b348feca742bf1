"""Known data sets on disk → pictures and class names, a function a layout.

Each takes the place that :mod:`dataset_find` found and gives a :class:`Reading`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from neglabel import NeglabelError
from neglabel.pipeline.class_lists import imagenet, imagenet_part
from neglabel.pipeline.dataset_archives import Reading, cars, cub, food, pets, waterbirds
from neglabel.pipeline.image_sources import folder, image_list
from neglabel.pipeline.images import Item
from neglabel.pipeline.known_datasets import Kind, Known, Layout
from neglabel.pipeline.labelled_list import labelled

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


READERS: Mapping[Kind, Reader] = {
    "flat": _flat, "class-folders": _class_folders, "split-folders": _split_folders, "labelled-list": _labelled_list,
    "image-list": _image_list, "cars": cars, "cub": cub, "pets": pets, "food": food, "waterbirds": waterbirds,
}  # fmt: skip
