"""The candidate distance on a GPU (``indexes/percentile.py``) against the same product in PyTorch; for ``gpu.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gpu_rounds import by_turns, show

from neglabel.indexes.percentile import PercentileIndex
from neglabel.pipeline.mine import select
from neglabel.pipeline.mine_blocks import Rows, search_rows
from neglabel.pipeline.search import Search
from neglabel.pipeline.search_device import on_gpu

ETA, DIMENSION = 0.05, 512


def search_part(quick: bool, repeats: int) -> list[dict[str, Any]]:
    """Candidates × K labels × 512, float32, η = 0.05, in blocks; every round runs every row once.

    `product`: the bare matrix product in PyTorch, all on the device. `copied`: candidates copied to the device block by
    block before it, as ours are. `topk`: with PyTorch's selection and the distances back on the CPU. `faiss`: its
    index, host arrays in, distances out. `select`: the 10,000 best by counting, from host arrays (`neglabel.select`,
    whatever the block). `mine`: with the histogram of all distances and the nearest as well, as the stage does.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    count = 2_000 if quick else 1_000_000
    labels, blocks = ((50,), (512,)) if quick else ((1_000, 10_000), (8_192, 65_536))
    rng = np.random.default_rng(0)
    candidates = _unit(rng.standard_normal((count, DIMENSION), np.float32))
    there = torch.from_numpy(candidates).to(device)
    found = []
    for many in labels:
        names = _unit(rng.standard_normal((many, DIMENSION), np.float32))
        index = PercentileIndex(names, ETA, "auto")
        right = torch.from_numpy(names).to(device).T
        for block in blocks:
            rows = _rows(candidates, names, there, right, index, block, device)
            seconds, ratios = by_turns(rows, repeats, device)
            same = set(mined(candidates, names, block, 100).best[0].result()["position"].tolist())
            same ^= set(select(candidates, names, ETA, 100).tolist())
            where = "GPU" if index.on_gpu else "CPU"
            print(f"search on the {where}: {count:,} × {many:,} × {DIMENSION}, k {index.k}, blocks of {block:,}")
            show(seconds, ratios)
            print(f"    `mine` and `select` keep the same: {not same}")
            found.append({"candidates": count, "labels": many, "k": index.k, "block": block, "on_gpu": index.on_gpu,
                          "seconds": seconds, "ratios": ratios})  # fmt: skip
    return found


def _rows(
    candidates: Any, labels: Any, there: Any, right: Any, index: PercentileIndex, block: int, device: str
) -> dict[str, Callable[[], Any]]:
    top = min(10_000, len(candidates) // 10)
    parts = [slice(i, min(i + block, len(candidates))) for i in range(0, len(candidates), block)]
    out = torch.empty(min(block, len(candidates)), right.shape[1], device=device)

    def product(left: Any) -> Any:
        return torch.mm(left, right, out=out[: len(left)])

    def copied(part: slice) -> Any:
        return product(torch.from_numpy(candidates[part]).to(device))

    return {
        "product": lambda: [product(there[part]) for part in parts][-1],
        "copied": lambda: [copied(part) for part in parts][-1],
        "topk": lambda: [copied(part).topk(index.k, dim=1).values[:, -1].cpu() for part in parts],
        "faiss": lambda: [index.distances(candidates[part]) for part in parts],
        "select": lambda: select(candidates, labels, ETA, top),
        "mine": lambda: mined(candidates, labels, block, top),
    }


def mined(candidates: Any, labels: Any, block: int, top: int) -> Search:
    """What the stage does with rows that are read, block by block."""
    search = Search(labels, ETA, [top], on_gpu(labels, ETA, "auto"))
    rows = (
        Rows(0, False, np.arange(i, i + n), np.zeros(n, np.uint8), candidates[i : i + n], [np.ones(n, bool)])
        for i in range(0, len(candidates), block) for n in [min(block, len(candidates) - i)]
    )  # fmt: skip
    for _ in search_rows(rows, [search]):
        pass
    return search


def _unit(rows: Any) -> Any:
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows
