"""Is `softmargin` ever worse than the better of MCM and NegLabel? docs/better.md explains the worlds.

    python benchmarks/better.py [--emoji FOLDER] [--draws 1000] [--json FILE]

Real features come from ../shared/data/clip_vitb32 (left out, with a word, where absent); --emoji is a folder of
`neglabel quickstart`, made there if need be, and left out where not given. AUROC and FPR95 (ID positive) in percent.
Differences are to the better of MCM and NegLabel by that figure, with paired 95 % intervals of pictures drawn again.
NegLabel is without groups on the real features, as the data's figures are, and in 100 groups in the embedded world.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from better_parts import PARTS, formula
from better_worlds import FEATURES, World, embedded, real, softmargin_column

from neglabel.pipeline.bootstrap import difference, draws
from neglabel.pipeline.metrics import auroc, fpr95
from neglabel.pipeline.scores import Block, compute_all, group_negatives
from neglabel.pipeline.scores.softmargin import standard_nearness

SCORES = {"softmargin": "softmargin", "mcm": "MCM", "neglabel": "NegLabel", "maxlogit": "MaxLogit", "energy": "Energy"}
#: Scores at the model's own temperature, 1/scale.
TEMPERED = ("softmargin", "neglabel", "energy")
Floats = np.ndarray


def of_world(world: World) -> tuple[dict[str, dict[str, Floats]], dict[str, dict[str, Floats]]]:
    """Log-odds by score and set ("ID" is the ID set), and those of the parts."""
    groups = group_negatives(len(world.negatives), 100) if world.grouped else None
    asked = {name: world.temperature if name in TEMPERED else None for name in SCORES}
    z = standard_nearness(world.labels, world.negatives)
    scores: dict[str, dict[str, Floats]] = {name: {} for name in SCORES}
    parts: dict[str, dict[str, Floats]] = {name: {} for name in PARTS}
    for name, x in {"ID": world.inside, **world.outside}.items():
        a, b = x @ world.labels.T, x @ world.negatives.T
        block = Block(a, b, groups, x, world.labels, world.negatives, single=True)
        for score, (_, logit) in compute_all(asked, block).items():
            scores[score][name] = logit
        for part, options in PARTS.items():
            parts[part][name] = formula(a, b, z, world.temperature, **options)
        gap = np.abs(parts["as shipped"][name] - scores["softmargin"][name]).max()
        assert gap < 1e-5, f"the package and the formula differ by {gap}"
    return scores, parts


def rows(worlds: Iterator[World], count: int, check: Callable[[World, str, Floats], None]) -> Iterator[dict[str, Any]]:
    for world in worlds:
        scores, parts = of_world(world)
        pairs = [("ID", name) for name in world.outside]
        for name in world.outside:
            check(world, name, scores["softmargin"][name])
        drawn = draws(list(scores.values()), pairs, "id-positive", count, seed=0)
        place = {name: i for i, name in enumerate(scores)}
        for j, (_, ood) in enumerate(pairs):
            row: dict[str, Any] = {"world": world.name, "ood": ood, "grouped": world.grouped}
            row["figures"] = {name: drawn[0, i, j].tolist() for name, i in place.items()}
            for k, (figure, better) in enumerate((("auroc", max), ("fpr95", min))):
                best = better(("mcm", "neglabel"), key=lambda name: drawn[0, place[name], j, k])
                row[figure] = {}
                for other in (best, "maxlogit", "energy"):
                    d = difference(drawn[:, place["softmargin"], j, k], drawn[:, place[other], j, k])
                    row[figure]["best" if other == best else other] = [d.value, d.low, d.high]
            row["parts"] = {n: [100 * auroc(p["ID"], p[ood]), 100 * fpr95(p["ID"], p[ood])] for n, p in parts.items()}
            yield row


def worse(row: dict[str, Any], figure: str) -> bool:
    """By an interval that doesn't hold zero."""
    _, low, high = row[figure]["best"]
    return bool(high < 0) if figure == "auroc" else bool(low > 0)


def show(found: list[dict[str, Any]]) -> None:
    def pair(values: Any) -> str:
        return f"{values[0]:.1f} / {values[1]:.1f}"

    print("| world | OOD | " + " | ".join(SCORES.values()) + " | AUROC to the better | FPR95 to the better |")
    print("| --- | --- |" + " ---: |" * (len(SCORES) + 2))
    for row in found:
        cells = [pair(row["figures"][name]) for name in SCORES]
        for figure in ("auroc", "fpr95"):
            value, low, high = row[figure]["best"]
            cells.append(f"{value:+.1f} ({low:+.1f}, {high:+.1f}){' **worse**' if worse(row, figure) else ''}")
        print(f"| {row['world']} | {row['ood']} | " + " | ".join(cells) + " |")
    kinds = {
        "full": [r for r in found if r["world"] == "full"],
        "all of the real features": [r for r in found if not r["grouped"]],
        "embedded": [r for r in found if r["grouped"]],
    }
    print("\n| average | sets | " + " | ".join(SCORES.values()) + " | worse in AUROC | in FPR95 |")
    print("| --- | ---: |" + " ---: |" * (len(SCORES) + 2))
    for kind, some in kinds.items():
        if some:
            cells = [pair(np.mean([r["figures"][name] for r in some], axis=0)) for name in SCORES]
            cells += [str(sum(worse(r, figure) for r in some)) for figure in ("auroc", "fpr95")]
            print(f"| {kind} | {len(some)} | " + " | ".join(cells) + " |")
    columns = {kind: some for kind, some in kinds.items() if some}
    columns |= {k: [r for r in found if r["world"].startswith(k)] for k in ("covered",) if kinds["full"]}
    print("\n| part | " + " | ".join(columns) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for part in PARTS:
        cells = [pair(np.mean([r["parts"][part] for r in some], axis=0)) for some in columns.values()]
        print(f"| {part} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emoji", type=Path)
    parser.add_argument("--draws", type=int, default=1_000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    worlds: list[Iterator[World]] = [real()] if FEATURES.is_dir() else []
    if not worlds:
        print("../shared/data/clip_vitb32 is absent: no real features")
    if given.emoji:
        worlds.append(embedded(given.emoji))

    def check(world: World, ood: str, ours: Floats) -> None:
        if world.grouped and len(world.negatives) > 1_000:
            gap = np.abs(softmargin_column(given.emoji, world, ood) - ours).max()
            assert gap < 1e-5, f"`neglabel score` and the package differ by {gap}"

    found = list(rows(chain.from_iterable(worlds), given.draws, check))
    if found:
        show(found)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
