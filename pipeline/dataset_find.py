"""Where a known data set lies below a root, and its pictures as a source with class names as labels."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from neglabel import UsageError
from neglabel.pipeline.class_lists import imagenet_part
from neglabel.pipeline.dataset_archives import Reading
from neglabel.pipeline.dataset_readers import READERS
from neglabel.pipeline.image_sources import FileSource
from neglabel.pipeline.known_datasets import Known, Layout, asked, known, registry

_CLASS_FOLDER = re.compile(r"n\d{8}|\d{1,3}")


class Found(NamedTuple):
    """A place below a root, and the layout that it has."""

    layout: Layout
    place: Path


def layouts(entry: Known) -> Sequence[Layout]:
    """Of a set and of the set that it is a part of."""
    return (*entry.layouts, *(registry()[entry.subset_of].layouts if entry.subset_of else ()))


def find(root: Path, entry: Known, split: str = "") -> Found | None:
    """The first place that has one of the set's layouts; None where there is none."""
    for layout in layouts(entry):
        for name in layout.places:
            place = root / name
            whole = place.is_dir() and all((place / need).exists() for need in layout.needed(split))
            if whole and _fits(place, layout):
                return Found(layout, place)
    return None


def _fits(place: Path, layout: Layout) -> bool:
    """Folders of classes and flat pictures with a list may lie in the same place."""
    if layout.kind not in ("class-folders", "labelled-list"):
        return True
    with os.scandir(place) as entries:
        folders = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    if layout.kind == "class-folders":
        return bool(folders)
    return not any(_CLASS_FOLDER.fullmatch(name) for name in folders)


def missing(root: Path, entry: Known, split: str = "") -> str:
    """One sentence: nothing there, where it comes from, and what is expected."""
    ways = "; or ".join(_expected(layout, split) for layout in layouts(entry))
    return (
        f"{entry.name}{f' ({split})' if split else ''} is not below {root}; source: {entry.source}; expected: "
        f"{ways} (a link will do)"
    )


_SHAPE = {
    "flat": "pictures", "class-folders": "a folder a class", "split-folders": "a folder a class",
    "labelled-list": "pictures and a list of their labels", "image-list": "an image list and its pictures",
}  # fmt: skip


def _expected(layout: Layout, split: str) -> str:
    parts = [part for part in layout.needed(split) if part]
    what = _SHAPE.get(layout.kind, "the archive as it unpacks")
    places = ", ".join("the root itself" if place == "." else place for place in layout.places)
    return f"{what} in one of {places}{' with ' + ', '.join(parts) if parts else ''}"


def read(found: Found, entry: Known, split: str, root: Path) -> Reading:
    """The pictures and class names of what was found. Raises UsageError, NeglabelError: it is not whole."""
    return READERS[found.layout.kind](found.place, found.layout, entry, split, root)


def images(spec: str) -> FileSource:
    """``dataset:NAME[,root=DIR][,split=SPLIT]`` as pictures; labels are class names.

    Raises:
        UsageError: unknown, not there, or a split to choose.
        NeglabelError: there, but not whole.
    """
    what = asked(spec)
    entry = known(what.name)
    _need_split(spec, entry, what.split)
    root = what.folder()
    found = find(root, entry, what.split)
    if found is None:
        raise UsageError(missing(root, entry, what.split))
    reading = read(found, entry, what.split, root)
    items = [item._replace(label=reading.names[str(item.label)] if item.label is not None and reading.names else None)
             for item in reading.items]  # fmt: skip
    return FileSource(spec, items)


def class_names(spec: str) -> list[str]:
    """The class names of ``dataset:NAME…`` in class order; ImageNet's need no root.

    Raises:
        UsageError: a set without classes, or one whose names lie with its pictures, which are not there.
    """
    what = asked(spec)
    entry = known(what.name)
    if entry.class_names == "none":
        raise UsageError(f"{spec}: {entry.name} has no class names; name labels of the ID set")
    if entry.class_names == "imagenet":
        return list(imagenet_part(entry).values())
    if not isinstance(entry.class_names, str):
        return list(entry.class_names)
    root = what.folder()
    for split in (what.split, *entry.splits) if entry.splits else ("",):
        if (not entry.splits or split) and (found := find(root, entry, split)):
            return list(read(found, entry, split, root).names.values())
    raise UsageError(missing(root, entry, what.split))


def _need_split(spec: str, entry: Known, split: str) -> None:
    if entry.splits and not split:
        there = ", ".join(f"split={name} ({count:,})" for name, count in entry.splits.items())
        raise UsageError(f"{spec}: {entry.name} has several splits; write {spec},… with one of {there}")
