"""Counting on a device: here torch's CPU, in tests of ``test_gpu.py`` the card."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from neglabel.indexes.cosines import LabelProducts, as_float32
from neglabel.indexes.counting import DeviceProducts
from neglabel.indexes.torch_products import product
from neglabel.pipeline import search_device
from neglabel.pipeline.mine import select
from neglabel.pipeline.search import Search
from neglabel.pipeline.store import unit


@pytest.mark.parametrize("eta", [0, 0.05, 0.5, 1])
@pytest.mark.parametrize("k", [1, 21, 300])
def test_a_search_that_counts_on_a_device_keeps_what_the_cpu_does(eta: float, k: int) -> None:
    rng = np.random.default_rng(k)
    c, e = rng.normal(size=(900, 32)).astype(np.float16), rng.normal(size=(k, 32)).astype(np.float16)
    c[500:600] = c[:100]
    results: list[Any] = []
    for index in (None, DeviceProducts(unit(e, np.float64), eta, ["cpu", "cpu"])):
        found = Search(e, eta, [40, 70], index)
        for start in range(0, 900, 300):
            some = c[start : start + 300]
            found.offer(some, *as_float32(some), np.arange(start, start + 300), (np.arange(300) % 2).astype(np.uint8))
        rows = [{name: values.tolist() for name, values in best.result().items()} for best in found.best]
        results.append((rows, found.near.result()["position"].tolist(), found.histogram.tolist()))
    assert results[0] == results[1]


def test_counts_and_cosines_are_those_of_the_cpu() -> None:
    rng = np.random.default_rng(1)
    rows, length = as_float32(rng.normal(size=(50, 24)).astype(np.float16))
    labels = unit(rng.normal(size=(30, 24)), np.float64)
    here = LabelProducts(labels, 0.1).block(rows, length)
    there = DeviceProducts(labels, 0.1, ["cpu"]).block(rows, length)
    some = np.array([3, 49, 7])
    np.testing.assert_allclose(there.cosines(some), here.cosines(some), atol=1e-6)
    np.testing.assert_array_equal(there.take(some).length, length[some])
    exact = rows.astype(np.float64) @ labels.T / length[:, None]
    bound = np.sort(exact, axis=1)[:, 10] + 1e-4 * rng.normal(size=50)
    clear = np.abs(exact - bound[:, None]).min(axis=1) > 1e-5
    np.testing.assert_array_equal(there.above(bound)[clear], (exact > bound[:, None]).sum(axis=1)[clear])
    assert clear.sum() > 30


def test_selection_through_on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    # Where there are GPUs `select` and `mine` count there, however many neighbours a percentile needs.
    monkeypatch.setattr(search_device, "gpu_count", lambda: 1)
    monkeypatch.setattr("neglabel.indexes.counting.cuda_devices", lambda: ["cpu"])
    rng = np.random.default_rng(2)
    c, e = rng.normal(size=(9_000, 16)), rng.normal(size=(40, 16)).astype(np.float32)
    for eta in (0.05, 0.5):
        assert isinstance(search_device.on_gpu(e, eta, "auto"), DeviceProducts)
        np.testing.assert_array_equal(select(c, e, eta, 100), select(c, e, eta, 100, "cpu"))
    # So many that neighbours are 1e-6 apart: whoever rounds the labels to float32 on the way orders some otherwise.
    c = rng.normal(size=(100_000, 16)).astype(np.float32)
    np.testing.assert_array_equal(select(c, e, 0.5, 20_000), select(c, e, 0.5, 20_000, "cpu"))
    assert search_device.on_gpu(e, 0.05, "cpu") is None


def test_tf32_is_off_in_a_product_and_as_it_was_after_it() -> None:
    matmul, seen = torch.backends.cuda.matmul, []

    class Spy:
        def __matmul__(self, other: object) -> object:
            seen.append(matmul.allow_tf32)
            return other

    before = matmul.allow_tf32
    try:
        matmul.allow_tf32 = True
        product(Spy(), None)
        assert matmul.allow_tf32
    finally:
        matmul.allow_tf32 = before
    assert seen == [False]
