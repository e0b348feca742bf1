"""What the stages of a sweep would make again for every row (a loaded model, a listing), kept while it lasts."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])
#: By function, what it gave by its arguments; None outside of :func:`remembering`.
_kept: dict[str, OrderedDict[Any, Any]] | None = None


@contextmanager
def remembering() -> Iterator[None]:
    """In the block, functions marked with :func:`remembered` answer equal arguments from memory.

    What they name (files, folders) is taken not to change meanwhile.
    """
    global _kept
    before, _kept = _kept, {} if _kept is None else _kept
    try:
        yield
    finally:
        _kept = before


def remembered(limit: int) -> Callable[[Function], Function]:
    """Of a function of hashable arguments: keep its last ``limit`` results in :func:`remembering`; errors are not."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def answer(*given: Any, **named: Any) -> Any:
            if _kept is None:
                return function(*given, **named)
            results = _kept.setdefault(f"{function.__module__}.{function.__qualname__}", OrderedDict())
            key = (given, tuple(sorted(named.items())))
            if key not in results:
                while len(results) >= limit:  # before, so that never more than `limit` are in memory
                    results.popitem(last=False)
                results[key] = function(*given, **named)
            results.move_to_end(key)
            return results[key]

        return cast(Function, answer)

    return decorate
