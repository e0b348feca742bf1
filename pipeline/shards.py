"""One shard: prompts → tokens → embeddings → files and a record that proves it is finished."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import NotRequired, TypedDict

from neglabel import NeglabelError
from neglabel.corpora.uri import Location
from neglabel.pipeline.clock import Clock
from neglabel.pipeline.encode_manifest import SHARD_FILE
from neglabel.pipeline.files import sha256
from neglabel.pipeline.shard_check import flaw_of
from neglabel.pipeline.shard_words import ShardWords
from neglabel.pipeline.store import embedding_array, unit, write_table
from neglabel.pipeline.text_encoder import TextEncoder, Tokenised

Rows = Annotated[int, Field(ge=0, lt=1 << 40, strict=True)]


class Counts(TypedDict, total=False):
    """Of a shard's words: how many; how many by part of speech, by source; of its rejections by reason."""

    candidates: Rows
    truncated: Rows
    by_pos: dict[str, Rows]
    by_source: dict[str, Rows]
    rejected: dict[str, Rows]


class ShardRecord(TypedDict):
    """A finished shard, as ``manifest.json`` has it; ``file`` and ``rejected_file`` are empty where there is none."""

    file: str
    rows: Rows
    sha256: str
    words_sha256: str
    rejected_file: str
    rejected_rows: Rows
    rejected_sha256: str
    counts: Counts
    #: The smallest budget that the shard came down to; the store's own unless memory ran out.
    token_budget: NotRequired[int]


_RECORDS = TypeAdapter(list[ShardRecord])
_BEYOND = TypeAdapter(dict[str, ShardRecord])


def records_of(manifest: Mapping[str, Any], path: Location) -> list[ShardRecord]:
    """The shards of a store's manifest, checked. Raises NeglabelError where they are no such list."""
    records: list[ShardRecord] = _checked(_RECORDS, manifest.get("shards"), path, "shards")
    _names_checked(records, path)
    return records


def beyond_of(manifest: Mapping[str, Any], path: Location) -> dict[str, ShardRecord]:
    """Those beyond a gap, by their index, checked as :func:`records_of` does."""
    beyond: dict[str, ShardRecord] = _checked(_BEYOND, manifest.get("beyond", {}), path, "beyond")
    for index in beyond:
        if not index.isdecimal():
            raise NeglabelError(f"{path} is damaged (beyond.{index}); encode into a new folder")
    _names_checked(beyond.values(), path)
    return beyond


def _checked(kind: TypeAdapter[Any], value: Any, path: Location, key: str) -> Any:
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise NeglabelError(f"{path} is damaged ({key}.{where}); encode into a new folder") from None


def _names_checked(records: Iterable[ShardRecord], path: Location) -> None:
    for record in records:
        if any(name and not SHARD_FILE.fullmatch(name) for name in (record["file"], record["rejected_file"])):
            raise NeglabelError(f"{path} is damaged: it names {record['file']!r}; encode into a new folder")


class Prepared(NamedTuple):
    """A shard with its prompts tokenised; None where it has no words."""

    number: int
    shard: ShardWords
    tokenised: Tokenised | None


class Computed(NamedTuple):
    """A shard with its embeddings (n, D) in the stored dtype; ``token_budget`` is the smallest that was needed."""

    prepared: Prepared
    embedding: NDArray[Any] | None
    token_budget: int


def encode_shard(
    number: int, shard: ShardWords, folder: Location, encoder: TextEncoder, storage: str, clock: Clock,
    by_content: bool = False,
) -> ShardRecord:  # fmt: skip
    """Encode and write one shard; depends on ``shard`` alone, so it can be done again, anywhere."""
    for step in compute(prepare(number, shard, encoder, clock), encoder, storage, clock):
        if isinstance(step, Computed):
            return write(step, folder, clock, by_content)
    raise AssertionError("a shard ends with its embeddings")


def prepare(number: int, shard: ShardWords, encoder: TextEncoder, clock: Clock) -> Prepared:
    """The first step: the tokens of the prompts."""
    with clock.busy("tokenise"):
        return Prepared(number, shard, encoder.tokenise(shard.prompts) if shard.prompts else None)


