"""What lower precision costs and brings: the precision gate for each dtype, and the speed of each. One command:

    python benchmarks/precision.py [--quick] [--words N] [--no-speed] [--rounds 5] [--threads 2] [--json precision.json]

The gate: smallest cosine to float32 at least 0.9995; of the top M negatives at least 99 % those of float32; AUROC
of the NegLabel score moved by at most 0.05 points, whichever OOD set moves most. Measured on the embedded world (the
packaged model and pictures, words of the packaged WordNet; all of them, and draws of a part), and where
``../shared/data`` is on real CLIP ViT-B/32 features. Of those there is no text tower, so there only the rounding of
finished embeddings can be measured. `auto`: whether the smallest cosine is above the line of ``--precision auto``,
which must admit no computation that fails.

Only candidates are in the precision of their row: labels and pictures are float32 in `mine` and `score`. Speeds are of
the prefix tree over consecutive nouns through a ViT-B-16 text tower with random weights, every row once a round.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from precision_towers import KINDS, embed, tower
from precision_worlds import Floats, World, draws, embedded_world, part, real_worlds, rounded

from neglabel.pipeline.metrics import auroc
from neglabel.pipeline.mine import select
from neglabel.pipeline.models import load_model
from neglabel.pipeline.precision import GATE
from neglabel.pipeline.precision_trial import probes
from neglabel.pipeline.scores import compute, group_negatives
from neglabel.pipeline.tokens import Tokens

#: Smallest cosine, smallest overlap of the selections in percent, and most points that AUROC may move.
COSINE, OVERLAP, POINTS = 0.9995, 99.0, 0.05


def chosen(world: World, candidates: Floats, top: int) -> Any:
    return select(candidates, world.labels, 0.05, top, "cpu")


def aurocs(world: World, candidates: Floats) -> dict[str, float]:
    """AUROC of NegLabel in percent by OOD set, with the negatives that these candidates give."""
    negatives = candidates[chosen(world, candidates, world.kept)]
    negatives = negatives / np.linalg.norm(negatives, axis=1, keepdims=True)
    groups = group_negatives(len(negatives), world.groups)
    scores = {
        name: compute("neglabel", images @ world.labels.T, images @ negatives.T, world.temperature, groups)[1]
        for name, images in world.images.items()
    }
    return {name: 100 * auroc(scores[world.known], scores[name]) for name in scores if name != world.known}


def gate(world: World, found: Floats, known: Mapping[str, float], best: Any) -> dict[str, Any]:
    """The three lines of the gate for ``found`` candidates; ``known`` and ``best`` are float32's AUROCs and top M."""
    # Features that were stored as float16 have not quite length 1.
    exact, other = (one.astype(np.float64) for one in (world.candidates, found))
    lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(other, axis=1)
    cosine = float(((exact * other).sum(axis=1) / lengths).min())
    overlap = 100 * len(np.intersect1d(chosen(world, found, world.top), best)) / len(best)
    moved = {name: value - known[name] for name, value in aurocs(world, found).items()}
    most = max(moved.values(), key=abs)
    passes = cosine >= COSINE and overlap >= OVERLAP and abs(most) <= POINTS
    return {"cosine": cosine, "overlap": overlap, "auroc_moved": most, "passes": passes, "auto": cosine >= GATE,
            "all_moved": moved}  # fmt: skip


def worlds(words: int, pictures: int, real: bool) -> Iterator[dict[str, Any]]:
    """Every world and dtype → a row of the first table, as it is measured."""
    whole, ids, model, tokenizer = embedded_world(words, pictures)
    found = {kind: embed(tower(kind, model, tokenizer), ids) for kind in KINDS[1:]}
    found["storage float16"] = whole.candidates.astype(np.float16).astype(np.float32)
    for name, rows in draws(whole) if real else (("", np.arange(len(ids))),):
        world = part(whole, rows)
        known, best = aurocs(world, world.candidates), chosen(world, world.candidates, world.top)
        for kind, candidates in found.items():
            yield {"world": world.name + name, "dtype": kind, **gate(world, candidates[rows], known, best)}
    for world in real_worlds() if real else ():
        known, best = aurocs(world, world.candidates), chosen(world, world.candidates, world.top)
        for dtype in ("float16", "bfloat16", "int8"):
            row = gate(world, rounded(world.candidates, dtype), known, best)
            yield {"world": world.name, "dtype": f"rounded to {dtype}", **row}


def speeds(model: str, count: int, rounds: int) -> list[dict[str, Any]]:
    """Every kind of tower → a row of the second table, with seconds a round."""
    tokenizer = load_model("emoji", device="cpu").tokenizer if model == "emoji" else None
    towers = {kind: tower(kind, model, tokenizer) for kind in KINDS}
    # Consecutive in the alphabet, as a shard's words are.
    nouns = probes(139_000)[40_000 : 40_000 + count]
    if tokenizer is None:
        import open_clip

        tokenizer = open_clip.get_tokenizer("ViT-B-16-quickgelu")
    ids = Tokens(tokenizer, tokenizer.context_length).ids(nouns).astype(np.int64)
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    found: dict[str, Floats] = {}
    for number in range(rounds + 1):
        for kind, one in towers.items():
            start = time.perf_counter()
            found[kind] = embed(one, ids)
            # The first round warms up.
            if number:
                seconds[kind].append(time.perf_counter() - start)
    exact = found["fp32"].astype(np.float64)
    return [{
        "model": model, "dtype": kind, "prompts": count, "prompts_per_second": count / statistics.median(seconds[kind]),
        "ratio": statistics.median(a / b for a, b in zip(seconds["fp32"], seconds[kind], strict=True)),
        "cosine": float((exact * found[kind]).sum(axis=1).min()), "seconds": seconds[kind],
    } for kind in KINDS]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="500 words, few pictures, the packaged tower alone")
    parser.add_argument("--no-speed", action="store_true", help="the gate alone")
    parser.add_argument("--words", type=int, default=139_000, help="candidates of the embedded world")
    parser.add_argument("--nouns", type=int, default=256, help="prompts timed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch; default: its own choice")
    parser.add_argument("--json", type=Path, default=Path("precision.json"))
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    quick = options.quick
    processor = f"{platform.processor() or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"
    machine = f"{processor}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"{date.today()}, {machine}")
    print(f"{'world':42} {'dtype':26} {'min cosine':>10} {'top M':>8} {'AUROC':>7}  gate    auto")
    gates = []
    for row in worlds(*((500, 4) if quick else (options.words, 10_000)), real=not quick):
        gates.append(row)
        verdict = f"{'passes' if row['passes'] else 'fails':6}  {'admits' if row['auto'] else ''}"
        print(f"{row['world']:42} {row['dtype']:26} {row['cosine']:10.6f} {row['overlap']:7.2f}% "
              f"{row['auroc_moved']:+7.3f}  {verdict}", flush=True)  # fmt: skip
    rates = []
    if not options.no_speed:
        rates = speeds("emoji", 64, 2) if quick else speeds("ViT-B-16-quickgelu", options.nouns, options.rounds)
        print("\nemoji" if quick else f"\n{rates[0]['model']}, random weights")
    for row in rates:
        print(f"{row['dtype']:26} {row['prompts_per_second']:10.1f}/s {row['ratio']:7.3f} x fp32 {row['cosine']:10.6f}")
    result = {"date": str(date.today()), "machine": machine, "gate": gates, "speed": rates}
    options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
