"""Text encoding side by side: ours, open_clip.encode_text, transformers, ONNX Runtime, OpenVINO. One command:

    python benchmarks/encode.py [--quick] [--nouns 20000] [--repeats 5] [--threads 2] [--json encode.json]

ViT-B-16 with random weights (speed and equality don't depend on them) over WordNet nouns, consecutive in alphabetical
order, under `the nice {}`. Every repeat runs every row once, so that a change of the machine's mood falls on all of
them; the figures are medians. `of limit` is the share of the arithmetic limit: the products' FLOPs over the
matrix-product rate of the same repeat.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from encode_ours import ablation, ours
from encode_peers import encode_text, named_machine, onnx_runtime, openvino, transformers_peer

from neglabel.corpora import Candidate, open_corpus
from neglabel.pipeline.products import Product, can_pack


@dataclass
class Row:
    """One line of the table: ``run`` encodes ``count`` prompts and returns the first embeddings for the difference."""

    name: str
    count: int
    run: Callable[[], Any]
    #: FLOPs of the matrix products of one run; 0 where they aren't known.
    flops: float = 0.0
    seconds: list[float] = field(default_factory=list)
    #: None where a run returns nothing to compare.
    difference: float | None = None


@dataclass(frozen=True)
class World:
    """What every row works on."""

    model: Any
    tokenizer: Any
    words: list[str]
    prompts: list[str]
    #: (n, context) ids, and the unit embeddings of the first prompts by ``encode_text``.
    ids: Any
    expected: Any


def gemm_rate() -> float:
    """FLOP/s of float32 products of the tower's own shapes (512 rows at a time), the better of PyTorch's kernels."""
    x, weight, bias = torch.randn(512, 512), torch.randn(2048, 512), torch.randn(2048)
    out, best = torch.empty(512, 2048), 0.0
    with torch.inference_mode():
        products = [Product(weight, bias, packed) for packed in {False, can_pack([weight] * 32)}]
        for product in products * 10:
            one_dnn = product.packed is not None
            start = time.perf_counter()
            for _ in range(4):
                product._one_dnn(x) if one_dnn else product.into(x, out)
            best = max(best, 4 * 2 * out.numel() * 512 / (time.perf_counter() - start))
    return best


def build(nouns: int) -> World:
    import open_clip

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = open_clip.create_model("ViT-B-16-quickgelu", load_weights=False).eval().requires_grad_(False)
    tokenizer = open_clip.get_tokenizer("ViT-B-16-quickgelu")
    words = sorted({c.text for c in open_corpus("wordnet:pos=n") if isinstance(c, Candidate)})
    start = max((len(words) - nouns) // 2, 0)
    words = words[start : start + nouns]
    prompts = [f"the nice {word}" for word in words]
    ids = tokenizer(prompts)
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(model.encode_text(ids[:64]), dim=-1).numpy()
    return World(model, tokenizer, words, prompts, ids.numpy(), expected)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 nouns, 2 repeats")
    parser.add_argument("--nouns", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch and the others; default: its own choice")
    parser.add_argument("--json", type=Path, default=Path("encode.json"))
    options = parser.parse_args()
    nouns, repeats = (200, 2) if options.quick else (options.nouns, options.repeats)
    if options.threads:
        torch.set_num_threads(options.threads)
    world = build(nouns)
    rows: list[Row] = []
    skipped: list[str] = []
    for make in (encode_text, ours, ablation, transformers_peer, onnx_runtime, openvino):
        try:
            rows += [Row(*made) for made in make(world, 32 if options.quick else 512)]
        except ImportError as missing:
            skipped.append(f"{make.__name__}: skipped, {missing.name} is not installed (pip install '.[benchmark]')")
    rates = []
    for repeat in range(repeats):
        rates.append(gemm_rate())
        # In another order each time: a row may profit or suffer from the one before it.
        for row in random.Random(repeat).sample(rows, len(rows)):
            start = time.perf_counter()
            found = row.run()
            row.seconds.append(time.perf_counter() - start)
            known = min(len(found), len(world.expected))
            if known:
                row.difference = max(row.difference or 0, float(np.abs(found[:known] - world.expected[:known]).max()))
    report(rows, rates, skipped, options.json, repeats)


def report(rows: list[Row], rates: list[float], skipped: list[str], path: Path, repeats: int) -> None:
    """Print the table and write it as JSON."""
    machine = named_machine()
    rate = statistics.median(rates)
    print(f"{date.today()}, {machine}; products at {rate / 1e9:.0f} GFLOP/s; medians of {repeats}")
    print(f"{'':44} {'prompts/s':>10} {'ratio':>7} {'of limit':>8} {'max diff':>9}")
    table = []
    for row in rows:
        # Ratios and shares within a repeat, so that they are of one moment.
        speed = [row.count / s for s in row.seconds]
        ratios = [a / (rows[0].count / b) for a, b in zip(speed, rows[0].seconds, strict=True)]
        ratio = statistics.median(ratios)
        share = statistics.median(row.flops / s / r for s, r in zip(row.seconds, rates, strict=True))
        table.append({
            "name": row.name, "prompts": row.count, "prompts_per_second": statistics.median(speed),
            "ratio": ratio, "ratios": ratios,
            "share_of_limit": share or None, "max_difference": row.difference, "seconds": row.seconds,
        })  # fmt: skip
        shown = f"{share:8.0%}" if share else f"{'':8}"
        off = f"{row.difference:9.1e}" if row.difference is not None else ""
        spread = f"({min(ratios):.1f}–{max(ratios):.1f})"
        print(f"{row.name:44} {statistics.median(speed):10.1f} {ratio:7.2f} {shown} {off} {spread}")
    for line in skipped:
        print(line)
    result = {"date": str(date.today()), "machine": machine, "repeats": repeats, "gemm_flops": rates,
              "skipped": skipped, "rows": table}  # fmt: skip
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
