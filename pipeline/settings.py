"""Settings of the stages: every option's name, type, default and help, written once.

Those of ``mine``, ``score`` and of what runs all stages are in ``mine_settings.py``, ``score_settings.py`` and
``run_settings.py``. The command line is built from these models (``neglabel.cli``), ``--config FILE.toml`` is read into
them, and each stage writes its effective settings beside its output as a file that ``--config`` reads again.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from neglabel.pipeline.engine import Address, Engine, ShardOf
from neglabel.pipeline.option_types import Convention, Device, Location, Many, StageSettings, Templates, Weights
from neglabel.pipeline.presets import PresetName


class _Model(StageSettings):
    """Options that name a model."""

    model: str = Field(
        "ViT-B-16",
        description="open_clip model name, `emoji`, a folder with open_clip_config.json, or hf:FOLDER or "
        "hf:OWNER/NAME[@REVISION] of transformers (ALIGN, AltCLIP, GroupViT)",
    )
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
    out: Location | None = Field(
        None, validate_default=True, description="folder of the store; needed unless --dry-run"
    )
    preset: PresetName = Field("paper", description="paper, official or csp: prompts and corpus as published")
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
    workers: int = Field(
        0, ge=0, le=64, description="processes a device, each with its copy of the model; 0: this process alone"
    )
    limit: int | None = Field(None, ge=1, description="stop after so many candidates")
    sample: int | None = Field(None, ge=1, description="draw so many at random from all, whatever their order")
    seed: int = Field(0, ge=0, lt=2**63, description="of the sample")
    weights: Weights = Field((), description="with --sample: each corpus's part of it, as 3+1+1")
    too_long: Literal["keep", "drop"] = Field(
        "keep", description="words whose prompt exceeds the model's context: keep them cut, or drop"
    )
    shard_of: ShardOf = Field(
        None, description="I/N: encode every N-th shard alone, from the I-th (0 to N-1), for `mine` to read with the "
        "other parts; each part has its own --out"
    )
    engine: Engine = "local"
    address: Address = None

    @property
    def part(self) -> list[int] | None:
        """``shard_of`` as numbers."""
        return [int(number) for number in self.shard_of.split("/")] if self.shard_of else None

    @field_validator("out")
    @classmethod
    def _somewhere(cls, out: Location | None, info: ValidationInfo) -> Location | None:
        if out is None and not info.data.get("dry_run"):
            raise PydanticCustomError("missing", "Field required")
        return out

    @model_validator(mode="after")
    def _one_cut(self) -> EncodeSettings:
        if self.sample and self.limit:
            raise ValueError("--sample and --limit exclude each other; give one")
        if self.weights and not self.sample:
            raise ValueError("--weights needs --sample, the size of the mixture")
        if self.engine == "ray" and self.devices > 1:
            raise ValueError("--devices is of one machine; leave it out, --engine ray takes all GPUs of the cluster")
        if self.weights and len(self.weights) != (len(self.corpus) or 1):
            raise ValueError(
                f"--weights gives {len(self.weights)} numbers for {len(self.corpus) or 1} corpora; give one for each"
            )
        return self


class ReportSettings(StageSettings):
    """Scores → tables, figures and a page."""

    argument = "scores"
    scores: Annotated[tuple[Location, ...], Many] = Field(description="folders of `score`")
    out: Location = Field(description="folder of the report")
    names: Annotated[tuple[str, ...], Many] = Field((), description="what to call each folder; default: its own name")
    fpr: Convention = Field(
        "id-positive",
        description="FPR95: share of OOD accepted where 95 % of ID is (id-positive, the paper's), "
        "share of ID rejected where 95 % of OOD is (ood-positive, OpenOOD's), "
        "or where ID's share is nearest to 95 % (nearest-recall, the authors' code)",
    )
    cases: int = Field(4, ge=0, le=12, description="case pictures of each kind")
    title: str = Field("neglabel report", description="heading of the page")
    compare: Literal["corpus"] | None = Field(
        None, description="corpus: also compare the runs as sources of negatives, all else being equal"
    )
    hurting: int = Field(100, ge=1, description="with --compare: words that ID pictures answer to most, taken out")
    bootstrap: int = Field(
        1_000, ge=0, le=100_000, description="times the pictures are drawn again for intervals and tests; 0: none"
    )
    bootstrap_by: Literal["picture", "class"] = Field(
        "picture", description="draw ID pictures one by one, or whole classes (pictures of a class that are alike)"
    )
    theory: bool = Field(
        False, description="also FPR95 of the toy score as negatives are added, measured and by the paper's theory"
    )
    threshold: float = Field(
        0.25, gt=-1, lt=1, description="with --theory: cosine from which a picture matches a negative; 0.25 is CLIP's"
    )
    coverage: bool = Field(
        False, description="also which OOD classes have no close negative, risk-coverage, near and far OOD"
    )
    seed: int = Field(0, ge=0, description="of all drawing, and with --compare of the halves of ID pictures")
