"""Where pictures come from: a spec string → a source that lists them in a fixed order and decodes one at a time.

==========================  ==========================================================================================
spec                        pictures
==========================  ==========================================================================================
``cat.jpg``                 one file
``DIR``                     every image file below a folder; the first sub-folder is the label (none: unknown)
``LIST.txt``                an image list, ``path label`` a line (OpenOOD's), paths relative to the list's folder
``LIST.txt@ROOT``           the same, paths relative to ROOT
``hf:NAME``                 a Hugging Face data set; ``hf:NAME:CONFIG`` one of its configurations
``hf:imagefolder:DIR``      a folder as ``datasets`` reads it
``hf:…@SPLIT``              that split; may be left out where there is one only
``dataset:NAME,root=DIR``   a known data set (:mod:`neglabel.pipeline.known_datasets`); its labels are class names
``FILE.parquet``            with ``embedding``: nothing to decode; else with ``image``, as the Hugging Face hub has them
==========================  ==========================================================================================

A file, folder, list, root or Parquet file may be a URI (``s3://…``).

Pixels reach the model's own preprocessing as the file has them: EXIF orientation is not applied, since neither
open_clip nor torchvision applies it, and modes (palette, RGBA, grey) are converted there by ``convert("RGB")``.
Only 16-bit grey is scaled to 8 bits before, as ``convert`` would clip it to white.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from PIL import Image, UnidentifiedImageError

from neglabel import NeglabelError, UsageError
from neglabel.corpora.uri import Location, Remote, is_uri, location
from neglabel.pipeline.known_datasets import DATASET
from neglabel.pipeline.remember import remembered

#: Extensions that a folder is searched for, in lower case.
EXTENSIONS = frozenset(
    [".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".jp2"]
)
#: What may be decoded, whatever a file is called: Pillow would hand EPS to Ghostscript.
FORMATS = frozenset(["JPEG", "MPO", "PNG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000"])
HF = "hf:"
#: Of a picture that is decoded: where Pillow begins to warn. Its own limit is twice that, a gigabyte a thread.
MAX_PIXELS = 89_478_485
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class Item(NamedTuple):
    """One picture: its name in the source, where it opens again from anywhere (an absolute path; see
    :func:`open_path`), its label (a name, a class index, None: unknown)."""

    id: str
    path: str
    label: str | int | None


class Source(Protocol):
    """Pictures in a fixed order."""

    @property
    def spec(self) -> str:
        """As the user wrote it."""
        ...

    @property
    def items(self) -> Sequence[Item]:
        """Every picture, in order; a row is an index into this."""
        ...

    @property
    def embeddings(self) -> Location | None:
        """The Parquet file that holds vectors instead of pictures; None where there is something to decode."""
        ...

    def places(self) -> Sequence[str]:
        """Where each picture lies: the file, or table and row; two sources that name one place share that picture."""
        ...

    def open(self, row: int) -> Image.Image:
        """Decode picture ``row`` wholly, in its file's mode. Raises whatever is wrong with it."""
        ...

    def signature(self, row: int) -> str:
        """What changes when the picture does: its id, size and time of change."""
        ...


@remembered(1_000)
def open_images(spec: str) -> Source:
    """List the pictures of ``spec`` (the table above); decodes nothing.

    Raises:
        UsageError: nothing there, no pictures, a malformed list, an unknown data set or split.
        NeglabelError: a file or data set that can't be read.
    """
    from neglabel.pipeline import dataset_find, image_datasets, image_sources, image_tables

    if spec.startswith(HF):
        return image_datasets.hugging_face(spec)
    if spec.startswith(DATASET):
        return dataset_find.images(spec)
    listed, root = list_and_root(spec)
    if root and (is_uri(listed) or not Path(spec).exists()):
        return image_sources.image_list(spec, location(listed), location(root))
    path = location(spec)
    if path.is_dir():
        return image_sources.folder(path)
    if not path.exists():
        raise UsageError(
            f"pictures {spec} do not exist; name a file, folder, LIST.txt[@ROOT], FILE.parquet, hf:NAME or dataset:NAME"
        )
    suffix = path.suffix.lower()
    if suffix == ".txt":
        return image_sources.image_list(spec, path, path.parent)
    if suffix == ".parquet":
        return image_tables.parquet(path)
    return image_sources.single(path)


def list_and_root(spec: str) -> tuple[str, str]:
    """``LIST.txt@ROOT`` → its two parts; the root is empty where the spec is of another form."""
    name, at, root = spec.rpartition("@")
    return (name, root) if at and location(name).suffix.lower() == ".txt" else (spec, "")


def known_label(label: Any) -> str | int | None:
    """A table's label; a negative index or an empty name means unknown."""
    if isinstance(label, int):
        return label if label >= 0 else None
    return label or None


def contents(path: str) -> Path | bytes:
    """What :func:`decode` takes for a picture's ``path``: of a URI, its bytes."""
    place = location(path)
    return place.read_bytes() if isinstance(place, Remote) else place


def decode(file: Path | bytes) -> Image.Image:
    """A picture with its pixels loaded, in its file's mode but for 16-bit grey (→ 8 bits).

    Raises what Pillow raises: not an image, truncated, more pixels than is safe. :func:`reason` puts it in words.
    """
    Image.init()
    formats = sorted(FORMATS & set(Image.OPEN))
    with Image.open(BytesIO(file) if isinstance(file, bytes) else file, formats=formats) as im:
        if im.width * im.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        im.load()
        if im.mode.startswith("I;16") or (im.mode == "I" and im.format == "PNG"):
            whole: Image.Image = im.convert("I").point(lambda value: value / 257).convert("L")
            return whole
    loaded: Image.Image = im  # its pixels are loaded: closing the file leaves them
    return loaded


def reason(error: Exception) -> str:
    """Why a picture could not be decoded, for people."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image (or a format that is not read)"
    if isinstance(error, Image.DecompressionBombError):
        return "more pixels than is safe to decode"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if "truncated" in str(error).lower():
        return "truncated"
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__


def open_path(path: str) -> Image.Image:
    """Open a picture again from the ``path`` column of a scores file: an RGB image.

    Args:
        path: a file's path, or ``SPEC#row`` for ``hf:`` and Parquet sources.

    Raises:
        NeglabelError: no path, or the picture is gone or can't be decoded.
    """
    if not path:
        raise NeglabelError("this picture has no path (it was scored from an embedding), so it can't be shown")
    try:
        spec, hash_sign, row = path.rpartition("#")
        if hash_sign and row.isdecimal() and (spec.startswith(HF) or location(spec).suffix.lower() == ".parquet"):
            source = _reopened(spec)
            if int(row) >= len(source.items):
                raise NeglabelError(f"{spec} has no row {row} any more; score it again")
            return source.open(int(row)).convert("RGB")
        return decode(contents(path)).convert("RGB")
    except NeglabelError:
        raise
    except Exception as error:
        raise NeglabelError(f"picture {path} can't be opened again: {reason(error)}") from None


@lru_cache(maxsize=4)
def _reopened(spec: str) -> Source:
    return open_images(spec)


def fingerprint(source: Source, rows: Sequence[int]) -> str:
    """A digest of these pictures' names, sizes and times of change, in order: what a cache may be keyed by."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(source.signature(row).encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()
