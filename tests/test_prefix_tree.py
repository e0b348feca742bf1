"""Planning: distinct prefixes once, sorted, in chunks, and who sees whom."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neglabel.pipeline.prefix_tree import BLOCK, cut, distinct, tree

ROWS = st.lists(st.lists(st.sampled_from([0, 1, 2, 255, 256, 70_000]), min_size=1, max_size=9), min_size=1, max_size=60)


def padded(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    width = max(map(len, rows)) + 2
    # What stands behind a sequence's end must not matter: rubbish there.
    ids = np.full((len(rows), width), 7, np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
    return ids, np.array([len(row) for row in rows])


@given(ROWS)
def test_distinct_sequences_sorted_each_with_the_rows_it_came_from(rows: list[list[int]]) -> None:
    s = distinct(*padded(rows))
    found = [s.ids[i, : s.lengths[i]].tolist() for i in range(len(s.lengths))]
    assert found == sorted({tuple(r): r for r in rows}.values())
    assert sorted(s.order.tolist()) == list(range(len(rows)))
    for i, sequence in enumerate(found):
        assert all(rows[j] == sequence for j in s.order[s.starts[i] : s.starts[i + 1]])
    for i in range(1, len(found)):
        common = 0
        while found[i - 1][common : common + 1] == found[i][common : common + 1] != []:
            common += 1
        assert s.shared[i] == common


@given(ROWS, st.integers(1, 60))
def test_chunks_cover_everything_once_within_the_budget(rows: list[list[int]], budget: int) -> None:
    s = distinct(*padded(rows))
    bounds = cut(s, budget)
    assert bounds[0] == 0
    assert bounds[-1] == len(s.lengths)
    assert (np.diff(bounds) > 0).all()
    for start, stop in pairwise(bounds):
        assert tree(s, start, stop).nodes <= max(budget, 3 * s.lengths.max())


@given(ROWS, st.sampled_from([2, 4, BLOCK]), st.sampled_from([(None, False), (0, False), (0, True)]), st.randoms())
def test_a_node_sees_exactly_its_own_prefix(
    rows: list[list[int]], block: int, hidden: tuple[int | None, bool], dice: object
) -> None:
    s = distinct(*padded(rows))
    unseen, by_parent = hidden
    start = dice.randrange(len(s.lengths))  # type: ignore[attr-defined]
    t = tree(s, start, len(s.lengths), block, unseen, by_parent)
    assert len(t.token) % block == 0
    prefixes = {tuple(s.ids[i, : d + 1]) for i in range(start, len(s.lengths)) for d in range(s.lengths[i])}
    assert t.nodes == len(prefixes)
    visible = {}
    for q in range(t.nodes):
        keys = t.keys[q // block]
        visible[q] = [k for k in keys.tolist() if 0 <= k <= q and t.last[k] >= q]
        assert len(set(visible[q])) == len(visible[q])
    for i, end in enumerate(t.ends):
        sequence = s.ids[start + i, : s.lengths[start + i]].tolist()
        shown = [
            d for d in range(len(sequence))
            if unseen is None or (sequence[d - 1] if by_parent and d else None if by_parent else sequence[d]) != unseen
        ]  # fmt: skip
        assert [(int(t.token[k]), int(t.depth[k])) for k in visible[end]] == [(sequence[d], d) for d in shown]
    pairs = np.stack([t.token, t.depth])
    assert (pairs[:, t.distinct][:, t.alike] == pairs).all()
    assert len(t.distinct) == len({tuple(p) for p in pairs.T.tolist()})


def test_nothing_is_no_chunk() -> None:
    s = distinct(np.empty((0, 5), np.int64), np.empty(0, np.int64))
    assert cut(s, 10).tolist() == [0]


@pytest.mark.parametrize("budget", [500, 5_000])
def test_chunks_are_even(budget: int) -> None:
    ids = np.random.default_rng(0).integers(0, 50, (4_000, 6))
    s = distinct(ids, np.full(4_000, 6))
    bounds = cut(s, budget)
    sizes = [tree(s, a, b).nodes for a, b in pairwise(bounds)]
    assert max(sizes) <= min(sizes) + 18
