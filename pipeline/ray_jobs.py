"""A job for a worker of a Ray cluster, what comes of it, and the actor that does it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from neglabel import NeglabelError, UsageError

if TYPE_CHECKING:
    from neglabel.pipeline.ray_pool import Pool


class Job(NamedTuple):
    """``function(state, *arguments)``, known by ``key``; ``name`` is for people."""

    key: Any
    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class Done(NamedTuple):
    """What a job gave."""

    key: Any
    value: Any


class Failed(NamedTuple):
    """A job that is given up; ``why`` is a sentence's end."""

    key: Any
    name: str
    why: str
    usage: bool = False


class Refused(NamedTuple):
    """A worker's own error, as data: nothing of it depends on how exceptions travel."""

    why: str
    usage: bool


class Host:
    """The actor: what it was made with, and the jobs done with it. An instance lives in a process of its own."""

    def __init__(self) -> None:
        self.state: Any = None

    def start(self, make: Callable[..., tuple[Any, Any]], arguments: tuple[Any, ...]) -> Any:
        """``make(*arguments)`` gives what jobs are done with, and what is known of it, which is returned."""
        import ray

        try:
            self.state, about = make(*arguments)
        except NeglabelError as error:
            return Refused(str(error), isinstance(error, UsageError))
        return ray.get_runtime_context().get_node_id(), about

    def work(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(self.state, *arguments)
        except NeglabelError as error:
            return Refused(str(error), isinstance(error, UsageError))


def result_of(job: Job, value: Any) -> Done | Failed:
    return Failed(job.key, job.name, value.why, value.usage) if isinstance(value, Refused) else Done(job.key, value)


def gist(error: BaseException) -> str:
    """The line of a Ray error that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    telling = [line for line in lines if "exit detail" in line or "died" in line or "killed" in line] or lines
    return telling[0][:160].rstrip(".")


def ordered(pool: Pool, jobs: Iterable[Job], ahead: int) -> Generator[Done | Failed, None, None]:
    """As :meth:`Pool.run`, in the order of ``jobs``, at most ``ahead`` of them begun and not yet given."""
    order, given, there = deque[Any](), 0, dict[Any, Done | Failed]()

    def limited() -> Iterator[Job | None]:
        for begun, job in enumerate(jobs):
            while begun - given >= ahead:
                yield None  # not now
            order.append(job.key)
            yield job

    for found in pool.run(limited()):
        there[found.key] = found
        while order and order[0] in there:
            given += 1
            yield there.pop(order.popleft())
