"""Ways of doing the same by turns on a device; for ``gpu_search.py`` and ``gpu_score.py``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from operator import truediv
from typing import Any

import torch


def by_turns(ways: Mapping[str, Callable[[], Any]], repeats: int, device: str) -> tuple[Any, dict[str, float]]:
    """Every round runs every way once, after one to warm up: seconds of each, medians of the ratios to `copied`."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            _wait(device)
            start = time.perf_counter()
            way()
            _wait(device)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds, {name: statistics.median(map(truediv, took, seconds["copied"])) for name, took in seconds.items()}


def show(seconds: Mapping[str, list[float]], ratios: Mapping[str, float]) -> None:
    """A line a way."""
    for name, took in seconds.items():
        print(f"    {name:10} {statistics.median(took):8.3f} s, {ratios[name]:.2f} of `copied`")


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
