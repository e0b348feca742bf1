"""Pictures in files: one, a folder of them, or an image list."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from neglabel import NeglabelError, UsageError
from neglabel.pipeline.images import EXTENSIONS, Item, decode


@dataclass(frozen=True)
class FileSource:
    """Pictures that are files; ``items[i].path`` opens picture i."""

    spec: str
    items: Sequence[Item]
    embeddings: Path | None = None

    def places(self) -> Sequence[str]:
        """The files."""
        return [item.path for item in self.items]

    def open(self, row: int) -> Image.Image:
        """Decode file ``row``; raises what Pillow and the file system raise."""
        return decode(Path(self.items[row].path))

    def signature(self, row: int) -> str:
        """Name, size and time of change; of a file that has gone, its name."""
        item = self.items[row]
        try:
            stat = os.stat(item.path)
        except OSError:
            return f"{item.id}\t-\t-"
        return f"{item.id}\t{stat.st_size}\t{stat.st_mtime_ns}"


def single(path: Path) -> FileSource:
    """One file, whatever its extension; its label is unknown."""
    return FileSource(str(path), [Item(path.name, str(path.absolute()), None)])


def folder(path: Path) -> FileSource:
    """Every image file below ``path``, sorted by relative path; hidden files and folders are skipped.

    The label is the first folder below ``path`` (torchvision's ``ImageFolder`` rule), None for files directly in it.
    Symbolic links are followed, but for one that leads back into its own parents.

    Raises:
        UsageError: there is no image file.
        NeglabelError: a folder can't be read.
    """
    items, root = [], path.absolute()
    try:
        for parts in sorted(_walk(path, (), ())):
            items.append(Item("/".join(parts), str(root.joinpath(*parts)), parts[0] if len(parts) > 1 else None))
    except OSError as error:
        raise NeglabelError(f"can't list {error.filename or path}: {error.strerror}; check permissions") from None
    if not items:
        raise UsageError(f"{path} holds no image file ({' '.join(sorted(EXTENSIONS))})")
    return FileSource(str(path), items)


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


def image_list(spec: str, path: Path, root: Path) -> FileSource:
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
    items = [_listed(line, path, root, number) for number, line in enumerate(lines, 1) if line.strip()]
    if not items:
        raise UsageError(f"image list {path} is empty; write `path label` on each line")
    return FileSource(spec, items)


def _listed(line: str, path: Path, root: Path, number: int) -> Item:
    line = line.strip()
    name, label = [*line.rsplit(maxsplit=1), ""][:2]
    # A path alone may hold spaces too; what exists on disk decides.
    if not label or not (root / name).is_file():
        if (root / line).is_file():
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