def compute(prepared: Prepared, encoder: TextEncoder, storage: str, clock: Clock) -> Iterator[int | Computed]:
    """The second step: yields how many words each batch finishes, and last the whole.

    Where words have several prompts an embedding is the mean of theirs as the tower makes them, at length 1.

    Raises:
        NeglabelError: the model gives NaN, naming the word.
    """
    embedding: NDArray[Any] | None = None
    if prepared.tokenised is None:
        yield Computed(prepared, None, 0)
        return
    each = prepared.shard.each
    mean = None if each is None else _Mean(each)
    for rows, block in clock.each("compute", encoder.batches(prepared.tokenised, unit=mean is None)):
        if not np.isfinite(block).all():
            row = int(rows[np.flatnonzero(~np.isfinite(block).all(axis=1))[0]])
            word = prepared.shard.words["text"][row if mean is None else int(mean.word[row])].as_py()
            raise NeglabelError(f"the model gives NaN for {word!r}; use --precision fp32 or another checkpoint")
        if mean is not None:
            yield mean.add(rows, block)
            continue
        if embedding is None:
            embedding = np.empty((len(prepared.tokenised), block.shape[1]), storage)
        embedding[rows] = block
        yield len(rows)
    if mean is not None:
        embedding = unit(mean.total).astype(storage)
    yield Computed(prepared, embedding, encoder.budget_used)


class _Mean:
    """Sums of a shard's embeddings by word, in float64."""

    def __init__(self, each: NDArray[np.int64]) -> None:
        #: Of each prompt, the word that it is of.
        self.word = np.repeat(np.arange(len(each)), each)
        self._left = each.copy()
        self.total = np.empty((0, 0))

    def add(self, rows: NDArray[np.int64], block: NDArray[np.float32]) -> int:
        """How many words have all of their prompts with these."""
        if not self.total.size:
            self.total = np.zeros((len(self._left), block.shape[1]))
        words = self.word[rows]
        np.add.at(self.total, words, block)
        np.subtract.at(self._left, words, 1)
        return int((self._left[np.unique(words)] == 0).sum())


def write(computed: Computed, folder: Location, clock: Clock, by_content: bool = False) -> ShardRecord:
    """The last step: the shard's files and the record that proves it is finished.

    Args:
        by_content: name the files also by what is in them. Another machine's embeddings differ in the last bit, so one
            that was thought dead and writes late would else replace a file whose checksum is recorded.
    """
    (number, shard, tokenised), embedding, budget = computed
    record = ShardRecord(
        file="", rows=shard.words.num_rows, sha256="", words_sha256=shard.digest,
        rejected_file="", rejected_rows=shard.rejected.num_rows, rejected_sha256="",
        counts=cast(Counts, dict(shard.counts)),
    )  # fmt: skip
    with clock.busy("write"):
        if tokenised is not None and embedding is not None:
            record["token_budget"] = budget
            cut = tokenised.truncated
            if shard.each is not None:
                cut = np.logical_or.reduceat(cut, np.cumsum(shard.each) - shard.each)
            record["counts"]["truncated"] = int(cut.sum())
            mark = _mark(shard.digest, embedding) if by_content else ""
            record["file"] = f"shard-{number:05d}{mark}.parquet"
            table = shard.words.append_column("truncated", pa.array(cut))
            table = table.append_column("embedding", embedding_array(embedding))
            write_table(folder / record["file"], table)
            record["sha256"] = sha256(folder / record["file"])
        if shard.rejected.num_rows:
            mark = _mark(shard.digest) if by_content else ""
            record["rejected_file"] = f"rejected-{number:05d}{mark}.parquet"
            write_table(folder / record["rejected_file"], shard.rejected)
            record["rejected_sha256"] = sha256(folder / record["rejected_file"])
    return record


def _mark(digest: str, embedding: NDArray[Any] | None = None) -> str:
    """``-`` and eight hex digits of what a file holds; pyarrow's version too, since it shapes the bytes."""
    mark = hashlib.sha256(f"{digest} {pa.__version__}".encode())
    if embedding is not None:
        mark.update(np.ascontiguousarray(embedding).data)
    return f"-{mark.hexdigest()[:8]}"


def flaw(record: ShardRecord, folder: Location) -> str | None:
    """Why a recorded shard can't be kept: missing, truncated, altered; None where it is whole."""
    for name, rows, digest in (
        (record["file"], record["rows"], record["sha256"]),
        (record["rejected_file"], record["rejected_rows"], record["rejected_sha256"]),
    ):
        if name and (problem := flaw_of(folder / name, rows, digest)):
            return problem
    return None
