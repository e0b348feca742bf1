"""Streaming scores in the stage: in which order they see the pictures, and their columns beside those of the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neglabel.pipeline import store
from neglabel.pipeline.clock import Clock
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.score_plan import DataSet
from neglabel.pipeline.score_settings import ScoreSettings
from neglabel.pipeline.scores import SCORES, Texts, start_stream
from neglabel.pipeline.scores.stream import SEES

#: Pictures of a mixed stream gathered at a time.
_TAKEN = 8_192
#: (n, D) unit vectors → score and logit by the name of the streaming score.
Found = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


def about_stream(settings: ScoreSettings, name: str) -> dict[str, Any] | None:
    """What the manifest and the scores' file say of the stream that score ``name`` saw; None for a static score."""
    if not SCORES[name].streaming:
        return None
    seed = settings.seed if settings.stream == "mixed" else None
    return {"protocol": settings.stream, "seed": seed, "sees": SEES[name]}


@dataclass(frozen=True)
class Streams:
    """The streaming scores of a run, beside its static ones.

    Streams run in this process, in one sequence, whatever the engine, the blocks and the threads.

    Args:
        temperatures: of all scores asked for, in the order asked.
    """

    settings: ScoreSettings
    temperatures: Mapping[str, float]
    texts: Texts
    _held: dict[str, SetStream] = field(default_factory=dict)

    @property
    def static(self) -> dict[str, float]:
        """The temperatures of the scores that are not of a stream."""
        return {name: t for name, t in self.temperatures.items() if not SCORES[name].streaming}

    @property
    def mixed(self) -> bool:
        """Every data set's scores depend on all of them: none is finished before all have been read."""
        return self.settings.stream == "mixed"

    def mix(
        self, sets: Sequence[DataSet], read: Callable[[DataSet], Iterable[Any]], times: Clock, reporter: Reporter
    ) -> None:
        """With ``--stream mixed``: read all pictures, which stay in memory (4·D bytes each), and score their stream.

        The order is NumPy's permutation of them all, data sets in the order given, under ``--seed``.

        Args:
            read: the blocks of a data set: ``rows``, ``embedding`` (n, D) float32, ``failures``.
        """
        if not self.mixed:
            return
        blocks: list[list[Any]] = []
        spent: list[Mapping[str, float]] = []
        for data in sets:
            before = dict(times.seconds)
            blocks.append(list(reporter.track(read(data), f"read {data.name}", len(data.source.items), "pictures")))
            spent.append(times.since(before))
        empty = np.empty((0, self.texts.labels.shape[1]), np.float32)
        pictures = np.concatenate([empty, *(block.embedding for some in blocks for block in some)])
        found = self._shuffled(pictures)
        start = 0
        for data, some, seconds in zip(sets, blocks, spent, strict=True):
            views = []
            begin = start
            for block in some:
                views.append(replace(block, embedding=pictures[start : start + len(block.embedding)]))
                start += len(block.embedding)
            ours = {name: (score[begin:start], logit[begin:start]) for name, (score, logit) in found.items()}
            self._held[data.name] = SetStream(self, _Known(ours), views, seconds)

    def _shuffled(self, pictures: NDArray[np.float32]) -> Found:
        order = np.random.default_rng(self.settings.seed).permutation(len(pictures))
        push = self._begin()
        found = {name: (np.empty(len(order)), np.empty(len(order))) for name in self._names}
        for start in range(0, len(order), _TAKEN):
            some = order[start : start + _TAKEN]
            for name, (score, logit) in push(pictures[some]).items():
                found[name][0][some], found[name][1][some] = score, logit
        return found

    def of(self, data: DataSet) -> SetStream:
        """What the streaming scores of a data set are taken from: its part of the mixed stream, or a new one."""
        return self._held.pop(data.name, None) or SetStream(self, self._begin())

    @property
    def _names(self) -> list[str]:
        return [name for name in self.temperatures if SCORES[name].streaming]

    def _begin(self) -> Callable[[NDArray[np.float32]], Found]:
        streams = {name: start_stream(name, self.texts, self.temperatures[name]) for name in self._names}
        return lambda pictures: {name: push(pictures) for name, push in streams.items()}


@dataclass(frozen=True)
class SetStream:
    """The streaming scores of one data set, whose pictures come in the order of its file.

    Attributes:
        blocks: the pictures, where they have been read; None otherwise.
        spent: seconds by step that reading them took.
    """

    streams: Streams
    push: Callable[[NDArray[np.float32]], Found]
    blocks: Sequence[Any] | None = None
    spent: Mapping[str, float] = field(default_factory=dict)

    def schema(self, columns: pa.Schema) -> pa.Schema:
        """``columns`` of the file, which says of every streaming score which stream it saw."""
        settings = self.streams.settings
        about = {name: about_stream(settings, name) for name in self.streams.temperatures if SCORES[name].streaming}
        return columns.with_metadata({store.METADATA_KEY: json.dumps({"streams": about}).encode()} if about else None)

    def joined(self, table: pa.Table, embedding: NDArray[np.float32], columns: pa.Schema) -> pa.Table:
        """A block's ``table`` of static scores → one of ``columns``, which has those of the streams as well."""
        given = {name: table[name] for name in table.column_names}
        for name, (score, logit) in self.push(embedding).items():
            given[name], given[f"{name}_logit"] = pa.array(score), pa.array(logit)
        return pa.table({name: given[name] for name in columns.names}, schema=columns)


class _Known:
    """A stream that has been scored: gives what belongs to the next pictures."""

    def __init__(self, found: Found) -> None:
        self._found, self._start = found, 0

    def __call__(self, pictures: NDArray[np.float32]) -> Found:
        part = slice(self._start, self._start + len(pictures))
        self._start += len(pictures)
        return {name: (score[part], logit[part]) for name, (score, logit) in self._found.items()}
