"""`score --engine ray`: pictures and blocks of embeddings over workers; the driver alone reads caches and writes.

Pictures go out in the batches of one process, embeddings in its blocks, so that nothing is rounded otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neglabel import NeglabelError, UsageError
from neglabel.pipeline.clock import Clock
from neglabel.pipeline.image_sources import FileSource
from neglabel.pipeline.images import Item, Source, open_images
from neglabel.pipeline.places import images_in
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.ray_jobs import Done, Failed, Job, ordered
from neglabel.pipeline.ray_pool import Pool
from neglabel.pipeline.ray_session import session, slots
from neglabel.pipeline.score_plan import DataSet
from neglabel.pipeline.score_rows import Scorer
from neglabel.pipeline.score_settings import ScoreSettings

if TYPE_CHECKING:
    from neglabel.pipeline.image_encoder import Encoded, ImageEncoder

#: Batches of pictures a job.
BATCHES = 4
#: Jobs begun and not yet used, for each worker.
AHEAD = 3


@dataclass
class Held:
    """What a worker holds; the scorer comes with its first block."""

    encoder: ImageEncoder | None
    said: list[str] = field(default_factory=list)
    scorer: Scorer | None = None


class RayScoring:
    """Workers that encode pictures with the model of ``identity`` (None: there are none to encode) and score blocks.

    Args:
        times: gets the workers' seconds, divided by their number.

    Attributes:
        encoder: stands for an :class:`~neglabel.pipeline.image_encoder.ImageEncoder`; None without ``identity``.

    Raises:
        UsageError: the cluster has no such device. NeglabelError: workers can't be started, or have other weights.
    """

    def __init__(
        self, settings: ScoreSettings, identity: Mapping[str, Any] | None, times: Clock, reporter: Reporter
    ) -> None:
        self._open = ExitStack()
        self.reporter = reporter
        try:
            self.ray = self._open.enter_context(session(settings.address))
            found = slots(self.ray, settings.device)
            self.pool = self._open.enter_context(
                Pool(self.ray, found, load, (settings, identity and dict(identity), found.device), reporter.warn)
            )
            self.pool.start()
            about = self.pool.first()
        except BaseException:
            self._open.close()
            raise
        self.encoder = RayEncoder(self, settings.batch_size, times, *about) if about else None

    def __enter__(self) -> RayScoring:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def scorer(self, make: Callable[..., Scorer], parts: tuple[Any, ...]) -> RayScorer:
        """A scorer as ``make(*parts)`` gives one, that has large blocks scored by the workers."""
        return RayScorer(self, make(*parts), make, self.ray.put(parts))

    def values(self, jobs: Iterable[Job]) -> Iterator[Any]:
        """What ``jobs`` give, in order."""
        for found in ordered(self.pool, jobs, AHEAD * self.pool.slots.workers):
            yield _value(found)


class RayScorer:
    """As :class:`Scorer`; a block of more rows than one product takes is cut as there, and the pieces spread."""

    def __init__(self, far: RayScoring, here: Scorer, make: Callable[..., Scorer], parts: Any) -> None:
        self._far, self._here, self._make, self._parts = far, here, make, parts
        self._step = here.index.rows_per_block()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._here, name)

    def rows(
        self, data: DataSet, items: Sequence[Item], embedding: NDArray[np.float32]
    ) -> tuple[pa.Table, NDArray[np.float64]]:
        """See :meth:`Scorer.rows`."""
        if len(items) <= self._step:
            return self._here.rows(data, items, embedding)
        # Whole products, and two pieces a worker so that none waits long for the last.
        products = -(-len(items) // self._step)
        size = self._step * max(-(-products // (2 * self._far.pool.slots.workers)), 1)
        about = replace(data, source=None)  # type: ignore[arg-type]
        jobs = (
            Job(start, f"rows from {start} of a block of {data.name}", score_block,
                (self._make, self._parts, about, items[start : start + size], embedding[start : start + size]))
            for start in range(0, len(items), size)
        )  # fmt: skip
        tables, shares = zip(*self._far.values(jobs), strict=True)
        return pa.concat_tables(tables), np.concatenate(shares)


class RayEncoder:
    """Stands for an :class:`~neglabel.pipeline.image_encoder.ImageEncoder` where pictures of a source are encoded."""

    def __init__(self, far: RayScoring, batch_size: int, times: Clock, preprocessing: str, computed_in: str) -> None:
        self._far, self._batch_size, self._times = far, batch_size, times
        self.preprocessing, self.tower = preprocessing, SimpleNamespace(computed_in=computed_in)
        self.noise = None
        self._said: set[str] = set()

    def stream(self, source: Source, rows: Iterable[int]) -> Generator[Encoded, None, None]:
        """See :meth:`ImageEncoder.stream`: the same batches in the same order."""
        from neglabel.pipeline.image_encoder import Encoded

        for batches, seconds, said in self._far.values(self._jobs(source, rows)):
            self._times.add({step: busy / self._far.pool.slots.workers for step, busy in seconds.items()})
            # Every worker compares half precision with its own first batch; once is enough to be told.
            if said and not self._said:
                self._said.update(said)
                self._far.reporter.warn(said[0])
            for batch in batches:
                yield Encoded(*batch)

    def _jobs(self, source: Source, rows: Iterable[int]) -> Iterator[Job]:
        waiting = iter(rows)
        whole = source if isinstance(source, FileSource) else images_in(Path.cwd(), source.spec)
        while some := list(islice(waiting, BATCHES * self._batch_size)):
            # Of files the names are enough, and those of this job; what is in a table the worker opens itself.
            there = replace(whole, items=[source.items[row] for row in some]) if whole is source else whole
            name = f"{source.items[some[0]].id} and the next {len(some) - 1} pictures of {source.spec}"
            yield Job(some[0], name, encode_pictures, (there, some, len(source.items)))


def _value(found: Done | Failed) -> Any:
    if isinstance(found, Failed):
        raise (UsageError if found.usage else NeglabelError)(f"{found.name}: {found.why}")
    return found.value


def load(
    settings: ScoreSettings, identity: Mapping[str, Any] | None, device: str
) -> tuple[Held, tuple[str, str] | None]:
    """In a worker: the model, where there are pictures to encode."""
    if identity is None:
        return Held(None), None
    from neglabel.pipeline.image_encoder import ImageEncoder
    from neglabel.pipeline.models import load_model

    loaded = load_model(identity["model"], identity["pretrained"], identity["quick_gelu"], device)
    if loaded.identity["checkpoint_sha256"] != identity["checkpoint_sha256"]:
        raise NeglabelError(
            f"a Ray worker has other weights of {identity['model']} than this machine; name a folder that all share"
        )
    held = Held(None)
    held.encoder = ImageEncoder.of(
        loaded, settings.batch_size, settings.workers, precision=settings.precision, notice=held.said.append
    )
    return held, (held.encoder.preprocessing, held.encoder.tower.computed_in)


def encode_pictures(
    held: Held, source: FileSource | str, rows: list[int], count: int
) -> tuple[list[tuple[list[int], NDArray[np.float32], list[tuple[int, str]]]], dict[str, float], list[str]]:
    """In a worker: pictures → batches (rows of the whole source, embedding, failures), seconds by step, notices."""
    assert held.encoder is not None
    found = _opened(source) if isinstance(source, str) else source
    if isinstance(source, str) and len(found.items) != count:
        raise NeglabelError(f"{source} has {len(found.items):,} pictures on a Ray worker, not {count:,} as here")
    # A slice of files is counted from 0.
    number = {row: row if isinstance(source, str) else place for place, row in enumerate(rows)}
    back = {place: row for row, place in number.items()}
    before = dict(held.encoder.times.seconds)
    batches = [
        ([back[row] for row in batch.rows], batch.embedding, [(back[row], why) for row, why in batch.failures])
        for batch in held.encoder.stream(found, [number[row] for row in rows])
    ]
    return batches, held.encoder.times.since(before), held.said


@lru_cache(2)
def _opened(spec: str) -> Source:
    return open_images(spec)


def score_block(
    held: Held, make: Callable[..., Scorer], parts: tuple[Any, ...], data: DataSet, items: Sequence[Item],
    embedding: NDArray[np.float32],
) -> tuple[pa.Table, NDArray[np.float64]]:  # fmt: skip
    """In a worker: a block of embeddings → its rows of the scores file."""
    if held.scorer is None:
        held.scorer = make(*parts)
    return held.scorer.rows(data, items, embedding)
