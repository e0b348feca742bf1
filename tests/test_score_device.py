"""Scores on a device: here torch's CPU; ``test_gpu_search.py`` has the card."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from neglabel.indexes.flat import NegativeIndex
from neglabel.indexes.flat_device import DeviceNegatives
from neglabel.pipeline.images import Item
from neglabel.pipeline.score_plan import DataSet
from neglabel.pipeline.score_rows import Scorer
from neglabel.pipeline.scores import SCORES, group_negatives

from .make_world import unit


def rows(m: int, n_groups: int | None, drop: str, device: str) -> tuple[Any, Any, Any, Any]:
    """Every score of 90 pictures by NumPy, and on ``device``: tables and shares."""
    rng = np.random.default_rng(m)
    labels, words, images = unit(rng, 40), unit(rng, m), unit(rng, 90)
    groups = None if n_groups is None else group_negatives(m, n_groups, drop=drop)  # type: ignore[arg-type]
    index = NegativeIndex(words, groups, labels)
    found = []
    for one in (index, DeviceNegatives(index, device)):
        scorer = Scorer([f"class {k}" for k in range(40)], labels, one, [f"word {j}" for j in range(m)],
                        {n: s.temperature for n, s in SCORES.items() if s.start is s.fit is None}, 0.01)  # fmt: skip
        items = [Item(str(i), "", i % 40) for i in range(90)]
        found += scorer.rows(DataSet("some", "id", None), items, images)  # type: ignore[arg-type]
    return found[0], found[1], found[2], found[3]


def check_equal(m: int, n_groups: int | None, drop: str, device: str) -> None:
    here, share, there, other = rows(m, n_groups, drop, device)
    np.testing.assert_allclose(share, other, rtol=1e-4)
    assert here.schema == there.schema
    for name in here.column_names:
        ours, theirs = here[name].to_pylist(), there[name].to_pylist()
        if name in ("top_labels", "top_negatives") or here.schema.field(name).type == pa.string():
            assert ours == theirs, name
        else:
            np.testing.assert_allclose(theirs, ours, rtol=2e-4, atol=2e-4, err_msg=name)


@pytest.mark.parametrize(("m", "n_groups", "drop"), [(700, 10, "last"), (703, 7, "random"), (61, None, "last")])
def test_every_score_on_a_device_is_that_of_the_cpu(m: int, n_groups: int | None, drop: str) -> None:
    check_equal(m, n_groups, drop, "cpu")


def check_largest(device: str) -> None:
    rng = np.random.default_rng(0)
    for m, k, values in [(1, 5, 9), (30, 5, 9), (700, 5, 40), (5_000, 3, 10**6), (5_000, 5, 30)]:
        index = DeviceNegatives(NegativeIndex(np.eye(2, dtype=np.float32)), device)
        cosines = (rng.integers(0, values, size=(20, m)) / values).astype(np.float32)
        order = rng.permutation(m)
        there = torch.from_numpy(cosines).to(device)
        for ranks in (None, order):
            columns, found = index.largest(there, k, ranks)
            want = np.array([np.lexsort((np.arange(m) if ranks is None else ranks, -row))[:k] for row in cosines])
            np.testing.assert_array_equal(columns, want)
            np.testing.assert_array_equal(found, np.take_along_axis(cosines, want, axis=1))


def test_the_largest_on_a_device_go_by_order_where_they_tie() -> None:
    check_largest("cpu")
