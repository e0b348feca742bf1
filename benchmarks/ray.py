"""`encode` of this machine alone against `encode --engine ray` with two workers, both on two cores: the overhead.

Whole commands by turns: processes, torch, the model and Ray are started each time. Give so many nouns that the local
engine takes three minutes or more, or the start of Ray is what is measured.

    python benchmarks/ray.py --nouns 80000 --repeats 3
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
# A script's own folder is looked in first, and this file would be taken for Ray.
sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != HERE]

ENGINES = {"local": ["--engine", "local"], "ray": ["--engine", "ray", "--workers", "2"]}


def nouns(count: int, path: Path) -> None:
    """The first nouns of the packaged WordNet."""
    from neglabel.corpora import open_corpus

    words = []
    for word in open_corpus("wordnet:pos=n"):
        words.append(getattr(word, "text", ""))
        if len(words) == count:
            break
    path.write_text("\n".join(words) + "\n", encoding="utf-8")


def run(engine: str, words: Path, out: Path, options: list[str]) -> dict[str, float]:
    command = [sys.executable, "-c", "from neglabel.cli import main; main()", "encode", str(words), "--out", str(out),
               "--device", "cpu", "--json", "--quiet", *options, *ENGINES[engine]]  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    start = time.perf_counter()
    found = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=out.parent)
    wall = time.perf_counter() - start
    if found.returncode:
        sys.exit(found.stderr)
    summary = json.loads(found.stdout)
    return {"wall": wall, "encoded": summary["encoded"], "stage": summary["seconds"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nouns", type=int, default=80_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shard-rows", type=int, default=2_048)
    parser.add_argument("--model", default="ViT-B-16", help="as in encode; random weights will do (a folder)")
    parser.add_argument("--pretrained", default=None)
    given = parser.parse_args()
    options = ["--model", given.model, "--shard-rows", str(given.shard_rows)]
    options += ["--pretrained", given.pretrained] if given.pretrained else []
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder) / "words.txt"
        nouns(given.nouns, words)
        walls: dict[str, list[float]] = {engine: [] for engine in ENGINES}
        for repeat in range(given.repeats):
            # By turns, and who begins changes too.
            for engine in list(ENGINES)[:: 1 if repeat % 2 == 0 else -1]:
                found = run(engine, words, Path(folder) / f"{engine}-{repeat}", options)
                walls[engine].append(found["wall"])
                print(json.dumps({"repeat": repeat, "engine": engine, **found}), flush=True)
        ratios = [far / here for here, far in zip(walls["local"], walls["ray"], strict=True)]
        print(f"local {median(walls['local']):.1f} s, ray {median(walls['ray']):.1f} s (medians of {given.repeats}); "
              f"ratio within a repeat {median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})")  # fmt: skip
        if median(walls["local"]) < 180:
            print("the local engine took less than three minutes: give more --nouns")


if __name__ == "__main__":
    main()
