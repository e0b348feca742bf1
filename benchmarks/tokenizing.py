"""Tokenising against open_clip's own tokenizer, side by side in one run, one thread, ids compared.

    python benchmarks/tokenizing.py [--rounds 5] [--json FILE]

Cold: nothing remembered on either side (open_clip keeps the pieces of every word it met, too). Warm: the same prompts
again. Titles are measured where ``../shared/data`` is. (Not named ``tokenize.py``: a script's folder comes first on
the path, and that name would hide the standard library's module.)
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from open_clip.tokenizer import SimpleTokenizer

from neglabel.corpora import open_corpus
from neglabel.pipeline.tokens import Tokens

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
CONTEXT = 77


def corpora() -> Iterator[tuple[str, list[str]]]:
    yield "WordNet nouns", [f"the nice {word.text}" for word in open_corpus("wordnet:pos=n")]
    for name, stem in (("English titles", "enwiki-vital-titles"), ("Chinese titles", "zhwiki-titles")):
        path = SHARED / "titles" / f"{stem}.txt"
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()[:50_000]
            yield name, [f"the nice {line.replace('_', ' ')}" for line in lines]


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process (one thread computes): other processes of the machine don't count."""
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def measure(prompts: list[str], rounds: int) -> dict[str, float | int]:
    """Medians over ``rounds``, the two by turns: microseconds a prompt, and their ratios."""
    times: dict[str, list[float]] = {"open_clip_cold": [], "open_clip_warm": [], "cold": [], "warm": []}
    special = dict(SimpleTokenizer().cache)
    theirs = SimpleTokenizer()
    for _ in range(rounds):
        theirs.cache = dict(special)
        mine = Tokens(theirs, CONTEXT)
        theirs.cache = dict(special)  # what the check at the start left there
        if not mine.is_fast:
            raise SystemExit("this open_clip's tokenizer is none that neglabel knows: nothing to compare")
        for state in ("cold", "warm"):
            spent, expected = seconds(lambda: theirs(prompts).numpy())
            times[f"open_clip_{state}"].append(spent)
            spent, (ids, _) = seconds(lambda tokens=mine: tokens.encode(prompts))
            times[state].append(spent)
            if not np.array_equal(ids, expected):
                raise SystemExit("the ids differ from open_clip's")
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "prompts": len(prompts),
        "tokens_per_prompt": round(float((expected != 0).sum(axis=1).mean()), 2),
        **{f"{name}_us": round(value / len(prompts) * 1e6, 2) for name, value in medians.items()},
        "cold_ratio": round(medians["open_clip_cold"] / medians["cold"], 1),
        "warm_ratio": round(medians["open_clip_warm"] / medians["warm"], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = {}
    print("CPU µs a prompt\n")
    print("| prompts | n | open_clip, cold | neglabel, cold | ratio | open_clip, warm | neglabel, warm | ratio |")
    print("| --- " * 8 + "|")
    for name, prompts in corpora():
        row = rows[name] = measure(prompts, given.rounds)
        print(
            f"| {name} | {row['prompts']:,} | {row['open_clip_cold_us']} | {row['cold_us']} | {row['cold_ratio']} "
            f"| {row['open_clip_warm_us']} | {row['warm_us']} | {row['warm_ratio']} |",
            flush=True,
        )
    if given.json:
        machine = {"python": sys.version.split()[0], "machine": platform.processor() or platform.machine()}
        given.json.write_text(json.dumps({"machine": machine, "rounds": given.rounds, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
