"""On a CUDA device: mining by counting beside FAISS's index, and scores, as on the CPU. Skipped elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neglabel.indexes.cosines import as_float32
from neglabel.indexes.counting import DeviceProducts
from neglabel.indexes.percentile import PercentileIndex
from neglabel.pipeline.mine import select
from neglabel.pipeline.search import Search
from neglabel.pipeline.search_device import on_gpu
from neglabel.pipeline.store import unit

from .on_gpu import device as device
from .on_gpu import needs_gpu
from .test_score_device import check_equal, check_largest

pytestmark = needs_gpu


@pytest.mark.parametrize("k", [1, 21, 1_000, 5_000])
@pytest.mark.parametrize("eta", [0, 0.05, 0.5, 1])
def test_counting_keeps_what_faiss_and_the_cpu_do(device: str, k: int, eta: float) -> None:
    rng = np.random.default_rng(k)
    c, e = rng.normal(size=(6_000, 64)).astype(np.float16), rng.normal(size=(k, 64)).astype(np.float32)
    c[4_000:4_100] = c[:100]
    ways: list[Any] = [None, DeviceProducts(unit(e, np.float64), eta, [device])]
    faiss = PercentileIndex(unit(e), eta, device)  # type: ignore[arg-type]
    found = []
    for index in (*ways, faiss):
        search = Search(e, eta, [300, 400], index)
        for start in range(0, 6_000, 2_000):
            some = c[start : start + 2_000]
            group = (np.arange(len(some)) % 2).astype(np.uint8)
            search.offer(some, *as_float32(some), np.arange(start, start + len(some)), group)
        rows = [{name: values.tolist() for name, values in best.result().items()} for best in search.best]
        found.append((rows, search.near.result()["position"].tolist(), search.histogram.tolist()))
    assert found[0] == found[1]
    # FAISS's histogram is of its float32 distances.
    assert found[0][:2] == found[2][:2]


def test_a_guess_is_as_safe_on_a_device(device: str) -> None:
    rng = np.random.default_rng(1)
    c, e = rng.normal(size=(40_000, 128)).astype(np.float16), rng.normal(size=(3_000, 128)).astype(np.float32)
    if device == "cuda":
        assert isinstance(on_gpu(unit(e), 0.9, "auto"), DeviceProducts)
    for eta in (0.05, 0.9):  # 2,701 neighbours are more than FAISS answers on a GPU
        np.testing.assert_array_equal(select(c, e, eta, 2_000, "auto"), select(c, e, eta, 2_000, "cpu"))


@pytest.mark.parametrize(("m", "n_groups", "drop"), [(10_000, 100, "last"), (703, 7, "random"), (61, None, "last")])
def test_scores(device: str, m: int, n_groups: int | None, drop: str) -> None:
    check_equal(m, n_groups, drop, device)


def test_the_largest(device: str) -> None:
    check_largest(device)
