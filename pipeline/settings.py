"""Settings of the stages: every option's name, type, default and help, written once.

Those of ``score`` and of what runs all stages are in ``score_settings.py`` and ``run_settings.py``. The command line
is built from these models (``neglabel.cli``), ``--config FILE.toml`` is read into them, and each stage writes its
effective settings beside its output as a file that ``--config`` reads again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from neglabel.pipeline.option_types import Device, Many, Share, StageSettings, Templates, Weights
from neglabel.pipeline.presets import PresetName


class _Model(StageSettings):
    """Options that name a model."""

    model: str = Field("ViT-B-16", description="open_clip model name, `emoji`, or a folder with open_clip_config.json")
    pretrained: str | None = Field(
        None,
        description="open_clip tag, or a checkpoint FILE (.safetensors, .pt); default: `openai`, "
        "or the model's own weights",
    )
    quickgelu: bool | None = Field(
        None, description="whether the checkpoint FILE was trained with QuickGELU (OpenAI's were)"
    )
    device: Device = Field("auto", description="auto, cpu or cuda")


class EncodeSettings(_Model):
    """Words of corpora → text embeddings in Parquet shards."""

    argument = "corpus"
    corpus: Annotated[tuple[str | dict[str, Any], ...], Many] = Field(
        (), description="`wordnet`, `wordnet:pos=n,lemmas=first`, or a file of words (`neglabel corpora` lists all); "
        "several: first seen wins"
    )
    dry_run: bool = Field(False, description="write nothing: count words, rejections, tokens, disk, time; no weights")
    out: Path | None = Field(None, validate_default=True, description="folder of the store; needed unless --dry-run")
    preset: PresetName = Field("paper", description="paper or official: prompts and corpus as published")
    prompt: Templates = Field(
        {}, description='prompt template, for all words or for some: "a {}", noun="the nice {}", fr:noun="le {}"'
    )
    dedupe: Literal["text", "text+pos", "none"] = Field("text", description="text, text+pos or none; first seen wins")
    precision: Literal["fp32", "fp16", "bf16", "auto"] = Field(
        "fp32", description="of the computation: fp32, fp16, bf16, or auto: the fastest here that embeds as fp32 does"
    )
    storage: Literal["float16", "float32"] = Field("float16", description="of the stored embedding: float16, float32")
    shard_rows: int = Field(65_536, ge=1, description="candidates a shard")
    batch_size: int = Field(256, ge=1, description="prompts a forward pass, if a text tower needs padding")
    devices: int = Field(1, ge=1, description="with CUDA: so many GPUs, a process or more on each")
    workers: int | None = Field(
        None, ge=0, le=64, description="processes a device, each with its copy of the model; 0: this one only; "
        "default: 0 on a CPU, 4 a GPU for many words"
    )
    limit: int | None = Field(None, ge=1, description="stop after so many candidates")
    sample: int | None = Field(None, ge=1, description="draw so many at random from all, whatever their order")
    seed: int = Field(0, ge=0, lt=2**63, description="of the sample")
    weights: Weights = Field((), description="with --sample: each corpus's part of it, as 3+1+1")
    too_long: Literal["keep", "drop"] = Field(
        "keep", description="words whose prompt exceeds the model's context: keep them cut, or drop"
    )

    @field_validator("out")
    @classmethod
    def _somewhere(cls, out: Path | None, info: ValidationInfo) -> Path | None:
        if out is None and not info.data.get("dry_run"):
            raise PydanticCustomError("missing", "Field required")
        return out

    @model_validator(mode="after")
    def _one_cut(self) -> EncodeSettings:
        if self.sample and self.limit:
            raise ValueError("--sample and --limit exclude each other; give one")
        if self.weights and not self.sample:
            raise ValueError("--weights needs --sample, the size of the mixture")
        if self.weights and len(self.weights) != (len(self.corpus) or 1):
            raise ValueError(
                f"--weights gives {len(self.weights)} numbers for {len(self.corpus) or 1} corpora; give one for each"
            )
        return self


class MineSettings(StageSettings):
    """Candidates and ID labels → the farthest as negative labels."""

    argument = "candidates"
    candidates: Annotated[tuple[Path, ...], Many] = Field(
        description="stores of `encode`, or Parquet files with text, embedding"
    )
    labels: Annotated[tuple[Path, ...] | Path, Many, AfterValidator(lambda v: v[0] if len(v) == 1 else v)] = Field(
        description="ID labels: a text file, one a line, or Parquet with text, embedding; several are mined in one pass"
    )
    out: Path = Field(description="FILE.parquet for the negative labels; with several --labels a folder of such")
    work: Path | None = Field(
        None, description="folder to keep what the next run needs of these candidates, so that it reads only new ones"
    )
    text_out: Path | None = Field(None, description="the words as text, one a line")
    preset: PresetName | None = Field(None, description="paper or official; default: the candidates' own, else paper")
    percentile: Share | None = Field(None, description="η, as a share: 0.05")
    top: int | None = Field(None, ge=1, description="M, how many to keep (with --per-pos: of each): 10000")
    top_share: Share | None = Field(None, description="keep this share of the candidates instead of a number")
    per_pos: bool | None = Field(None, description="rank parts of speech apart, nouns first")
    keep_id_names: bool | None = Field(None, description="keep candidates that are ID labels themselves")
    exclude: Annotated[tuple[Path, ...], Many] = Field((), description="text file of words never to keep")
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
    def label_sets(self) -> tuple[Path, ...]:
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


class ReportSettings(StageSettings):
    """Scores → tables, figures and a page."""

    argument = "scores"
    scores: Annotated[tuple[Path, ...], Many] = Field(description="folders of `score`")
    out: Path = Field(description="folder of the report")
    fpr: Literal["id-positive", "ood-positive"] = Field(
        "id-positive",
        description="FPR95: share of OOD accepted where 95 % of ID is (id-positive, the paper's), "
        "or share of ID rejected where 95 % of OOD is (ood-positive, OpenOOD's)",
    )
    cases: int = Field(4, ge=0, le=12, description="case pictures of each kind")
    title: str = Field("neglabel report", description="heading of the page")
    compare: Literal["corpus"] | None = Field(
        None, description="corpus: also compare the runs as sources of negatives, all else being equal"
    )
    hurting: int = Field(100, ge=1, description="with --compare: words that ID pictures answer to most, taken out")
    bootstrap: int = Field(200, ge=20, le=100_000, description="with --compare: times the pictures are drawn again")
    seed: int = Field(0, ge=0, description="with --compare: of the halves of ID pictures and of all drawing")
