"""Whether other sizes make the tower faster on a CPU: rows a product, and prefixes a chunk. One command:

    python benchmarks/encode_tiles.py [--threads 2] [--nouns 2000] [--repeats 3]

The tower of ``encode.py`` over consecutive WordNet nouns; sizes take turns within a repeat. Medians of nouns/s, and of
their ratios to the size that is used, within a repeat.
"""

from __future__ import annotations

import argparse
import statistics
import time
from datetime import date
from itertools import pairwise
from typing import Any

import torch
from encode import build, gemm_rate
from encode_peers import named_machine

from neglabel.pipeline.text_encoder import TextEncoder

TILES = (128, 256, 384, 512, 768, 1_024, 1 << 30)
CHUNKS = (0.5, 1, 2, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--nouns", type=int, default=2_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    world = build(options.nouns)
    encoder = TextEncoder(world.model, world.tokenizer)
    sequences, tower = encoder.tokenise(world.prompts).sequences, encoder._settled[1]
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
