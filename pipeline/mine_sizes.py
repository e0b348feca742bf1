"""How many candidates ``mine`` keeps, and which ones a random baseline draws."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from neglabel.pipeline.choose_rows import Selection
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.presets import Preset
from neglabel.pipeline.progress import Reporter


def asked_for(settings: MineSettings, preset: Preset) -> tuple[int | None, float | None]:
    """M and the share to keep, one of them None: as given, else the preset's."""
    if settings.top is not None or settings.top_share is not None:
        return settings.top, settings.top_share
    return preset.top, preset.top_share


def group_sizes(settings: MineSettings, preset: Preset, selection: Selection, reporter: Reporter) -> list[int]:
    """M of each group; a share is rounded down."""
    top, share = asked_for(settings, preset)
    there = [selection.size(number) for number in range(len(selection.names))]
    if share is not None:
        # Decimal, since 0.29 * 100 is 28.999… in binary.
        sizes = [int(Decimal(str(share)) * n) for n in there]
        if not any(sizes):
            reporter.warn(f"--top-share {share} of {sum(there):,} candidates is none: no negative label is kept")
        return sizes
    if top is not None and sum(there) < top:
        reporter.warn(f"{sum(there):,} candidates are left, fewer than --top {top:,}; keeping all")
    return [min(n, top or n) for n in there]


def ends(sizes: Sequence[int], both: bool) -> tuple[list[int], list[int]]:
    """How many farthest and how many nearest to keep of each group: with ``both`` half and half, the odd one far."""
    return ([size - size // 2 for size in sizes], [size // 2 for size in sizes]) if both else (list(sizes), [])


def draw(seed: int, selection: Selection, sizes: Sequence[int]) -> NDArray[np.int64]:
    """(rows of all files,) the order in which a row was drawn at random within its group; -1 where it was not."""
    keep, group = np.concatenate(selection.keep), np.concatenate(selection.groups)
    order = np.full(len(keep), -1, np.int64)
    generator = np.random.default_rng(seed)
    for number, size in enumerate(sizes):
        members = np.flatnonzero(keep & (group == number))
        order[generator.permutation(members)[:size]] = np.arange(size)
    return order
