"""What is left: where the tower's time on a CPU goes, and how near its products come to the machine's best.

One command:

    python benchmarks/encode_profile.py [--threads 2] [--nouns 8000] [--repeats 5]

The tower of ``encode.py`` over consecutive WordNet nouns, seen by PyTorch's profiler, and the four products of its
blocks alone, by rows a product. Medians; nothing else should run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from datetime import date
from itertools import pairwise
from typing import Any

import torch
from encode import build, gemm_rate
from encode_peers import named_machine

from neglabel.pipeline.products import Product
from neglabel.pipeline.text_encoder import TextEncoder

#: What an operator is for; everything else is ``the rest``.
PARTS = {
    "mkldnn::_linear_pointwise": "products (bias and SiLU in them)", "aten::mm": "products (bias and SiLU in them)",
    "aten::addmm": "products (bias and SiLU in them)", "aten::native_layer_norm": "layer norms",
    "aten::_scaled_dot_product_flash_attention_for_cpu": "attention", "aten::index_select": "gathers",
    "aten::index": "gathers", "aten::copy_": "copies", "aten::add_": "residual sums",
}  # fmt: skip


def prepared(description: str | None, nouns: int, repeats: int) -> tuple[argparse.Namespace, TextEncoder, Any, Any]:
    """The options (``nouns`` and ``repeats``: their defaults), the encoder, its tower and what the tower runs over."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--nouns", type=int, default=nouns)
    parser.add_argument("--repeats", type=int, default=repeats)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    world = build(options.nouns)
    encoder = TextEncoder(world.model, world.tokenizer)
    return options, encoder, encoder._settled[1], encoder.tokenise(world.prompts).sequences


def main() -> None:
    options, encoder, tower, sequences = prepared(__doc__, 8_000, 5)
    bounds = list(pairwise(tower.cut(sequences, encoder.token_budget).tolist()))
    print(f"{date.today()}, {named_machine()}")

    def run() -> None:
        for start, stop in bounds:
            tower.run(sequences, start, stop)

    run()
    found: list[Counter[str]] = []
    for _ in range(options.repeats):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            begin = time.perf_counter()
            run()
            wall = time.perf_counter() - begin
        spent: Counter[str] = Counter()
        for event in profile.key_averages():
            spent[PARTS.get(event.key, "the rest")] += event.self_cpu_time_total / 1e6 / wall
        spent["outside PyTorch (planning)"] = 1 - sum(spent.values())
        found.append(spent)
    for part in sorted(found[0], key=lambda part: -statistics.median(each[part] for each in found)):
        print(f"  {part:36} {statistics.median(each[part] for each in found):6.1%}")
    print("GFLOP/s of products alone, by rows (best of any shape in this run: 100 %)")
    shapes = {"query, out": (512, 512), "key, value": (512, 1024), "fc": (512, 2048), "proj": (2048, 512)}
    rates = {
        (name, rows): statistics.median(rate(*shape, rows) for _ in range(options.repeats))
        for rows in (256, 512, 1024, 3072) for name, shape in shapes.items()
    }  # fmt: skip
    top = max(gemm_rate(), *rates.values())
    for rows in (256, 512, 1024, 3072):
        print(f"  {rows:5} rows  " + "".join(
            f"{name} {rates[name, rows] / 1e9:6.1f} ({rates[name, rows] / top:4.0%})  " for name in shapes
        ))  # fmt: skip


@torch.inference_mode()
def rate(width: int, to: int, rows: int) -> float:
    """FLOP/s of one product, with twelve layers' weights by turns, as in the tower."""
    products: list[Any] = [Product(torch.randn(to, width), torch.randn(to), True) for _ in range(12)]
    x = torch.randn(rows, width)
    for product in products:
        product._one_dnn(x)
    begin = time.perf_counter()
    for product in products * 4:
        product._one_dnn(x)
    return 48 * 2.0 * rows * width * to / (time.perf_counter() - begin)


if __name__ == "__main__":
    main()
