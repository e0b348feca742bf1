"""``mine --both-ends``: the farthest and the nearest of each group, as one list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.pipeline.topm import TopM


def both_ends(far: Sequence[dict[str, NDArray[Any]]], low: Sequence[TopM]) -> list[dict[str, NDArray[Any]]]:
    """Each group's farthest, and behind them its nearest, farthest first as well."""
    found = []
    for rows, best in zip(far, low, strict=True):
        near = {name: values[::-1] for name, values in best.result().items()}
        for name in ("distance", "position") if near else ():
            near[name] = -near[name]
        found.append({name: np.concatenate([rows[name], near[name]]) for name in rows} if near else rows)
    return found
