"""Workers of a Ray cluster that each hold something (a model), and jobs spread over them, whatever dies.

A worker does one job at a time, the next waits there. The driver hands out, retries, and alone keeps results; so a
worker has no state that matters, and a job may be done twice, even at once: its output must not mind.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from neglabel import NeglabelError, UsageError
from neglabel.pipeline.ray_jobs import Done, Failed, Host, Job, Refused, gist, result_of
from neglabel.pipeline.ray_session import Slots

#: Times a job is tried that ends its worker (killed, out of memory) or fails in no way that neglabel knows.
ATTEMPTS = 3
#: Times a job is tried whose worker was lost with its node, or couldn't be reached.
LOSSES = 20
#: Jobs a worker has: one in work, one waiting there.
DEPTH = 2


@dataclass
class _Ticket:
    job: Job
    crashes: int = 0
    losses: int = 0


@dataclass(eq=False)
class _Worker:
    handle: Any
    node: str = ""
    tickets: dict[Any, _Ticket] = field(default_factory=dict)


class Pool:
    """Workers, made by ``make(*arguments)`` → (state, what is known of it).

    Args:
        ray: the module, connected.
        warn: gets a sentence where a worker is lost.
        check: is passed what is known of each worker that has started; may raise.
    """

    def __init__(
        self, ray: Any, slots: Slots, make: Callable[..., tuple[Any, Any]], arguments: tuple[Any, ...],
        warn: Callable[[str], None], check: Callable[[Any], None] = lambda about: None,
    ) -> None:  # fmt: skip
        self.ray, self.slots, self.make, self.arguments = ray, slots, make, arguments
        self.warn, self.check = warn, check
        self._starting: dict[Any, _Worker] = {}
        self._ready: list[_Worker] = []
        self._unborn = 0  # workers in a row that died before they were ready
        self._actor = ray.remote(Host)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in (*self._starting.values(), *self._ready):
            with suppress(Exception):
                self.ray.kill(worker.handle, no_restart=True)

    def start(self, count: int | None = None) -> None:
        """Have ``count`` workers begun, by default as many as there are slots for."""
        while len(self._starting) + len(self._ready) < (self.slots.workers if count is None else count):
            # Not restarted by Ray: a worker is known by what it was made with, and jobs are handed out here.
            handle = self._actor.options(
                num_cpus=self.slots.cpus, num_gpus=self.slots.gpus, max_restarts=0, max_task_retries=0
            ).remote()
            self._starting[handle.start.remote(self.make, self.arguments)] = _Worker(handle)

    def first(self) -> Any:
        """What is known of the worker that is ready first, waited for."""
        began, said = time.monotonic(), False
        while True:
            for value in self._wait():
                if isinstance(value, _Started) and value.alive:
                    return value.about
            if not said and time.monotonic() - began > 60:
                said = True
                self.warn("Ray has started no worker for a minute; `ray status` says what the cluster is short of")

    def run(self, jobs: Iterable[Job | None]) -> Generator[Done | Failed, None, None]:
        """Do ``jobs``, asked for one by one as there is room; results in the order in which they are ready.

        ``None`` among them says that there is none just now.

        A job is tried :data:`ATTEMPTS` times where it ends its worker, once where it raises UsageError or
        NeglabelError. A node that is lost doesn't count. Yields :class:`Failed` for what is given up.

        Raises:
            NeglabelError, UsageError: workers can't be started, or ``check`` refuses one.
        """
        waiting, source, again = True, iter(jobs), deque[_Ticket]()
        while True:
            while (worker := self._roomiest()) is not None:
                ticket = again.popleft() if again else None
                if ticket is None and waiting:
                    job = next(source, _END)
                    waiting = job is not _END
                    ticket = _Ticket(job) if isinstance(job, Job) else None
                if ticket is None:
                    break
                if ticket.crashes and worker.tickets:
                    # Alone with a worker, so that the next crash is surely its own.
                    again.appendleft(ticket)
                    break
                reference = worker.handle.work.remote(ticket.job.function, *ticket.job.arguments)
                worker.tickets[reference] = ticket
            if not waiting and not again and not any(worker.tickets for worker in self._ready):
                return
            self.start()
            for found in self._wait(again):
                if not isinstance(found, _Started):
                    yield found

    def _roomiest(self) -> _Worker | None:
        there = [
            worker for worker in self._ready
            if len(worker.tickets) < DEPTH and not any(ticket.crashes for ticket in worker.tickets.values())
        ]  # fmt: skip
        return min(there, key=lambda worker: len(worker.tickets), default=None)

    def _wait(self, again: deque[_Ticket] | None = None) -> Iterator[Any]:
        """What happens next, a second waited for at most: workers that started, jobs that ended."""
        owner = {reference: worker for worker in self._ready for reference in worker.tickets}
        ready, _ = self.ray.wait([*owner, *self._starting], num_returns=1, timeout=1)
        for reference in ready:
            if reference in self._starting:
                yield self._started(reference)
            elif reference in owner[reference].tickets:
                assert again is not None
                yield from self._ended(owner[reference], reference, again)

    def _started(self, reference: Any) -> _Started:
        worker = self._starting.pop(reference)
        try:
            answer = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            self._unborn += 1
            if self._unborn >= ATTEMPTS:
                raise NeglabelError(
                    f"Ray's workers end while they start ({gist(error)}); is neglabel installed on every node, and is "
                    "there memory for the model?"
                ) from None
            self.warn(f"a Ray worker ended while it started ({gist(error)}); another is begun")
            self.start()
            return _Started(None, alive=False)
        if isinstance(answer, Refused):
            raise (UsageError if answer.usage else NeglabelError)(answer.why)
        self._unborn = 0
        worker.node, about = answer
        self.check(about)
        self._ready.append(worker)
        return _Started(about)

    def _ended(self, worker: _Worker, reference: Any, again: deque[_Ticket]) -> Iterator[Done | Failed]:
        rest = dict(worker.tickets)  # in the order in which they were handed out
        ticket = worker.tickets.pop(reference)
        errors = self.ray.exceptions
        try:
            yield result_of(ticket.job, self.ray.get(reference))
            return
        except errors.RayTaskError as error:  # the worker lives
            yield from _once_more(ticket, again, gist(error.cause or error))
            return
        except errors.RayError as error:
            why = error
        self._ready.remove(worker)
        with suppress(Exception):
            self.ray.kill(worker.handle, no_restart=True)
        over, unfinished = set(self.ray.wait(list(rest), num_returns=len(rest), timeout=0)[0]), []
        for other, waiting in rest.items():
            try:
                if other != reference and other in over:
                    yield result_of(waiting.job, self.ray.get(other))
                    continue
            except errors.RayError:
                pass
            unfinished.append(waiting)
        # The first of them was in work, the others only waited.
        suspect, why_gist = unfinished[0], gist(why)
        again.extend(unfinished[1:])
        if self._lost(worker, why):
            self.warn(f"a Ray worker was lost with its node, or can't be reached; {suspect.job.name} is done elsewhere")
            suspect.losses += 1
            if suspect.losses >= LOSSES:
                yield Failed(suspect.job.key, suspect.job.name, f"its worker was lost {LOSSES} times ({why_gist})")
            else:
                again.appendleft(suspect)
            return
        self.warn(f"a Ray worker ended at {suspect.job.name} ({why_gist})")
        yield from _once_more(suspect, again, f"its worker ended {ATTEMPTS} times ({why_gist})")

    def _lost(self, worker: _Worker, error: Exception) -> bool:
        """Whether a worker was lost with its node, or couldn't be reached, rather than ended by its job."""
        if isinstance(error, self.ray.exceptions.ActorUnavailableError) or "node has died" in str(error):
            return True
        return worker.node not in {node["NodeID"] for node in self.ray.nodes() if node["Alive"]}


class _Started(NamedTuple):
    about: Any
    alive: bool = True


_END = object()


def _once_more(ticket: _Ticket, again: deque[_Ticket], why: str) -> Iterator[Failed]:
    ticket.crashes += 1
    if ticket.crashes >= ATTEMPTS:
        yield Failed(ticket.job.key, ticket.job.name, why)
    else:
        again.append(ticket)
