"""Whether other sizes make the tower faster on a CPU: rows a product, and prefixes a chunk. One command:

    python benchmarks/encode_tiles.py [--threads 2] [--nouns 2000] [--repeats 3]

The tower of ``encode.py`` over consecutive WordNet nouns; sizes take turns within a repeat. Medians of nouns/s, and of
their ratios to the size that is used, within a repeat.
"""

from __future__ import annotations

import statistics
import time
from datetime import date
from itertools import pairwise
from typing import Any

from encode import gemm_rate
from encode_peers import named_machine
from encode_profile import prepared

TILES = (128, 256, 384, 512, 768, 1_024, 1_536, 1 << 30)
CHUNKS = (0.5, 1, 2, 4)


def main() -> None:
    options, encoder, tower, sequences = prepared(__doc__, 2_000, 3)
    used, budget = tower.tile, encoder.token_budget
    cuts = {factor: list(pairwise(tower.cut(sequences, int(budget * factor)).tolist())) for factor in CHUNKS}
    ways = [(f"{tile if tile < 1 << 30 else 'all'} rows", tile, 1) for tile in TILES]
    ways += [(f"chunks of {budget * factor:,.0f} prefixes", used, factor) for factor in CHUNKS if factor != 1]
    print(f"{date.today()}, {named_machine()}, {gemm_rate() / 1e9:.0f} GFLOP/s; used: {used} rows, {budget:,} prefixes")

    def seconds(tile: int, factor: float) -> float:
        tower.tile = tile
        begin = time.perf_counter()
        for start, stop in cuts[factor]:
            tower.run(sequences, start, stop)
        return time.perf_counter() - begin

    seconds(used, 1)
    taken: dict[str, list[float]] = {name: [] for name, _, _ in ways}
    for turn in range(options.repeats):
        order: list[Any] = ways if turn % 2 else ways[::-1]
        for name, tile, factor in order:
            taken[name].append(seconds(tile, factor))
    base = taken[f"{used} rows"]
    for name, times in taken.items():
        ratio = statistics.median(b / t for b, t in zip(base, times, strict=True))
        print(f"| {name} | {options.nouns / statistics.median(times):.1f} | {ratio:.3f} |")


if __name__ == "__main__":
    main()
