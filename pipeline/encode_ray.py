"""`encode --engine ray`: shards over a pool of workers that each hold the tower; they write, the driver records."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType

from neglabel import NeglabelError, UsageError
from neglabel.corpora.uri import Location
from neglabel.pipeline.clock import Clock
from neglabel.pipeline.encode_work import Record
from neglabel.pipeline.encode_workers import Facts
from neglabel.pipeline.places import model_in
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.ray_jobs import Done, Job
from neglabel.pipeline.ray_pool import Pool
from neglabel.pipeline.ray_session import session, slots
from neglabel.pipeline.settings import EncodeSettings
from neglabel.pipeline.shard_words import ShardWords
from neglabel.pipeline.shards import ShardRecord, encode_shard, flaw
from neglabel.pipeline.text_encoder import TextEncoder

#: Shards in a row that fail with none finished between them: then it is not the shards.
IN_A_ROW = 8
#: Seconds until a file that a worker wrote must be seen here, through a shared folder.
SEEN = 10


class RayPool:
    """As :class:`neglabel.pipeline.encode_local.Local`, with the tower in workers. The driver needs no GPU, and the
    weights only with ``--too-long drop``, for their tokenizer.

    Raises what loading a model raises on the workers; UsageError where the cluster has no such device.
    """

    apart = False

    def __init__(self, settings: EncodeSettings, reporter: Reporter) -> None:
        assert settings.out is not None
        self.reporter, self.failed = reporter, list[str]()
        self.folder = settings.out.absolute()
        self._open = ExitStack()
        try:
            ray = self._open.enter_context(session(settings.address))
            found = slots(ray, settings.device, settings.workers)
            self.ray, self.device = ray, f"Ray: {found.workers} workers of {found.cpus} threads on {found.device}"
            self.settings = settings.model_copy(
                update={"out": self.folder, "model": model_in(Path.cwd(), settings.model), "device": found.device,
                        "pretrained": settings.pretrained and _placed(settings.pretrained)}
            )  # fmt: skip
            self._pool = self._open.enter_context(
                Pool(ray, found, load, (self.settings,), reporter.warn, self._same)
            )
            self._facts: Facts | None = None
            auto = settings.precision == "auto"
            self._pool.start(1 if auto else None)
            self.facts: Facts = self._pool.first()
            for sentence in self.facts.said:
                reporter.say(sentence)
            # What `auto` came to is settled once, for all.
            self._pool.arguments = (self.settings.model_copy(update={"precision": self.facts.precision}),)
            self._pool.start()
        except BaseException:
            self._open.close()
            raise

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    @cached_property
    def encoder(self) -> TextEncoder:
        """A tower here, on the CPU: whoever only counts tokens needs it."""
        from neglabel.pipeline.models import load_model

        settings = self.settings
        return TextEncoder.of(load_model(settings.model, settings.pretrained, settings.quickgelu, "cpu"))

    def run(self, shards: Iterable[tuple[int, ShardWords]], record: Record, clock: Clock) -> Iterator[int]:
        """Encodes ``shards`` and records each as it is done, in any order; yields rows. What fails is in ``failed``."""
        in_a_row, seen, arguments = 0, 0, (self.folder, self.settings.storage)
        jobs = (Job(n, f"shard {n}", encode_one, (n, self.ray.put(shard), *arguments)) for n, shard in shards)
        for found in self._pool.run(jobs):
            if not isinstance(found, Done):
                self.failed.append(f"{found.name}: {found.why}")
                in_a_row += 1
                if in_a_row >= IN_A_ROW:
                    raise NeglabelError(f"{IN_A_ROW} shards in a row can't be encoded ({self.failed[-1]})")
                continue
            in_a_row, (done, seconds) = 0, found.value
            self._check_seen(done, whole=not seen)
            seen += 1
            clock.add({step: busy / self._pool.slots.workers for step, busy in seconds.items()})
            record(found.key, done)
            yield int(done["rows"])

    def _same(self, facts: Facts) -> None:
        """Of the first worker that is ready all is taken over; the others must be like it."""
        if self._facts is None:
            self._facts = facts
        first, other = self._facts, facts
        for what, one, two in (
            ("has other weights", first.identity["checkpoint_sha256"], other.identity["checkpoint_sha256"]),
            ("runs the text tower in another way", first.path, other.path),
            ("makes other batches", first.token_budget, other.token_budget),
            ("computes in another precision", first.precision, other.precision),
        ):
            if one != two:
                raise NeglabelError(
                    f"a Ray worker {what} than the first ({str(two)[:12]} against {str(one)[:12]}); "
                    "use nodes that are alike, with the same files"
                )

    def _check_seen(self, record: ShardRecord, whole: bool) -> None:
        """A shard that this machine doesn't see was written to another one's own disk."""
        until = time.monotonic() + SEEN
        while True:
            if whole:
                problem = flaw(record, self.folder)
            else:
                names = [name for name in (record["file"], record["rejected_file"]) if name]
                problem = next((f"{name} is missing" for name in names if not (self.folder / name).is_file()), None)
            if problem is None:
                return
            if time.monotonic() > until:
                raise UsageError(
                    f"--out {self.folder}: a worker wrote a shard that isn't seen here ({problem}); name a folder that "
                    "all nodes share"
                )
            time.sleep(0.2)


def load(settings: EncodeSettings) -> tuple[TextEncoder, Facts]:
    """In a worker: the tower, as ``encode`` in one process loads it."""
    from neglabel.pipeline.precision import load_settled

    said: list[str] = []
    loaded, choice = load_settled(settings, said.append)
    loaded.model.visual = None
    encoder = TextEncoder.of(loaded, settings.batch_size, said.append)
    return encoder, Facts(
        dict(loaded.identity), loaded.precision, choice, loaded.device.type, encoder.path, encoder.token_budget,
        tuple(said),
    )  # fmt: skip


def encode_one(
    encoder: TextEncoder, number: int, shard: ShardWords, folder: Location, storage: str
) -> tuple[ShardRecord, dict[str, float]]:
    """In a worker: one shard, as any engine does it."""
    clock = Clock()
    return encode_shard(number, shard, folder, encoder, storage, clock, by_content=True), clock.seconds


def _placed(name: str) -> str:
    """A file's path made absolute, for workers have another working directory; other names as they are."""
    return str(Path(name).absolute()) if Path(name).exists() else name
