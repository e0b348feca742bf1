"""The second pass of ``mine``: which rows are kept, the farthest or, for a baseline, random ones."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel.indexes.percentile import PercentileIndex
from neglabel.pipeline.candidates import Stores
from neglabel.pipeline.choose_rows import Selection, stream_rows
from neglabel.pipeline.labels import Labels
from neglabel.pipeline.mined import Distances
from neglabel.pipeline.presets import Preset
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.settings import MineSettings
from neglabel.pipeline.store import unit
from neglabel.pipeline.topm import TopM


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


def best_rows(
    settings: MineSettings,
    stores: Stores,
    selection: Selection,
    labels: Labels,
    index: PercentileIndex,
    sizes: Sequence[int],
    reporter: Reporter,
) -> tuple[list[dict[str, NDArray[Any]]], Distances]:
    """The second pass. Returns the kept rows of each group, best first, and what is known of all distances."""
    best = [TopM(size, labels.embedding, index) for size in sizes]
    drawn = None if settings.random is None else _draw(settings.random, selection, sizes)
    seen = Distances()
    for position, group, embedding in reporter.track(
        stream_rows(stores, selection), "mine", selection.rows, "candidates", size=lambda block: len(block[0])
    ):
        distance = index.distances(unit(embedding))
        seen.add(distance, position)
        for number, top in enumerate(best):
            # A baseline offers just what was drawn, as many rows as are kept: none is ranked out.
            rows = group == number if drawn is None else (group == number) & (drawn[position] >= 0)
            top.push(distance[rows], position[rows], embedding[rows])
    results = [top.result() for top in best]
    if drawn is not None:
        orders = [np.argsort(drawn[rows["position"]]) if rows else None for rows in results]
        results = [
            {name: values[order] for name, values in rows.items()}
            for rows, order in zip(results, orders, strict=True)
        ]
    return results, seen


def _draw(seed: int, selection: Selection, sizes: Sequence[int]) -> NDArray[np.int64]:
    """(rows of all files,) the order in which a row was drawn at random within its group; -1 where it was not."""
    keep, group = np.concatenate(selection.keep), np.concatenate(selection.groups)
    order = np.full(len(keep), -1, np.int64)
    generator = np.random.default_rng(seed)
    for number, size in enumerate(sizes):
        members = np.flatnonzero(keep & (group == number))
        order[generator.permutation(members)[:size]] = np.arange(size)
    return order
