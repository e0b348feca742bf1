"""Files that are there whole or not at all, their checksums, and folders that are ours to write."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from neglabel import NeglabelError, UsageError, __version__
from neglabel.corpora.storage import StorageError
from neglabel.corpora.uri import Location, Remote
from neglabel.pipeline import upload
from neglabel.pipeline.leftovers import sweep, temporary_name

#: Of the formats in docs/formats.md; a file of a higher one is refused.
VERSION = 1


@contextmanager
def replacing(path: Location) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place, synced, when the block ends well.

    For a URI it is a local file as well, which is then uploaded and compared (:mod:`neglabel.pipeline.upload`).

    Raises NeglabelError where the disk refuses (full, read-only, no permission), or the storage.
    """
    if isinstance(path, Remote):
        with _uploading(path) as spare:
            yield spare
        return
    temporary = path.with_name(temporary_name(path.name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        reason = _reason(error, temporary)
        raise NeglabelError(f"can't write {path}: {reason}; check free space and permissions") from error
    finally:
        with suppress(OSError):  # where none could be made: below a file
            temporary.unlink()


@contextmanager
def _uploading(to: Remote) -> Iterator[Path]:
    try:
        with upload.spare(to.name) as temporary:
            yield temporary
            upload.publish(temporary, to)
    except OSError as error:
        reason, folder = _reason(error, Path(to.name)), tempfile.gettempdir()
        raise NeglabelError(f"can't write {to}: {reason} in {folder}; free space there, or set TMPDIR") from error


def _reason(error: OSError, temporary: Path) -> str:
    # pyarrow's own message names the temporary file, which is no concern of the user's.
    return error.strerror if error.strerror and temporary.name not in error.strerror else type(error).__name__


def _sync_folder(folder: Path) -> None:
    """A rename survives a power cut only when its folder is synced too (POSIX; Windows can't open a folder)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_text(path: Location, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Location, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Location, kind: str) -> dict[str, Any]:
    """A JSON file whose ``format`` is ``kind``.

    Raises:
        UsageError: missing, of another stage, or of a newer version.
        NeglabelError: damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist; is {path.parent} the output of the stage before?") from None
    except (OSError, ValueError, RecursionError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise NeglabelError(f"{path} can't be read: {why}; run the stage that wrote it again") from None
    if not isinstance(value, dict) or value.get("format") != kind:
        raise UsageError(f"{path} is not a {kind} manifest; name the folder that the stage before wrote")
    if not isinstance(value.get("version"), int):
        raise NeglabelError(f"{path} is damaged: it says no version; run the stage that wrote it again")
    if value["version"] > VERSION:
        raise UsageError(f"{path} was made by a newer neglabel (version {value.get('version')}); update neglabel")
    return value


def sha256(path: Location) -> str:
    if isinstance(path, Remote):
        return upload.digest_of(path)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def claim_folder(folder: Location, kind: str, create: bool = True) -> None:
    """Create ``folder`` for a stage (with ``create``), or refuse one that holds something else.

    A folder is ours if it is empty, or its ``manifest.json`` is of ``kind``.

    Raises:
        UsageError: it is a file, holds other things, or can't be looked at.
    """
    try:
        is_file = folder.exists() and not folder.is_dir()
    except OSError as error:
        raise UsageError(f"--out {str(folder)[:200]} can't be looked at: {error.strerror}") from None
    if is_file:
        raise UsageError(f"--out {folder} is a file; name a folder")
    if isinstance(folder, Path):
        sweep(folder)
    if folder.is_dir() and (there := [p.name for p in folder.iterdir() if not p.name.endswith((".part", ".lock"))]):
        if "manifest.json" not in there:
            raise UsageError(f"--out {folder} holds something else ({sorted(there)[0]}); name a new or empty folder")
        try:
            read_json(folder / "manifest.json", kind)
        except StorageError:
            raise
        except NeglabelError:
            raise UsageError(
                f"--out {folder} holds another stage's output or a damaged manifest.json; name a new folder"
            ) from None
    if not create:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {folder} can't be created: {error.strerror}") from None


def versions() -> dict[str, str]:
    """Versions of what shapes a result, for manifests and pages."""
    found = {"neglabel": __version__, "python": platform.python_version(), "platform": platform.machine()}
    for name in ("torch", "open_clip_torch", "faiss-gpu", "faiss-cpu", "numpy", "pyarrow", "nltk"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
