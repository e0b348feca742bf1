"""Words of a column of any data set of the Hugging Face hub, or of a local folder that ``datasets`` reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from neglabel.corpora import hub
from neglabel.corpora.candidate import POS, POS_NAMES, Candidate, OnReject, Rejection
from neglabel.corpora.spec import Options as _Options

LICENCE = "the data set's own; the manifest names the one its card says"
SOURCE = "https://huggingface.co/datasets, or a folder of yours"
TYPICAL_SIZE = "any; streamed"
HOW_TO_GET = "nothing to do with a network; else download the data set and name its folder as `path`"


class Options(_Options):
    """Options of the ``hf`` corpus."""

    dataset: str | None = Field(None, description="name on the hub: OWNER/NAME")
    path: Path | None = Field(
        None, description="instead: a folder of text, CSV, JSON or Parquet files, or one of save_to_disk"
    )
    column: str = Field("text", description="column with the word")
    config: str | None = Field(None, description="configuration (subset) of the data set")
    split: str = Field("train", description="its split")
    revision: str | None = Field(None, description="commit, tag or branch on the hub; the commit is recorded")
    language: str = Field("", description="BCP 47 code of every word, where the data set has no `language` column")
    pos: Literal["", "noun", "adjective", "verb", "adverb"] = Field(
        "", description="part of speech of every word, where the data set has no `pos` column"
    )

    @model_validator(mode="after")
    def _one_place(self) -> Options:
        if (self.dataset is None) == (self.path is None):
            raise ValueError("takes either `dataset`, a name on the hub, or `path`, a folder")
        return self


def check(options: Options) -> None:
    """Raises UsageError for a missing data set, split or column, NeglabelError where the hub can't be reached."""
    hub.require_column(_data_set(options), options.column)


def expected(options: Options) -> int | None:
    """Not known of a stream."""
    return None


def provenance(options: Options) -> dict[str, Any]:
    """The data set, its revision and its card's licence."""
    return hub.provenance(_data_set(options))


def candidates(options: Options, on_reject: OnReject) -> Iterator[Candidate]:
    """One candidate a row; ``key`` is the row (from 1) or the data set's own ``key``; what is no text is rejected."""
    source = options.dataset or (options.path or Path()).name
    wanted = (options.column, "pos", "language", "key", "gloss")
    for number, row in enumerate(hub.rows(_data_set(options), wanted, options.column), 1):
        key, text = str(row.get("key") or number), row.get(options.column)
        if not isinstance(text, str):
            on_reject(Rejection("" if text is None else str(text)[:200], "malformed-row", source, key))
            continue
        pos = str(row.get("pos") or options.pos)
        pos = POS_NAMES.get(pos, pos)
        language = str(row.get("language") or options.language)
        yield Candidate(text, pos if pos in POS else "", language, source, key, str(row.get("gloss") or ""))


def _data_set(options: Options) -> hub.DataSet:
    return hub.DataSet("hf", options.dataset, options.path, options.config, options.split, options.revision)
