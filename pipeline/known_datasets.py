"""The data sets that papers on OOD detection use: what is known of each, and how a spec names one.

``known_datasets.toml`` holds a table a set; its head explains the keys. A spec is
``dataset:NAME[,root=DIR][,split=SPLIT]``; the root defaults to the environment variable :data:`ROOT`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from neglabel import UsageError
from neglabel.corpora.uri import is_uri
from neglabel.pipeline.config import read_toml

DATASET = "dataset:"
#: The environment variable that names the folder of all data sets.
ROOT = "NEGLABEL_DATA"
Kind = Literal[
    "flat", "class-folders", "split-folders", "labelled-list", "image-list", "cars", "cub", "pets", "food", "waterbirds"
]
_OPTION = re.compile(r",(?=\w+=)")


class Layout(BaseModel):
    """One way in which a data set lies on disk."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Kind
    #: Folders below the root, tried in order.
    places: tuple[str, ...]
    #: Of an image list: the list and the pictures' folder, below a place.
    list: str = ""
    images: str = ""
    #: Files and folders below a place without which it is another data set, or not all of this one.
    needs: tuple[str, ...] = ()
    split_needs: Mapping[str, tuple[str, ...]] = {}

    def needed(self, split: str) -> tuple[str, ...]:
        own = (self.list, self.images) if self.kind == "image-list" else ()
        return (*own, *self.needs, *self.split_needs.get(split, ()))


class Known(BaseModel):
    """What is known of a data set; the keys as the head of ``known_datasets.toml`` explains them."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    title: str
    role: Literal["id", "ood"]
    count: int | None = None
    classes: int | None = None
    splits: Mapping[str, int] = {}
    class_names: str | tuple[str, ...]
    #: Folders are class numbers.
    numbered: bool = False
    sha256: str = ""
    wnids: tuple[str, ...] = ()
    wnid_file: str = ""
    #: The pictures may also lie in this set, among others.
    subset_of: str = ""
    layouts: tuple[Layout, ...]
    source: str
    paper: str
    licence: str
    note: str = ""
    evidence: str

    def expected(self, split: str) -> int | None:
        """How many pictures there should be; None where nobody knows."""
        return self.splits[split] if self.splits else self.count


class Asked(NamedTuple):
    """A spec taken apart; ``root`` as written, empty where the environment decides."""

    name: str
    root: str
    split: str

    def __str__(self) -> str:
        options = [f",{key}={value}" for key, value in (("root", self.root), ("split", self.split)) if value]
        return f"{DATASET}{self.name}{''.join(options)}"

    def below(self, folder: Path) -> Asked:
        """The same with its root, where it is relative, taken from ``folder``."""
        return self._replace(root=str(folder / self.root)) if self.root else self

    def folder(self) -> Path:
        """The root. Raises UsageError: none named, or no folder."""
        text = self.root or os.environ.get(ROOT, "")
        if not text:
            raise UsageError(f"{self}: say where the data lie: {DATASET}{self.name},root=DIR, or set {ROOT}")
        return root_folder(text)


@lru_cache(maxsize=1)
def registry() -> Mapping[str, Known]:
    """Every known data set by name, in the file's order."""
    tables = read_toml(Path(__file__).with_name("known_datasets.toml"))
    return {name: Known(name=name, **table) for name, table in tables.items()}


def known(name: str) -> Known:
    """The data set called ``name``. Raises UsageError: none, with those that there are."""
    sets = registry()
    if name not in sets:
        raise UsageError(f"no data set `{name}`; known: {', '.join(sets)}")
    return sets[name]


def root_folder(text: str) -> Path:
    """Raises UsageError: empty, or not a folder of this machine."""
    if is_uri(text):
        raise UsageError(f"{text}: known data sets are found by folder names on this machine; name a local root")
    if not text.strip():
        raise UsageError(f"the root of data sets is empty; name the folder, or leave it out and set {ROOT}")
    folder = Path(text).expanduser()
    if not folder.is_dir():
        raise UsageError(f"the root of data sets {text} is not a folder; name the one that holds them, or set {ROOT}")
    return folder


def asked(spec: str) -> Asked:
    """Take ``dataset:NAME,root=DIR,split=SPLIT`` apart; a folder's name may hold commas.

    Raises:
        UsageError: an unknown data set, option or split, or an option that is empty or given twice.
    """
    name, *options = _OPTION.split(spec.removeprefix(DATASET))
    entry, given = known(name), dict[str, str]()
    for option in options:
        key, _, value = option.partition("=")
        if key not in ("root", "split"):
            raise UsageError(f"{spec}: `{key}` is no option of a data set; valid: root, split")
        if key in given:
            raise UsageError(f"{spec}: `{key}` is given twice")
        if not value.strip():
            raise UsageError(f"{spec}: `{key}` is empty; give it a value or leave it out")
        given[key] = value
    split = given.get("split", "")
    if split and split not in entry.splits:
        there = f"write one of {', '.join(entry.splits)}" if entry.splits else "leave it out"
        raise UsageError(f"{spec}: {name} has no split `{split}`; {there}")
    return Asked(name, given.get("root", ""), split)
