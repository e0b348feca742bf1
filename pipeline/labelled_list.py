"""ImageNet's flat validation pictures and the lists that label them.

======================================  ==========================================================================
list                                    a line
======================================  ==========================================================================
``val.txt`` (Caffe's)                   ``ILSVRC2012_val_00000001.JPEG 65``: class by sorted WordNet id, from 0
the same with a WordNet id              ``ILSVRC2012_val_00000001.JPEG n01751748``
``imagenet_2012_validation_synset_labels.txt``  ``n01751748``: of the pictures in order of their names
``LOC_val_solution.csv`` (Kaggle's)     ``ILSVRC2012_val_00000001,n01751748 111 108 …`` below a head
======================================  ==========================================================================

``ILSVRC2012_validation_ground_truth.txt`` numbers classes in an order of its own and is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from neglabel import NeglabelError
from neglabel.pipeline.images import Item

LISTS = (
    "val.txt", "imagenet_2012_validation_synset_labels.txt", "synset_labels.txt", "LOC_val_solution.csv",
    "ILSVRC2012_validation_ground_truth.txt",
)  # fmt: skip


def labelled(place: Path, items: Sequence[Item], root: Path, wnids: Sequence[str]) -> list[Item]:
    """The pictures with their WordNet ids as labels, by the first list beside them or above them up to ``root``.

    Raises:
        NeglabelError: no list, one that names other classes or not every picture.
    """
    path = _list_of(place, root)
    rows = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if path.suffix == ".csv":
        rows = [" ".join(row.replace(",", " ").split()[:2]) for row in rows if not row.startswith("ImageId")]
    fields = [row.split() for row in rows]
    if fields and all(len(row) == 1 for row in fields):
        classes = _in_order(path, items, [row[0] for row in fields])
    else:
        classes = {PurePosixPath(row[0]).stem: row[-1] for row in fields}
    known = set(wnids)
    found = []
    for item in items:
        value = classes.get(PurePosixPath(item.id).stem, "")
        wnid = wnids[int(value)] if value.isdecimal() and int(value) < len(wnids) else value
        if wnid not in known:
            what = f"gives it the class `{value}`, which is none" if value else "does not name it"
            raise NeglabelError(f"{item.path}: {path} {what}; take the list that belongs to these pictures")
        found.append(item._replace(label=wnid))
    return found


def _list_of(place: Path, root: Path) -> Path:
    folders = [place, *place.parents]
    folders = folders[: folders.index(root) + 1] if root in folders else folders[:1]
    for folder in folders:
        for name in LISTS:
            if (folder / name).is_file():
                return folder / name
    raise NeglabelError(
        f"{place} holds pictures without folders of classes and no list labels them; put {LISTS[0]}, {LISTS[1]} or "
        f"{LISTS[3]} beside or above them, or move the pictures into folders by WordNet id"
    )


def _in_order(path: Path, items: Sequence[Item], values: Sequence[str]) -> dict[str, str]:
    if all(value.isdecimal() for value in values):
        raise NeglabelError(
            f"{path} numbers classes in ILSVRC's own order, which needs meta.mat to read; take a list with WordNet ids"
        )
    if len(values) != len(items):
        raise NeglabelError(f"{path} has {len(values):,} lines for {len(items):,} pictures; they belong together")
    names = sorted(PurePosixPath(item.id).stem for item in items)
    return dict(zip(names, values, strict=True))
