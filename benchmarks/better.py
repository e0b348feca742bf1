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
from neglabel.pipeline.scores.reach import reach_along, text_axes
from neglabel.pipeline.scores.softmargin import standard_nearness

SCORES = {"softmargin": "softmargin", "mcm": "MCM", "neglabel": "NegLabel", "maxlogit": "MaxLogit", "energy": "Energy"}
#: Scores at the model's own temperature, 1/scale.
TEMPERED = ("softmargin", "neglabel", "energy")
AVERAGE = "*average*"
Floats = np.ndarray


def of_world(world: World) -> tuple[dict[str, dict[str, Floats]], dict[str, dict[str, Floats]]]:
    """Log-odds by score and set ("ID" is the ID set), and those of the parts."""
    groups = group_negatives(len(world.negatives), 100) if world.grouped else None
    asked = {name: world.temperature if name in TEMPERED else None for name in SCORES}
    z, axes = standard_nearness(world.labels, world.negatives), text_axes(world.labels, world.negatives)
    scores: dict[str, dict[str, Floats]] = {name: {} for name in SCORES}
    parts: dict[str, dict[str, Floats]] = {name: {} for name in PARTS}
    for name, x in {"ID": world.inside, **world.outside}.items():
        a, b = x @ world.labels.T, x @ world.negatives.T
        reach = reach_along(x, axes)
        block = Block(a, b, groups, x, world.labels, world.negatives, single=True)
        for score, (_, logit) in compute_all(asked, block).items():
            scores[score][name] = logit
        for part, options in PARTS.items():
            parts[part][name] = formula(a, b, z, reach, world.temperature, **options)
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
        for j, (_, ood) in enumerate(pairs):
            row = compared(drawn[:, :, j]) | {"world": world.name, "ood": ood, "grouped": world.grouped}
            row["parts"] = {n: [100 * auroc(p["ID"], p[ood]), 100 * fpr95(p["ID"], p[ood])] for n, p in parts.items()}
            yield row
        if len(pairs) > 1:
            yield compared(drawn.mean(axis=2)) | {"world": world.name, "ood": AVERAGE, "grouped": world.grouped}


def compared(drawn: Floats) -> dict[str, Any]:
    """(draws + 1, scores, 2) → the figures, and softmargin's differences to each score and to the better of the two."""
    place = {name: i for i, name in enumerate(SCORES)}
    row: dict[str, Any] = {"figures": {name: drawn[0, i].tolist() for name, i in place.items()}}
    for k, figure in enumerate(("auroc", "fpr95")):
        gaps = {name: difference(drawn[:, 0, k], drawn[:, i, k]) for name, i in place.items() if i}
        row[figure] = {name: [gap.value, gap.low, gap.high] for name, gap in gaps.items()}
        sign = -1 if figure == "auroc" else 1
        row[figure]["best"] = row[figure][min(("mcm", "neglabel"), key=lambda n: sign * drawn[0, place[n], k])]
    return row


def worse(row: dict[str, Any], figure: str) -> bool:
    """By an interval that doesn't hold zero."""
    _, low, high = row[figure]["best"]
    return bool(high < 0) if figure == "auroc" else bool(low > 0)


def show(found: list[dict[str, Any]]) -> None:
    def pair(values: Any) -> str:
        return f"{values[0]:.1f} / {values[1]:.1f}"

    def gap(row: dict[str, Any], other: str) -> str:
        return ", ".join("{:+.1f} ({:+.1f}, {:+.1f})".format(*row[figure][other]) for figure in ("auroc", "fpr95"))

    others = [name for name in SCORES if name != "softmargin"]
    print("| world | OOD | " + " | ".join(SCORES.values()) + " | worse than the better |")
    print("| --- | --- |" + " ---: |" * len(SCORES) + " --- |")
    for row in found:
        cells = [pair(row["figures"][name]) for name in SCORES]
        cells.append(" and ".join(figure.upper() for figure in ("auroc", "fpr95") if worse(row, figure)))
        print(f"| {row['world']} | {row['ood']} | " + " | ".join(cells) + " |")
    print("\n| world | OOD | " + " | ".join(f"to {SCORES[name]}" for name in others) + " |")
    print("| --- | --- |" + " --- |" * len(others))
    for row in found:
        print(f"| {row['world']} | {row['ood']} | " + " | ".join(gap(row, name) for name in others) + " |")
    found = [row for row in found if row["ood"] != AVERAGE]
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
