"""Settings of what runs all stages: `neglabel run` and `neglabel quickstart`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from neglabel.pipeline.named_labels import LabelsPlace
from neglabel.pipeline.option_types import UNSAFE, Device, Location, Many, StageSettings
from neglabel.pipeline.presets import PresetName

#: The row of all sources together.
UNION = "union"
#: One corpus or several.
Source = Annotated[tuple[str | dict[str, Any], ...], Many]


class RunSettings(StageSettings):
    """All four stages in one file; the tables hold the stages' own options."""

    out: Location = Field(description="folder of everything the run writes")
    labels: LabelsPlace = Field(description="ID labels: a text file, one a line, or dataset:NAME")
    corpus: Annotated[tuple[str | dict[str, Any], ...], Many] = Field((), description="as in `encode`")
    sources: dict[str, Source] | None = Field(None, description="NAME = corpus or corpora: sources to compare")
    source_candidates: int | None = Field(
        None, ge=1, description="candidates of each source; default: as many as every source has"
    )
    source_seed: int = Field(0, ge=0, lt=2**63 - 1, description="of the draw of those candidates")
    model: str = Field("ViT-B-16", description="as in `encode`")
    pretrained: str | None = Field(None, description="as in `encode`")
    quickgelu: bool | None = Field(None, description="as in `encode`")
    preset: PresetName = Field("paper", description="as in `encode`")
    device: Device = Field("auto", description="auto, cpu or cuda")
    random_seeds: int = Field(0, ge=0, le=100, description="also score so many sets of random negatives")
    encode: dict[str, Any] = Field({}, description="options of encode")
    mine: dict[str, Any] = Field({}, description="options of mine")
    score: dict[str, Any] = Field({}, description="options of score: id, ood, images, …")
    report: dict[str, Any] = Field({}, description="options of report")

    @model_validator(mode="after")
    def _one_kind(self) -> RunSettings:
        if self.sources is None:
            if self.source_candidates is not None:
                raise ValueError("source_candidates is of [sources]; name some, or leave it out")
            return self
        if self.corpus:
            raise ValueError("corpus and [sources] exclude each other; give one")
        if self.random_seeds:
            raise ValueError("random_seeds is of a run without [sources]; leave it out")
        names = [*map(str.casefold, self.sources), UNION]
        for name in self.sources:
            if name.casefold() == UNION:
                raise ValueError(f"[sources] {name}: the union of all sources has that name; choose another")
            # Case-folded, since macOS and Windows would write both into one folder.
            if names.count(name.casefold()) > 1:
                raise ValueError(f"[sources] {name} is there twice but for its case; give each source its own name")
            if UNSAFE.search(name) or not name or len(name.encode()) > 100:
                raise ValueError(f"[sources] {name!r} becomes a folder's name; use letters, digits, - and _")
            if not self.sources[name]:
                raise ValueError(f"[sources] {name} names no corpus")
        if len(self.sources) < 2:
            raise ValueError("[sources] names fewer than two sources; name two or more, or give corpus instead")
        return self


def local_folder(value: Any) -> Any:
    """Of an option: refuse a URI."""
    # A shell's `s3://x` is `s3:/x` by the time that it is a path.
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(value)):
        raise ValueError(f"is a folder of this machine, got {value}")
    return value


class QuickstartSettings(StageSettings):
    """The four stages on the embedded world: a small CLIP of our own, WordNet, pictures of emoji."""

    out: Annotated[Path, BeforeValidator(local_folder)] = Field(
        Path("neglabel-quickstart"), description="folder of everything it writes"
    )
    seeds: int = Field(5, ge=0, le=100, description="sets of random negatives to compare with")
