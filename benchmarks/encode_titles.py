"""Titles of Wikipedia: ours and open_clip.encode_text by turns, on the same titles in one run. One command:

    python benchmarks/encode_titles.py FILE [FILE ...] [--titles 50000] [--turns 10] [--threads 2] [--json titles.json]

Files of titles, one a line. All titles of a file are encoded once, as `encode` does it (prompts tokenised, one prefix
tree after another), and after each tenth of the batches `encode_text` gets some of them, padded. The ratio is that of
titles a second over the whole file to the median of `encode_text`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from encode_peers import encode_text, named_machine
from torch.nn import functional as F

from neglabel.corpora import Candidate, open_corpus
from neglabel.pipeline.text_encoder import TextEncoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--titles", type=int, default=50_000, help="of each file, spread evenly")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", type=Path, default=Path("titles.json"))
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    import open_clip

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = open_clip.create_model("ViT-B-16-quickgelu", load_weights=False).eval().requires_grad_(False)
    tokenizer = open_clip.get_tokenizer("ViT-B-16-quickgelu")
    machine = named_machine()
    print(f"{date.today()}, {machine}")
    rows = []
    for path in options.files:
        titles = [c.text for c in open_corpus(f"wikipedia:path={path}") if isinstance(c, Candidate)]
        titles = titles[:: max(len(titles) // options.titles, 1)][: options.titles]
        rows.append({"file": path.name, **by_turns(model, tokenizer, titles, options.turns)})
        print(json.dumps(rows[-1]))
    options.json.write_text(json.dumps({"date": str(date.today()), "machine": machine, "rows": rows}, indent=1) + "\n")


def by_turns(model: Any, tokenizer: Any, titles: list[str], turns: int) -> dict[str, Any]:
    prompts = [f"the nice {title}" for title in titles]
    few = [prompts[i] for i in np.random.default_rng(0).choice(len(prompts), 64, replace=False)]

    class World:
        ids = tokenizer(few).numpy()

    World.model = model  # type: ignore[attr-defined]
    peer, count, theirs, _ = next(iter(encode_text(World, 64)))
    encoder = TextEncoder(model, tokenizer)
    encoder.encode(few)
    seconds, their_rates, found = 0.0, [], np.empty((len(prompts), model.text_projection.shape[1]), np.float32)
    start = time.perf_counter()
    tokenised = encoder.tokenise(prompts)
    seconds += time.perf_counter() - start
    sequences = tokenised.sequences
    batches, turn, done = iter(encoder.batches(tokenised)), 0, 0
    while True:
        start = time.perf_counter()
        batch = next(batches, None)
        seconds += time.perf_counter() - start
        if batch is None:
            break
        found[batch[0]] = batch[1]
        done += len(batch[0])
        if done * turns >= (turn + 1) * len(prompts):
            turn += 1
            start = time.perf_counter()
            theirs()
            their_rates.append(count / (time.perf_counter() - start))
    with torch.inference_mode():
        expected = F.normalize(model.encode_text(tokenizer(few)), dim=-1).numpy()
    places = {prompt: i for i, prompt in enumerate(prompts)}
    off = float(np.abs(found[[places[prompt] for prompt in few]] - expected).max())
    return {
        "titles": len(prompts), "tokens_a_title": round(float(sequences.lengths.mean()), 2),
        "prefixes_a_title": round(float((sequences.lengths - sequences.shared).sum() / len(prompts)), 2),
        "titles_per_second": round(len(prompts) / seconds, 1), "peer": peer,
        "peer_per_second": round(statistics.median(their_rates), 2), "turns": len(their_rates),
        "ratio": round(len(prompts) / seconds / statistics.median(their_rates), 2), "max_difference": off,
    }  # fmt: skip


if __name__ == "__main__":
    main()
