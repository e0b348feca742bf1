"""Settings of the score stage."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from neglabel.pipeline.engine import Address, Engine
from neglabel.pipeline.named_labels import LabelsPlace
from neglabel.pipeline.option_types import Device, Location, Many, NumberPairs, Pairs, StageSettings


class ScoreSettings(StageSettings):
    """Pictures against ID labels and negative labels → scores."""

    negatives: Location = Field(description="file of `mine`, or a text file of words, one a line")
    labels: LabelsPlace = Field(
        description="ID labels: a text file, one a line, Parquet with text, embedding, or dataset:NAME"
    )
    out: Location = Field(description="folder of the scores")
    id: Pairs = Field({}, description="NAME=IMAGES: pictures of the ID classes")
    ood: Pairs = Field({}, description="NAME=IMAGES: pictures of other things")
    images: Pairs = Field({}, description="NAME=IMAGES: pictures of unknown kind, ranked by suspicion")
    bank: str | None = Field(
        None, description="IMAGES: training pictures of the ID classes, for knn, vim, mahalanobis, mahalanobis-mcm"
    )
    score: Annotated[tuple[str, ...], Many] = Field(
        ("neglabel", "mcm", "msp"),
        description="neglabel, neglabel-ungrouped, mcm, msp, maxlogit, energy, … (any other name lists them)",
    )
    temperature: NumberPairs = Field({}, description="SCORE=T; default: neglabel=0.01 mcm=1 msp=0.01")
    odin_noise: float | None = Field(
        None, ge=0, lt=1,
        description="with --score odin: by how much of its range each pixel is moved, as 0.0014",
    )  # fmt: skip
    groups: int | None = Field(
        None, ge=1, description="n_g; 1 scores all negatives together; default: 100, or 1 for fewer negatives than that"
    )
    group_order: Literal["random", "rank"] = Field("random", description="random or rank")
    group_drop: Literal["last", "random"] = Field(
        "last", description="which M mod n_g negatives are left out: the last (nearest) or random ones"
    )
    fused_groups: int | None = Field(
        None, ge=1, description="score with so many of the groups, drawn by --seed (Table 16); default: all"
    )
    seed: int = Field(0, ge=0, description="of the groups' permutation, and of --stream mixed")
    stream: Literal["separate", "mixed"] = Field(
        "separate",
        description="what adaneg, clipscope and tanl see: separate, each data set alone in its order; mixed, ID and "
        "the one OOD set shuffled together by --seed",
    )
    cache: Location | None = Field(None, description="folder that keeps image embeddings")
    label_prompt: Annotated[tuple[str, ...], Many] = Field(
        (), description="prompt template for labels; several are averaged; default: as mined"
    )
    negatives_prompt: str = Field("{}", description="prompt template for negatives given as text")
    keep_embeddings: bool = Field(
        False, description="also write the embeddings of pictures, labels and negatives, for `report --compare`"
    )
    strict: bool = Field(False, description="stop at a picture that can't be decoded")
    batch_size: int = Field(64, ge=1, description="pictures a forward pass")
    workers: int | None = Field(None, ge=1, description="threads that decode pictures; default: as many as cores")
    precision: Literal["fp32", "fp16", "bf16"] = Field(
        "fp32", description="of the image tower: fp32, fp16 or bf16; compared with fp32 on the first pictures"
    )
    model: str | None = Field(None, description="default: the negatives' own")
    pretrained: str | None = Field(None, description="weights of that model")
    quickgelu: bool | None = Field(None, description="see `encode`")
    device: Device = Field("auto", description="auto, cpu or cuda")
    engine: Engine = "local"
    address: Address = None
