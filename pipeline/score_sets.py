"""One data set of a ``score`` run: its blocks of embeddings, its file, what could not be decoded."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from neglabel import NeglabelError
from neglabel.corpora.storage import StorageError
from neglabel.corpora.uri import Location
from neglabel.pipeline import store
from neglabel.pipeline.files import claim_folder, replacing
from neglabel.pipeline.images import Item, Source
from neglabel.pipeline.item_columns import taken
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.score_embeddings import LABELS, embeddings_file, keeping
from neglabel.pipeline.score_model import ModelOnDemand
from neglabel.pipeline.score_plan import DataSet
from neglabel.pipeline.score_rows import Scorer, schema
from neglabel.pipeline.score_settings import ScoreSettings
from neglabel.pipeline.score_streams import Streams


class Unreadable(NamedTuple):
    """A picture that could not be decoded, and why."""

    dataset: str
    item: Item
    reason: str


@dataclass
class _Tally:
    rows: int = 0
    share: float = 0.0
    labelled: int = 0
    unmatched: int = 0


@contextmanager
def claimed(folder: Location, kind: str) -> Iterator[None]:
    """Make ``folder`` ours; where the block fails with no data set finished, a folder that was not ours is as before.

    Raises UsageError where it holds something else.
    """
    new = not (folder / "manifest.json").exists()
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        claim_folder(folder, kind)
        yield
    except BaseException:  # Ctrl-C as well
        with suppress(OSError, StorageError):
            if new and not any(folder.glob("scores-*.parquet")):
                (folder / "manifest.json").unlink(missing_ok=True)
                for place in made:
                    place.rmdir()
        raise


def score_set(
    data: DataSet, scorer: Scorer, streams: Streams, model: ModelOnDemand, settings: ScoreSettings, reporter: Reporter
) -> tuple[dict[str, Any], list[Unreadable]]:
    """Score one data set into ``scores-NAME.parquet``, block by block, whole or not at all.

    Returns:
        ``name, role, source, rows, unreadable, id_share`` (the mean; None without evidence), ``time`` (seconds by
        step, see :data:`neglabel.pipeline.score_model.STEPS`), with ``keep_embeddings`` also ``embeddings_sha256``;
        and the failures.

    Raises:
        NeglabelError: with ``strict``, the first picture that can't be decoded; a damaged embedding.
    """
    tally, failures = _Tally(), list[Unreadable]()
    before = dict(model.times.seconds)
    known = pa.array([name for name in scorer.names if name], pa.string())
    path = settings.out / f"scores-{data.name}.parquet"
    total = len(data.source.items)
    stream = streams.of(data)
    columns = stream.schema(schema(list(streams.temperatures)))
    keep = (
        keeping(embeddings_file(settings.out, data.name), scorer.labels.shape[1])
        if settings.keep_embeddings else nullcontext()
    )  # fmt: skip
    # Closed here and now, so that the cache keeps what was encoded, whatever ends this.
    with (
        closing(picture_blocks(data.source, model, stream.blocks)) as blocks,
        keep as kept,
        replacing(path) as temporary,
        pq.ParquetWriter(temporary, columns) as writer,
    ):
        for block in reporter.track(blocks, f"score {data.name}", total, "pictures"):
            for row, why in block.failures:
                failures.append(_failure(data, data.source.items[row], why, settings.strict))
            with model.times.busy("score"):
                table, shares = scorer.rows(data, taken(data.source.items, block.rows), block.embedding)
                table = stream.joined(table, block.embedding, columns)
                writer.write_table(table)
                if kept is not None:
                    kept.add(block.embedding)
            labelled = pc.sum(pc.not_equal(table["label"], "")).as_py() or 0
            tally.rows += len(table)
            tally.share += float(shares.sum())
            tally.labelled += labelled
            tally.unmatched += labelled - (pc.sum(pc.is_in(table["label"], known)).as_py() or 0)
    digest = {} if kept is None else {"embeddings_sha256": kept.sha256}
    spent = {"time": {step: took + stream.spent.get(step, 0.0) for step, took in model.times.since(before).items()}}
    return _result(data, tally, failures, reporter) | spent | digest, failures


def _failure(data: DataSet, item: Item, why: str, strict: bool) -> Unreadable:
    if strict:
        raise NeglabelError(
            f"{data.name}: {item.path or item.id} can't be decoded: {why}; "
            "remove it, or leave --strict out to list it and go on"
        )
    return Unreadable(data.name, item, why)


@dataclass(frozen=True)
class _Given:
    """A block of embeddings that a file gave; shaped as what the encoder gives."""

    rows: Sequence[int]
    embedding: NDArray[np.float32]
    failures: Sequence[tuple[int, str]] = ()

    def __len__(self) -> int:
        return len(self.rows)


def picture_blocks(
    source: Source, model: ModelOnDemand, known: Sequence[Any] | None = None
) -> Generator[Any, None, None]:
    """The pictures of ``source`` as unit vectors in order, from its file, the cache or the image tower; or ``known``
    where they have been read already. Blocks have ``rows``, ``embedding`` (n, D) float32 and ``failures``."""
    yield from _blocks(source, model) if known is None else known


def _blocks(source: Source, model: ModelOnDemand) -> Generator[Any, None, None]:
    if source.embeddings is None:
        yield from model.pictures(source)
        return
    given = store.stream(source.embeddings)
    while True:
        with model.times.busy("read"):
            block = next(given, None)
            unit = None if block is None else store.unit(block.embedding)
        if block is None or unit is None:
            return
        yield _Given(range(block.start, block.start + len(unit)), unit)


def _result(data: DataSet, tally: _Tally, failures: Sequence[Unreadable], reporter: Reporter) -> dict[str, Any]:
    if failures:
        first = failures[0]
        reporter.warn(
            f"{data.name}: {len(failures):,} of {len(data.source.items):,} "
            f"picture{'s' * (len(data.source.items) != 1)} can't be decoded (first: {first.item.id}: {first.reason}); "
            "every one is in unreadable.parquet"
        )
    if data.role == "id" and tally.unmatched:
        one = tally.unmatched == 1
        reporter.warn(
            f"{data.name}: {tally.unmatched:,} of {tally.labelled:,} labelled picture{'s' * (tally.labelled != 1)} "
            f"{'has' if one else 'have'} a label that is no ID label; {'it is' if one else 'they are'} not in the "
            "accuracy, since a class that is unknown can't be judged"
        )
    mean = tally.share / tally.rows if tally.rows else float("nan")
    return {
        "name": data.name,
        "role": data.role,
        "source": data.source.spec,
        "rows": tally.rows,
        "unreadable": len(failures),
        "id_share": None if np.isnan(mean) else round(mean, 6),
    }


def unreadable_table(failures: Sequence[Unreadable]) -> pa.Table:
    """``unreadable.parquet``: ``dataset, id, path, reason``."""
    columns = {
        "dataset": [failure.dataset for failure in failures],
        "id": [failure.item.id for failure in failures],
        "path": [failure.item.path for failure in failures],
        "reason": [failure.reason for failure in failures],
    }
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def remove_stale(folder: Location, sets: Sequence[DataSet], embeddings: bool) -> None:
    """Remove what an earlier run into this folder wrote and is not asked for now: data sets, their embeddings."""
    wanted = {f"scores-{data.name}.parquet" for data in sets}
    if embeddings:
        wanted |= {LABELS, *(embeddings_file(folder, data.name).name for data in sets)}
    for pattern in ("scores-*.parquet", "embeddings-*.parquet", LABELS):
        for path in folder.glob(pattern):
            if path.name not in wanted:
                path.unlink(missing_ok=True)
