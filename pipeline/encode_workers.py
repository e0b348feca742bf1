"""Shards encoded in processes of their own, each with its copy of the model: several GPUs, or one that is kept busy.

What an interpreter does for a word (tokens, plans, Arrow) takes longer than a GPU needs for its embedding.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from neglabel import NeglabelError, UsageError
from neglabel.corpora.uri import Location
from neglabel.indexes.cores import cores
from neglabel.pipeline.clock import Clock
from neglabel.pipeline.models import load_model
from neglabel.pipeline.overlap import end_with
from neglabel.pipeline.shards import ShardRecord, encode_shard
from neglabel.pipeline.text_encoder import TextEncoder

if TYPE_CHECKING:
    from neglabel.pipeline.encode_work import Record
    from neglabel.pipeline.shard_words import ShardWords


class Facts(NamedTuple):
    """What is known of a text tower that is loaded, as a manifest has it; ``kind`` of device is ``cpu`` or ``cuda``.

    ``choice`` is what ``--precision auto`` came to, ``said`` what was said of the tower for people.
    """

    identity: Mapping[str, Any]
    precision: str
    choice: Mapping[str, Any]
    kind: str
    path: str
    token_budget: int
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """What a process needs to encode a shard as its parent would; ``checkpoint`` and ``path`` are what it must find."""

    model: str
    pretrained: str
    quickgelu: bool | None
    checkpoint: str
    path: str
    precision: str
    batch_size: int
    storage: str
    folder: Location


def check_devices(device: str, devices: int) -> None:
    """Raises UsageError where there aren't ``devices`` of them."""
    import torch

    there = torch.cuda.device_count() if device == "cuda" else 0
    if devices > max(there, 1):
        raise UsageError(f"--devices {devices}: PyTorch finds {there} CUDA devices here; give at most {max(there, 1)}")


def places(device: str, devices: int, workers: int) -> tuple[list[str], int]:
    """Where to encode: the devices, and processes on each (0: in this process); several devices need one each.

    Args:
        device: ``cpu`` or ``cuda``.
        devices: how many of them.
    """
    names = [f"{device}:{i}" for i in range(devices)] if device == "cuda" else [device]
    return names, workers or int(len(names) > 1)


def encode_in_processes(
    shards: Iterable[tuple[int, ShardWords]], recipe: Recipe, devices: list[str], workers: int, record: Record,
    clock: Clock,
) -> Iterator[int]:  # fmt: skip
    """Yields the rows of each shard when it is finished, in order; ``workers`` processes on each of ``devices``.

    Args:
        devices: ``cpu``, ``cuda:0``, …
        clock: gets a process's share of the seconds.

    Raises:
        NeglabelError: a process died, or the model is another there.
    """
    from loky import ProcessPoolExecutor
    from loky.process_executor import BrokenProcessPool

    threads = max(cores() // (workers * len(devices)), 1)
    pools = [
        ProcessPoolExecutor(
            workers, initializer=end_with, initargs=(os.getpid(),), env={"OMP_NUM_THREADS": str(threads)}
        )
        for _ in devices
    ]
    pending: deque[tuple[int, Future[Any]]] = deque()
    load = [0] * len(pools)

    def take() -> int:
        number, future = pending.popleft()
        done, seconds, device = future.result()
        load[devices.index(device)] -= 1
        clock.add({step: busy / (workers * len(devices)) for step, busy in seconds.items()})
        record(number, done)
        return int(done["rows"])

    try:
        for number, shard in shards:
            # One shard waits for each process, so that none is idle while the next is read.
            while len(pending) >= 2 * workers * len(pools):
                yield take()
            at = load.index(min(load))
            load[at] += 1
            pending.append((number, pools[at].submit(_encode, recipe, devices[at], threads, number, shard)))
            while pending and pending[0][1].done():
                yield take()
        while pending:
            yield take()
    except BrokenProcessPool as error:
        raise NeglabelError(
            f"a process of --workers ended ({str(error).splitlines()[0][:120]}); was there memory for {workers} "
            "copies of the model? Run it again to go on, with fewer --workers"
        ) from None
    finally:
        for pool in pools:
            pool.shutdown(wait=True, kill_workers=bool(pending))


def _encode(
    recipe: Recipe, device: str, threads: int, number: int, shard: ShardWords
) -> tuple[ShardRecord, dict[str, float], str]:
    clock = Clock()
    record = encode_shard(number, shard, recipe.folder, _loaded(recipe, device, threads), recipe.storage, clock)
    return record, clock.seconds, device


@lru_cache(1)
def _loaded(recipe: Recipe, device: str, threads: int) -> TextEncoder:
    """Once a process."""
    import torch

    torch.set_num_threads(threads)
    kind, _, index = device.partition(":")
    if index:
        torch.cuda.set_device(int(index))
    loaded = load_model(recipe.model, recipe.pretrained, recipe.quickgelu, kind, recipe.precision)
    loaded.model.visual = None
    if loaded.identity["checkpoint_sha256"] != recipe.checkpoint:
        raise NeglabelError(f"the weights of {recipe.model} changed while it was running; run it again")
    encoder = TextEncoder.of(loaded, recipe.batch_size)
    if encoder.path != recipe.path:
        raise NeglabelError(
            f"a process of --workers runs the text tower as `{encoder.path}`, this one as `{recipe.path}`; "
            "leave --workers out"
        )
    return encoder
