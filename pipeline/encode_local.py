"""`encode --engine local`: the tower in this process, or in processes beside it (`--workers`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType

from neglabel.pipeline.clock import Clock
from neglabel.pipeline.encode_work import Record, encode_here
from neglabel.pipeline.encode_workers import Facts, Recipe, check_devices, encode_in_processes, places
from neglabel.pipeline.models import resolve_device
from neglabel.pipeline.precision import load_settled
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.settings import EncodeSettings
from neglabel.pipeline.shard_words import ShardWords
from neglabel.pipeline.text_encoder import TextEncoder


class Local:
    """The tower that ``settings`` ask for, loaded. A context, since other engines are.

    Attributes:
        facts: what is known of it.
        failed: shards given up, as sentences; here an error ends the run.
        apart: whether words are read in a process of their own.

    Raises what loading a model raises; UsageError for more devices than there are.
    """

    def __init__(self, settings: EncodeSettings, reporter: Reporter) -> None:
        check_devices(resolve_device(settings.device).type, settings.devices)
        self.settings = settings
        loaded, choice = load_settled(settings, reporter.say)
        loaded.model.visual = None  # more than half of a model's memory, and no word needs it
        self.encoder = TextEncoder.of(loaded, settings.batch_size, reporter.warn)
        self.device, self.apart = str(loaded.device), loaded.device.type == "cuda"
        self.facts = Facts(
            loaded.identity, loaded.precision, choice, loaded.device.type, self.encoder.path, self.encoder.token_budget
        )
        self.failed: list[str] = []

    def __enter__(self) -> Local:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass

    def run(self, shards: Iterable[tuple[int, ShardWords]], record: Record, clock: Clock) -> Iterator[int]:
        """Encodes ``shards`` and records each as it is done; yields rows."""
        settings, known = self.settings, self.facts.identity
        assert settings.out is not None
        devices, workers = places(self.facts.kind, settings.devices, settings.workers)
        if not workers:
            yield from encode_here(shards, settings.out, self.encoder, settings.storage, record, clock)
            return
        recipe = Recipe(
            settings.model, known["pretrained"], known["quick_gelu"], known["checkpoint_sha256"], self.facts.path,
            self.facts.precision, settings.batch_size, settings.storage, settings.out,
        )  # fmt: skip
        yield from encode_in_processes(shards, recipe, devices, workers, record, clock)
