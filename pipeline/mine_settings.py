"""Options of ``mine``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from neglabel.corpora.uri import Remote
from neglabel.pipeline.engine import Address, Engine
from neglabel.pipeline.named_labels import LabelsPlace, NamedLabels
from neglabel.pipeline.option_types import Device, Location, Many, Share, StageSettings
from neglabel.pipeline.presets import PresetName


class MineSettings(StageSettings):
    """Candidates and ID labels → the farthest as negative labels."""

    argument = "candidates"
    candidates: Annotated[tuple[Location, ...], Many] = Field(
        description="stores of `encode`, or Parquet files with text, embedding"
    )
    labels: Annotated[
        tuple[LabelsPlace, ...] | LabelsPlace, Many, AfterValidator(lambda v: v[0] if len(v) == 1 else v)
    ] = Field(
        description="ID labels: a text file, one a line, Parquet with text, embedding, or dataset:NAME; or several"
    )
    out: Location = Field(description="FILE.parquet for the negative labels; with several --labels a folder of such")
    work: Location | None = Field(
        None, description="folder to keep what the next run needs of these candidates, so that it reads only new ones"
    )
    text_out: Location | None = Field(None, description="the words as text, one a line")
    preset: PresetName | None = Field(None, description="paper or official; default: the candidates' own, else paper")
    percentile: Share | None = Field(None, description="η, as a share: 0.05")
    top: int | None = Field(None, ge=1, description="M, how many to keep (with --per-pos: of each): 10000")
    top_share: Share | None = Field(None, description="keep this share of the candidates instead of a number")
    per_pos: bool | None = Field(None, description="rank parts of speech apart, nouns first")
    keep_id_names: bool | None = Field(None, description="keep candidates that are ID labels themselves")
    exclude: Annotated[tuple[Location, ...], Many] = Field((), description="text file of words never to keep")
    dedupe: Literal["text", "text+pos", "none"] | None = Field(
        None, description="across the stores: text, text+pos or none; default: as the stores were encoded"
    )
    sample: int | None = Field(
        None, ge=1, description="cut the candidates to so many first, a uniform sample of what is left after dropping"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="of --sample")
    random: int | None = Field(None, ge=0, description="seed: choose at random instead of the farthest (a baseline)")
    label_prompt: Annotated[tuple[str, ...], Many] = Field(
        (), description="prompt template for labels; several are averaged"
    )
    model: str | None = Field(None, description="model of the labels, where the candidates don't say theirs")
    pretrained: str | None = Field(None, description="weights of that model")
    quickgelu: bool | None = Field(None, description="see `encode`")
    device: Device = Field("auto", description="auto, cpu or cuda")
    engine: Engine = "local"
    address: Address = None

    @model_validator(mode="after")
    def _one_size(self) -> MineSettings:
        if self.top is not None and self.top_share is not None:
            raise ValueError("top and top_share exclude each other; give one")
        if len(self.label_sets) != len({path.stem for path in self.label_sets}):
            raise ValueError("--labels has two files of one name; their negatives would be one file, rename one")
        if len(self.label_sets) > 1 and self.text_out:
            raise ValueError("--text-out is for one set of --labels; leave it out")
        return self

    @property
    def label_sets(self) -> tuple[Path | Remote | NamedLabels, ...]:
        """The files of ``labels``, however many."""
        return self.labels if isinstance(self.labels, tuple) else (self.labels,)

    def each(self) -> list[MineSettings]:
        """The settings of a run of each label set alone: of several, ``out`` is a folder with a file a set."""
        if len(self.label_sets) == 1:
            return [self]
        return [
            self.model_copy(update={"labels": path, "out": self.out / f"{path.stem}.parquet"})
            for path in self.label_sets
        ]
