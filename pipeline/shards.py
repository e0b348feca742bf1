"""One shard: words → files → a record that proves it is finished."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from typing_extensions import NotRequired, TypedDict

from neglabel import NeglabelError
from neglabel.corpora.candidate import Candidate, Rejection
from neglabel.pipeline.files import sha256
from neglabel.pipeline.plan import ShardPlan
from neglabel.pipeline.prompts import Prompts
from neglabel.pipeline.shard_check import flaw_of
from neglabel.pipeline.store import embedding_array, write_table
from neglabel.pipeline.text_encoder import TextEncoder


class ShardRecord(TypedDict):
    """A finished shard, as ``manifest.json`` has it; ``file`` and ``rejected_file`` are empty where there is none."""

    file: str
    rows: int
    sha256: str
    words_sha256: str
    rejected_file: str
    rejected_rows: int
    rejected_sha256: str
    counts: dict[str, Any]
    #: The smallest budget that the shard came down to; the store's own unless memory ran out.
    token_budget: NotRequired[int]


_RECORDS = TypeAdapter(list[ShardRecord])


def records_of(manifest: Mapping[str, Any], path: Path) -> list[ShardRecord]:
    """The shards of a store's manifest, checked. Raises NeglabelError where they are no such list."""
    try:
        records = _RECORDS.validate_python(manifest.get("shards"))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise NeglabelError(f"{path} is damaged (shards.{where}); encode into a new folder") from None
    for record in records:
        if any(Path(name).name != name for name in (record["file"], record["rejected_file"])):
            raise NeglabelError(f"{path} is damaged: it names {record['file']!r}; encode into a new folder")
    return records


def encode_shard(
    plan: ShardPlan, number: int, folder: Path, encoder: TextEncoder, prompts: Prompts, storage: str
) -> Iterator[int | ShardRecord]:
    """Encode and write one shard; depends on ``plan`` alone, so it can be done again, anywhere.

    Yields:
        the rows of each batch as it is encoded, and last the shard's record.
    """
    record = ShardRecord(
        file="", rows=len(plan.words), sha256="", words_sha256=plan.digest(),
        rejected_file="", rejected_rows=len(plan.rejected), rejected_sha256="", counts=plan.counts(),
    )  # fmt: skip
    if plan.words:
        texts = [prompts.of(word.text, word.pos, word.language) for word in plan.words]
        embeddings: NDArray[Any] | None = None
        for rows, block in encoder.batches(texts):
            if not np.isfinite(block).all():
                row = int(rows[np.flatnonzero(~np.isfinite(block).all(axis=1))[0]])
                raise NeglabelError(
                    f"the model gives NaN for {plan.words[row].text!r}; use --precision fp32 or another checkpoint"
                )
            if embeddings is None:
                embeddings = np.empty((len(texts), block.shape[1]), storage)
            embeddings[rows] = block
            yield len(rows)
        record["token_budget"] = encoder.budget_used
        truncated = encoder.truncated(texts)
        record["counts"]["truncated"] = int(truncated.sum())
        record["file"] = f"shard-{number:05d}.parquet"
        write_table(folder / record["file"], _candidates(plan.words, truncated, embeddings))
        record["sha256"] = sha256(folder / record["file"])
    if plan.rejected:
        record["rejected_file"] = f"rejected-{number:05d}.parquet"
        write_table(folder / record["rejected_file"], _rejections(plan.rejected))
        record["rejected_sha256"] = sha256(folder / record["rejected_file"])
    yield record


def flaw(record: ShardRecord, folder: Path) -> str | None:
    """Why a recorded shard can't be kept: missing, truncated, altered; None where it is whole."""
    for name, rows, digest in (
        (record["file"], record["rows"], record["sha256"]),
        (record["rejected_file"], record["rejected_rows"], record["rejected_sha256"]),
    ):
        if name and (problem := flaw_of(folder / name, rows, digest)):
            return problem
    return None


def _candidates(words: list[Candidate], truncated: Any, embedding: Any) -> pa.Table:
    columns = {name: pa.array([getattr(word, name) for word in words], pa.string()) for name in Candidate._fields}
    return pa.table({**columns, "truncated": pa.array(truncated), "embedding": embedding_array(embedding)})


def _rejections(rejected: list[Rejection]) -> pa.Table:
    # A rejected text may be no Unicode at all: what can't be stored is shown as \\udcff.
    rows = [[field.encode("utf-8", "backslashreplace").decode() for field in row] for row in rejected]
    return pa.table(
        {name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(Rejection._fields)}
    )
