"""``hf:`` specs: data sets of the Hugging Face hub, saved to disk, or an ``imagefolder``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from neglabel import UsageError
from neglabel.pipeline.image_hub import answers, loaded
from neglabel.pipeline.image_tables import TableSource, table
from neglabel.pipeline.images import HF


class _Named(NamedTuple):
    """A spec taken apart: ``name`` a data set or a folder, ``folder`` of an ``imagefolder``, empty where not given."""

    name: str
    config: str
    folder: str
    split: str

    def absolute(self, split: str) -> str:
        """The spec that means the same from any working directory, with ``split`` (may be empty) as it came out."""
        if self.folder:
            text = f"{self.name}:{Path(self.folder).absolute()}"
        else:
            place = str(Path(self.name).absolute()) if Path(self.name).is_dir() else self.name
            text = f"{place}:{self.config}" if self.config else place
        return f"{HF}{text}@{split}" if split else f"{HF}{text}"


def _is_folder(name: str) -> bool:
    return bool(name) and Path(name).is_dir()


def _parse(spec: str) -> _Named:
    text = spec.removeprefix(HF)
    head, at, split = text.rpartition("@")
    # Folders may have @ and colons in their names.
    if not at or "/" in split or _is_folder(text.removeprefix("imagefolder:")):
        head, split = text, ""
    if _is_folder(head):
        return _Named(head, "", "", split)
    name, _, rest = head.partition(":")
    if not name or (name == "imagefolder" and not rest):
        raise UsageError(f"{spec!r} names no data set; write hf:NAME[:CONFIG][@SPLIT] or hf:imagefolder:DIR[@SPLIT]")
    if name != "imagefolder":
        return _Named(name, rest, "", split)
    if not Path(rest).is_dir():
        raise UsageError(f"{spec}: the folder {rest} does not exist")
    return _Named(name, "", rest, split)


def hugging_face(spec: str) -> TableSource:
    """``hf:NAME[:CONFIG][@SPLIT]`` or ``hf:imagefolder:DIR[@SPLIT]`` through ``datasets``.

    A folder written by ``save_to_disk`` may stand for NAME. The image column is found by its type, the label is the
    column ``label`` or the only one that is a ``ClassLabel``.

    Raises:
        UsageError: an unknown data set or split, several splits and none named, no image column.
        NeglabelError: the hub can't be reached, or the data set can't be read.
    """
    import datasets

    named = _parse(spec)
    local = Path(named.name).is_dir()
    if local and any((Path(named.name) / f).exists() for f in ("state.json", "dataset_dict.json")):
        there, chosen = loaded(spec, lambda: datasets.load_from_disk(named.name)), ""
        if isinstance(there, datasets.DatasetDict):
            chosen = _split(spec, named.split, list(there))
            there = there[chosen]
        return table(spec, there, named.absolute(chosen))
    where = {"data_dir": named.folder} if named.folder else {}
    config, offline = named.config or None, not (local or named.folder or answers(named.name))
    splits = loaded(spec, lambda: datasets.get_dataset_split_names(named.name, config, **where), offline)
    chosen = _split(spec, named.split, splits)
    rows = loaded(spec, lambda: datasets.load_dataset(named.name, config, split=chosen, **where), offline)
    return table(spec, rows, named.absolute(chosen))


def _split(spec: str, asked: str, there: list[str]) -> str:
    if asked in there:
        return asked
    if not asked and len(there) == 1:
        return there[0]
    what = f"has no split {asked!r}" if asked else "has several splits"
    raise UsageError(f"{spec} {what}; write hf:…@SPLIT with one of {', '.join(there)}")
