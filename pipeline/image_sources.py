"""Pictures in files: one, a folder of them, or an image list."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from neglabel import NeglabelError, UsageError
from neglabel.corpora.uri import Location, Remote, Stat
from neglabel.pipeline.images import EXTENSIONS, Item, contents, decode


@dataclass(frozen=True)
class FileSource:
    """Pictures that are files; ``items[i].path`` opens picture i."""

    spec: str
    items: Sequence[Item]
    embeddings: Location | None = None
    #: Of pictures by URI: path → size and time of change, as they were listed.
    stats: Mapping[str, Stat] = field(default_factory=dict)

    def places(self) -> Sequence[str]:
        """The files."""
        return [item.path for item in self.items]

    def open(self, row: int) -> Image.Image:
        """Decode file ``row``; raises what Pillow and the file system raise."""
        return decode(contents(self.items[row].path))

    def signature(self, row: int) -> str:
        """Name, size and time of change; of a file that has gone, its name."""
        item = self.items[row]
        try:
            stat = self.stats.get(item.path) or os.stat(item.path)
        except OSError:
            return f"{item.id}\t-\t-"
        return f"{item.id}\t{stat.st_size}\t{stat.st_mtime_ns}"


def single(path: Location) -> FileSource:
    """One file, whatever its extension; its label is unknown."""
    if isinstance(path, Remote):
        return FileSource(str(path), [Item(path.name, str(path), None)], stats={str(path): path.stat()})
    return FileSource(str(path), [Item(path.name, str(path.absolute()), None)])


def folder(path: Location) -> FileSource:
    """Every image file below ``path``, sorted by relative path; hidden files and folders are skipped.

    The label is the first folder below ``path`` (torchvision's ``ImageFolder`` rule), None for files directly in it.
    Symbolic links are followed, but for one that leads back into its own parents.

    Raises:
        UsageError: there is no image file.
        NeglabelError: a folder can't be read.
    """
    if isinstance(path, Remote):
        items, stats = _tree(path)
    else:
        items, stats = _files(path), {}
    if not items:
        raise UsageError(f"{path} holds no image file ({' '.join(sorted(EXTENSIONS))})")
    return FileSource(str(path), items, stats=stats)


def _tree(root: Remote) -> tuple[list[Item], dict[str, Stat]]:
    """By one listing, for a folder of a bucket costs a request."""
    items, stats = [], {}
    for parts, stat in sorted((tuple(name.split("/")), stat) for name, stat in root.tree().items()):
        if os.path.splitext(parts[-1])[1].lower() in EXTENSIONS and not any(part.startswith(".") for part in parts):
            path = str(root / "/".join(parts))
            items.append(Item("/".join(parts), path, parts[0] if len(parts) > 1 else None))
            stats[path] = stat
    return items, stats


def _files(path: Path) -> list[Item]:
    items, root = [], path.absolute()
    try:
        for parts in sorted(_walk(path, (), ())):
            items.append(Item("/".join(parts), str(root.joinpath(*parts)), parts[0] if len(parts) > 1 else None))
    except OSError as error:
        raise NeglabelError(f"can't list {error.filename or path}: {error.strerror}; check permissions") from None
    return items


def _walk(path: Path, parts: tuple[str, ...], above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    real = os.path.realpath(path)
    if real in above:
        return
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _walk(path / entry.name, (*parts, entry.name), (*above, real))
            elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS:
                yield (*parts, entry.name)


def image_list(spec: str, path: Location, root: Location) -> FileSource:
    """An image list: a line is ``path label``; the label is the last field, so paths may hold spaces.

    The order is the list's. A label of digits is a class index; a negative one means unknown (as in OpenOOD's lists
    of OOD pictures); anything else is a class name. A line without a label is a path alone.

    Raises:
        UsageError: the list or ROOT is missing, the list is empty or not UTF-8 text, or it names a missing file.
    """
    if not root.is_dir():
        raise UsageError(f"{root}, the root of image list {path}, is not a folder; write {path}@ROOT")
    try:
        # Not splitlines(): a file's name may hold U+2028. Empty lines count, so that errors name the right one.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise UsageError(f"image list {path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise NeglabelError(f"image list {path} can't be read: {error}; save it as UTF-8 text") from None
    there = root.tree() if isinstance(root, Remote) else None
    items = [_listed(line, path, root, number, there) for number, line in enumerate(lines, 1) if line.strip()]
    if not items:
        raise UsageError(f"image list {path} is empty; write `path label` on each line")
    return FileSource(spec, items, stats={item.path: there[item.id] for item in items} if there else {})


def _listed(line: str, path: Location, root: Location, number: int, there: Container[str] | None) -> Item:
    """``there``: the files below ``root``, where they were listed."""

    def is_file(name: str) -> bool:
        place = root / name
        return place.is_file() if there is None or isinstance(place, Path) else name in there

    line = line.strip()
    name, label = [*line.rsplit(maxsplit=1), ""][:2]
    # A path alone may hold spaces too; what exists on disk decides.
    if not label or not is_file(name):
        if is_file(line):
            name, label = line, ""
        else:
            raise UsageError(
                f"{path}, line {number}: {root / name} does not exist; "
                f"correct the list, or name the pictures' folder as {path}@ROOT"
            )
    return Item(name, str(root.absolute() / name), _label(label))


def _label(text: str) -> str | int | None:
    try:
        index = int(text)
    except ValueError:
        return text or None
    return index if index >= 0 else None
