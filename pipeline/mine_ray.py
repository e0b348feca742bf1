"""`mine --engine ray`: a job a file of candidates; each gives what ``--work`` keeps of one, and the driver merges.

A worker gets the bound that the merged best have reached so far, so of most files it sends next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel import NeglabelError, UsageError
from neglabel.corpora.uri import Location
from neglabel.indexes.percentile import Device
from neglabel.pipeline.choose_rows import read_words
from neglabel.pipeline.mine_files import FileTask, mine_file
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.mine_work import Record, Work
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.ray_jobs import Done, Failed, Job, ordered
from neglabel.pipeline.ray_pool import Pool
from neglabel.pipeline.ray_session import session, slots
from neglabel.pipeline.search import Search
from neglabel.pipeline.search_device import on_gpu
from neglabel.pipeline.word_digests import Words

#: Files in work or waiting, or done before their turn, for each worker.
AHEAD = 4


class RayFiles:
    """Workers for both passes over files of candidates. A context.

    Raises UsageError where the cluster has no such device as asked for.
    """

    def __init__(self, settings: MineSettings, reporter: Reporter) -> None:
        self._open = ExitStack()
        try:
            self.ray = self._open.enter_context(session(settings.address))
            self._slots = slots(self.ray, settings.device)
            self.device: Device = "cuda" if self._slots.gpus else "cpu"
            self._pool = self._open.enter_context(Pool(self.ray, self._slots, nothing, (), reporter.warn))
            self._pool.start()
        except BaseException:
            self._open.close()
            raise

    def __str__(self) -> str:
        return f"Ray: {self._slots.workers} workers of {self._slots.cpus} threads on {self.device}"

    def __enter__(self) -> RayFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def words(self, work: Work) -> RayWords:
        """How the first pass has a file's words."""
        return RayWords(self._pool, work)

    def second_pass(self, labels: Sequence[NDArray[np.float32]], percentile: float, sizes: Sequence[Sequence[int]],
                    dimension: int, near_last: float | None = None) -> Any:  # fmt: skip
        """What :func:`neglabel.pipeline.mine_rows.best_rows` calls for the files that it wants mined."""
        shared = self.ray.put((labels, percentile, sizes, dimension, self.device, near_last))

        def spread_files(tasks: Iterator[FileTask]) -> Iterator[tuple[int, dict[int, Record]]]:
            # The first file alone: all others have its bound.
            for some in (islice(tasks, 1), tasks):
                there = (task._replace(path=task.path.absolute()) for task in some)
                jobs = (Job(task.number, str(task.path), mine_one, (shared, task)) for task in there)
                for found in self._pool.run(jobs):
                    yield found.key, _value(found)

        return spread_files


class RayWords:
    """The digests of each file's words, asked for by number, in about that order: kept ones, else from workers."""

    def __init__(self, pool: Pool, work: Work) -> None:
        self.work, self._lock, self._there = work, Lock(), dict[int, Words]()
        files = work.stores.files
        self._new = [work.kept_words(number) is None for number in range(len(files))]
        jobs = (Job(n, str(path), words_of, (path.absolute(),)) for n, path in enumerate(files) if self._new[n])
        self._found = ordered(pool, jobs, AHEAD * pool.slots.workers)

    def __call__(self, number: int) -> Words:
        if not self._new[number] and (kept := self.work.kept_words(number)) is not None:
            return kept
        with self._lock:
            while number not in self._there:
                found = next(self._found, None)
                if found is None:  # what was kept has gone meanwhile
                    return self.work.words(number)
                self._there[found.key] = _value(found)
                self.work.keep_words(found.key, self._there[found.key])
            return self._there.pop(number)


def _value(found: Done | Failed) -> Any:
    if isinstance(found, Failed):
        sentence = found.why if found.name in found.why else f"{found.name} can't be mined: {found.why}"
        raise (UsageError if found.usage else NeglabelError)(sentence)
    return found.value


def nothing() -> tuple[None, None]:
    """A worker that holds nothing."""
    return None, None


def words_of(_: None, path: Location) -> Words:
    """In a worker: the first pass over one file."""
    return read_words(path)


def mine_one(_: None, shared: Any, task: FileTask) -> dict[int, Record]:
    """In a worker: the second pass over one file, a record for each label set that misses it."""
    labels, percentile, sizes, dimension, device, near_last = shared
    records = {}
    for which, (keep, group, lots) in task.selections.items():
        index = on_gpu(labels[which], percentile, device)
        search = Search(labels[which], percentile, sizes[which], index=index, drawn=lots, near_last=near_last)
        for best, bound in zip((*search.best, search.near), task.bounds[which], strict=True):
            best.bound = max(best.bound, bound)
        records[which] = mine_file(task.path, dimension, keep, group, search)
    return records
