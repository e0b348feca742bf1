"""Scoring on a GPU (``indexes/flat_device.py``) against the same product in PyTorch; for ``gpu.py``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from gpu_rounds import by_turns, show
from score_parts import D, unit_rows

from neglabel.indexes.flat import NegativeIndex
from neglabel.indexes.flat_device import DeviceNegatives
from neglabel.pipeline.item_columns import ItemColumns
from neglabel.pipeline.score_plan import DataSet
from neglabel.pipeline.score_rows import Scorer
from neglabel.pipeline.scores import group_negatives


def score_part(quick: bool, repeats: int) -> list[dict[str, Any]]:
    """Pictures × (1,000 + 10,000) × 512, NegLabel in 100 groups, five best; every round runs every row once.

    `product`: the bare matrix product in PyTorch, pictures there already. `copied`: copied to the device block by block
    before it, as ours are. `ours`: host arrays in, the table's columns out. `scores`: of these without the table: the
    product, sums and largest, rows back.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    count, labels, words = (3_000, 50, 400) if quick else (100_000, 1_000, 10_000)
    rng = np.random.default_rng(0)
    images, names, negatives = (unit_rows(rng, n) for n in (count, labels, words))
    here = NegativeIndex(negatives, group_negatives(words, 100), names)
    index = DeviceNegatives(here, device)
    given = ([f"class {k}" for k in range(labels)], names)
    rest: Any = ([f"word {j}" for j in range(words)], {"neglabel": 0.01}, 0.01)
    scorer, plain = Scorer(*given, index, *rest), Scorer(*given, here, *rest)
    items = ItemColumns(pa.table({"label": np.arange(count) % labels}), count, Path())
    data: Any = DataSet("pictures", "id", None)  # type: ignore[arg-type]
    step = index.rows_per_block()
    parts = [slice(i, min(i + step, count)) for i in range(0, count, step)]
    there = torch.from_numpy(images).to(device)
    right = torch.from_numpy(np.concatenate([names, negatives])).to(device).T
    out = torch.empty(min(step, count), labels + words, device=device)

    def product(left: Any) -> Any:
        return torch.mm(left, right, out=out[: len(left)])

    def scores(part: slice) -> None:
        from neglabel.pipeline.scores.device_block import DeviceBlock
        from neglabel.pipeline.scores.neglabel import id_share

        positive, negative = index.similarities(images[part])
        index.largest(positive, 5), index.largest(negative, 5, index.order)
        block = DeviceBlock(positive, negative, index.groups)
        block.group_share(0.01, id_share), block.negative_lse(0.01)

    ways: dict[str, Callable[[], Any]] = {
        "product": lambda: [product(there[part]) for part in parts][-1],
        "copied": lambda: [product(torch.from_numpy(images[part]).to(device)) for part in parts][-1],
        "scores": lambda: [scores(part) for part in parts],
        "ours": lambda: scorer.rows(data, items, images),
    }
    seconds, ratios = by_turns(ways, repeats, device)
    few = slice(0, min(count, 2_000))
    theirs, ours = (one.rows(data, items[few], images[few])[0] for one in (plain, scorer))
    off = float(np.abs(theirs["neglabel_logit"].to_numpy() - ours["neglabel_logit"].to_numpy()).max())
    print(f"score on {device}: {count:,} × ({labels:,} + {words:,}) × {D}, blocks of {step:,}")
    show(seconds, ratios)
    print(f"    logits differ from the CPU's by {off:.1e} at most")
    return [{"pictures": count, "labels": labels, "negatives": words, "block": step, "device": device,
             "seconds": seconds, "ratios": ratios, "off": off}]  # fmt: skip
