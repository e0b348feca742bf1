"""Ray for the length of a stage: a cluster joined, or one started on this machine; what it has to work with."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from neglabel import NeglabelError, UsageError
from neglabel.indexes.cores import cores

#: Seconds within which a cluster's head takes a connection.
PATIENCE = 20.0


class Slots(NamedTuple):
    """How many workers a cluster takes, and what each of them holds: ``cpus`` threads, a share of ``gpus``."""

    workers: int
    cpus: int
    gpus: float

    @property
    def device(self) -> str:
        return "cuda" if self.gpus else "cpu"


@contextmanager
def session(address: str | None) -> Iterator[Any]:
    """The module ``ray``, connected. What is connected already is used, and left as it is.

    Raises:
        NeglabelError: no cluster answers at ``address``, or none can be started.
    """
    # Ray would report its use to its makers; neglabel sends nothing anywhere.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        yield ray
        return
    place = address or os.environ.get("RAY_ADDRESS") or "local"
    if (found := re.fullmatch(r"([^/]+):(\d+)", place)) and (why := _silent(found[1], int(found[2]))):
        raise NeglabelError(f"Ray can't be reached at --address {place} ({why}); see `ray status`")
    own: dict[str, Any] = {"num_cpus": cores(), "include_dashboard": False} if place == "local" else {}
    try:
        ray.init(place, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RuntimeError, OSError, ValueError, TimeoutError) as error:
        where = "can't be started here" if place == "local" else f"can't be reached at --address {place}"
        gist = (str(error).strip().splitlines() or [type(error).__name__])[0][:160].rstrip(".")
        raise NeglabelError(f"Ray {where} ({gist}); see `ray status`") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _silent(host: str, port: int) -> str | None:
    """Why nobody answers there, None where somebody does: Ray itself would try for many minutes."""
    try:
        socket.create_connection((host.strip("[]"), port), PATIENCE).close()
    except (OSError, OverflowError) as error:
        return getattr(error, "strerror", None) or str(error) or type(error).__name__
    return None


def slots(ray: Any, device: str, workers: int = 0) -> Slots:
    """Workers for the nodes there are now, ``workers`` on each GPU or, on CPUs, on each node (0: one).

    No processor is promised twice: the threads of a node's workers together are its CPUs as Ray counts them, and Ray
    sets OMP_NUM_THREADS to a worker's share before it starts.

    Raises:
        UsageError: ``cuda``, and no node has a GPU; or no node has a CPU.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    if device == "cuda" and not gpus:
        raise UsageError("--device cuda: no node of the Ray cluster has a GPU; use --device cpu")
    if gpus and device != "cpu":
        each = max(workers, 1)
        return Slots(gpus * each, 1, 1 / each)
    cpus = [int(node.get("CPU", 0)) for node in nodes if node.get("CPU", 0) >= 1]
    if not cpus:
        raise UsageError("no node of the Ray cluster has a CPU to work with; start one with `ray start`")
    share = max(min(cpus) // max(workers, 1), 1)
    return Slots(sum(count // share for count in cpus), share, 0)
