"""`mine --both-ends` (CLIPScope's selection) and `--near-labels-last` (CSP's), against float64 NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neglabel import UsageError
from neglabel.pipeline.search import Search
from neglabel.pipeline.search_ends import both_ends

from .test_mine import offer, reference, run, unit64, write


@given(seed=st.integers(0, 2**32 - 1), chunk=st.integers(1, 400), top=st.integers(1, 300))
@settings(max_examples=15)
def test_both_ends_under_ties_do_not_overlap_nor_depend_on_chunks(seed: int, chunk: int, top: int) -> None:
    rng = np.random.default_rng(seed)
    c = rng.integers(-1, 2, size=(300, 4)).astype(np.float32)  # few values: many exact ties
    c[~c.any(axis=1)] = 1
    e = rng.normal(size=(9, 4)).astype(np.float32)
    search = Search(e, 0.1, [top - top // 2], lowest=[top // 2])
    for start in range(0, 300, chunk):
        offer(search, c[start : start + chunk], start)
    (found,) = both_ends([best.result() for best in search.best], search.low)
    distance = np.round(reference(c, e, 0.1), 11)
    order = sorted(range(300), key=lambda i: (-distance[i], i))
    assert found["position"].tolist() == order[: top - top // 2] + order[300 - top // 2 :]
    np.testing.assert_allclose(found["distance"], distance[found["position"]], atol=1e-9)
    np.testing.assert_array_equal(found["embedding"], c[found["position"]])


@pytest.fixture
def world(tmp_path: Path) -> dict[str, Any]:
    """2,000 candidates of two kinds and 12 labels; some of the candidates are labels by another name."""
    rng = np.random.default_rng(1)
    labels = rng.normal(size=(12, 16))
    rows = rng.normal(size=(2_000, 16))
    rows[50:62] = labels + 0.05 * rng.normal(size=labels.shape)
    write(tmp_path / "labels.parquet", [f"label {k}" for k in range(12)], labels)
    kinds = ["noun" if i % 3 else "adjective" for i in range(2_000)]
    write(tmp_path / "words.parquet", [f"word {i}" for i in range(2_000)], rows, pos=kinds)
    files = {name: tmp_path / f"{name}.parquet" for name in ("labels", "out")}
    return {"candidates": tmp_path / "words.parquet", **files}


def stored(world: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    tables = [pq.read_table(path) for path in (world["candidates"], world["labels"])]
    return tuple(np.array(table["embedding"].to_pylist()) for table in tables)  # type: ignore[return-value]


@pytest.mark.parametrize("per_pos", [False, True])
def test_the_farthest_and_the_nearest_half(world: dict[str, Any], per_pos: bool) -> None:
    summary, table = run(world, top=301, both_ends=True, per_pos=per_pos)
    distance = reference(*stored(world), 0.05)
    kinds = [np.arange(2_000)]
    if per_pos:
        kinds = [np.flatnonzero(np.arange(2_000) % 3 != 0), np.flatnonzero(np.arange(2_000) % 3 == 0)]
    want: list[int] = []
    for members in kinds:
        order = members[np.argsort(-distance[members], kind="stable")]
        want += [*order[:151], *order[len(order) - 150 :]]
    assert table["text"].to_pylist() == [f"word {i}" for i in want]
    np.testing.assert_allclose(table["distance"], distance[want], atol=1e-6)
    assert summary["counts"]["kept"] == len(want)
    whole, _ = run(world, top=5_000, both_ends=True)
    assert whole["counts"]["kept"] == 2_000


def test_candidates_near_a_label_come_last(world: dict[str, Any], tmp_path: Path) -> None:
    """``sim[max > 0.95] = 1`` of the authors' code, then in order of similarity."""
    candidates, labels = stored(world)
    largest = (unit64(candidates) @ unit64(labels).T).max(axis=1)
    near = largest > 0.95
    assert near.sum() >= 10
    distance = np.where(near, -1, reference(candidates, labels, 0.05))
    want = np.argsort(-distance, kind="stable")
    for work in (None, tmp_path / "work"):
        for _ in range(2):  # the second time from the folder of work
            _, table = run(world, top=2_000, near_labels_last=0.95, work=work)
            assert table["text"].to_pylist() == [f"word {i}" for i in want]
            assert set(table["distance"].to_pylist()[-int(near.sum()) :]) == {-1.0}
    _, plain = run(world, top=2_000, work=tmp_path / "work")
    assert plain["text"].to_pylist() == [f"word {i}" for i in np.argsort(-reference(candidates, labels, 0.05))]


def test_ends_that_make_no_sense_are_refused(world: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--both-ends keeps the nearest, which --near-labels-last puts last"):
        run(world, both_ends=True, near_labels_last=0.9)
    with pytest.raises(UsageError, match="--both-ends keeps no work and runs here"):
        run(world, both_ends=True, work=tmp_path / "work")
    drawn: tuple[dict[str, Any], pa.Table] = run(world, both_ends=True, random=1, top=20)
    assert drawn[1].num_rows == 20
