"""ID labels by the name of a known data set (``--labels dataset:NAME``) beside those in a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, SerializationInfo

from neglabel.corpora.uri import Remote, location
from neglabel.pipeline.known_datasets import DATASET, asked


@dataclass(frozen=True)
class NamedLabels:
    """``dataset:NAME[,root=DIR]`` with the part of :class:`pathlib.Path` that readers of labels use: it reads as the
    text file of its class names would."""

    spec: str

    def __str__(self) -> str:
        return self.spec

    def __rtruediv__(self, folder: Path) -> NamedLabels:
        return NamedLabels(str(asked(self.spec).below(folder)))

    @property
    def suffix(self) -> str:
        return ""

    @property
    def stem(self) -> str:
        return asked(self.spec).name

    def absolute(self) -> NamedLabels:
        return Path.cwd() / self

    def resolve(self) -> NamedLabels:
        return self.absolute()

    def exists(self) -> bool:
        """Whether it is known; :meth:`read_text` says what is wrong with one that can't be read."""
        return True

    def is_file(self) -> bool:
        return True

    def read_text(self, encoding: str = "utf-8") -> str:
        """A class name a line. Raises UsageError, NeglabelError as :func:`dataset_find.class_names`."""
        from neglabel.pipeline.dataset_find import class_names

        return "".join(f"{name}\n" for name in class_names(self.spec))


def _validated(value: Any) -> Path | Remote | NamedLabels:
    if not isinstance(value, (str, Path, Remote, NamedLabels)):
        raise ValueError(f"is a path, a URI or {DATASET}NAME, got {value!r}")
    if isinstance(value, NamedLabels):
        return value
    if isinstance(value, str) and not value.strip():
        raise ValueError("is empty; name a file, or " + DATASET + "NAME")
    if str(value).startswith(DATASET):
        asked(str(value))  # an unknown name is refused at once
        return NamedLabels(str(value))
    return location(value)


def _written(value: Path | Remote | NamedLabels, info: SerializationInfo) -> Path | str:
    if isinstance(value, NamedLabels):
        return str(value.absolute())
    return value if isinstance(value, Path) and info.mode == "python" else str(value)


#: Where ID labels are: a path, a URI, or the name of a known data set.
LabelsPlace = Annotated[Path | Remote | NamedLabels, PlainValidator(_validated), PlainSerializer(_written)]
