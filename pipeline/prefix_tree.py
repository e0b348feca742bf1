"""Token sequences → prefix trees: every distinct prefix of a chunk is one node. Pure planning on arrays.

In a causal tower two prompts that begin alike have identical hidden states for the part they share, so that part is
computed once. The idea is published as RadixMLP (arXiv 2601.15013); here attention is shared as well: nodes lie in
depth-first order in blocks, and a block's queries see the block itself and the path above its first node.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Changes whenever the same prompts would be cut into other batches: then a store can't be continued byte for byte.
PLANNER_VERSION = 1
#: Nodes a block of attention.
BLOCK = 32
#: The path above a block is padded to a multiple of this (kernels like aligned masks).
ALIGN = 16
Ints = NDArray[np.int64]


class Sequences(NamedTuple):
    """``m`` distinct token sequences in lexicographic order, and where they came from."""

    #: (m, W) token ids, int32; a row counts up to its length.
    ids: NDArray[np.int32]
    #: (m,) tokens of each.
    lengths: Ints
    #: (m,) tokens it shares with the row before; 0 for the first.
    shared: Ints
    #: (n,) rows of the input, those of a sequence side by side.
    order: Ints
    #: (m + 1,) where a sequence's rows begin in ``order``.
    starts: Ints


class Tree(NamedTuple):
    """A chunk as a prefix tree of ``t`` nodes in depth-first order, padded to a multiple of the block."""

    #: (t,) token ids, and how many tokens stand before each.
    token: Ints
    depth: Ints
    #: (t,) the last node under each; -1 where a node may not be seen, not even by itself.
    last: Ints
    #: (t / block, P + block) nodes that a block's queries may see, -1 where there is none.
    keys: Ints
    #: (m,) the node a sequence ends at.
    ends: Ints
    #: (d,) first node of each distinct (token, depth), and (t,) which of them every node is.
    distinct: Ints
    alike: Ints
    #: nodes that are no padding.
    nodes: int


def distinct(ids: NDArray[Any], lengths: Ints) -> Sequences:
    """(n, W) ids of which the first ``lengths`` (n,) count → the distinct sequences, sorted; a prefix comes first."""
    width = int(lengths.max(initial=1))
    # In 32 bits: of a shard of long titles each copy of these would have 40 MB more.
    ids = ids[:, :width].astype(np.int32, copy=False)
    # Big-endian bytes sort as their tokens do; ids are moved up by one so that "nothing more" sorts first.
    wide = ">u2" if int(ids.max(initial=0)) < 0xFFFF else ">u4"
    moved = np.where(np.arange(width) < lengths[:, None], ids + 1, 0)
    text = np.ascontiguousarray(moved.astype(wide)).view(f"S{width * int(wide[2])}").ravel()
    order = np.argsort(text, kind="stable")
    moved = moved[order]
    same = np.zeros(len(order), np.int64)
    unequal = moved[1:] != moved[:-1]
    new = np.ones(len(order), bool)
    new[1:] = unequal.any(axis=1)
    same[1:] = np.where(new[1:], unequal.argmax(axis=1), 0)
    starts = np.append(np.flatnonzero(new), len(order))
    rows = starts[:-1]
    return Sequences(moved[rows] - 1, lengths[order[rows]], same[rows], order, starts)


def cut(sequences: Sequences, budget: int) -> Ints:
    """Bounds (c + 1,) of chunks of about equal size and at most ``budget`` nodes, or three sequences' worth."""
    cost = np.cumsum(sequences.lengths - sequences.shared)
    if not len(cost):
        return np.zeros(1, np.int64)
    # A chunk repeats the path to its first row, and ends with a whole one: the longest twice.
    longest = int(sequences.lengths.max())
    chunks = -(-int(cost[-1]) // max(budget - 2 * longest, 1))
    inner = np.searchsorted(cost, cost[-1] * np.arange(1, chunks) / chunks)
    return np.unique(np.concatenate([[0], inner, [len(cost)]])).astype(np.int64)


def tree(
    sequences: Sequences, start: int, stop: int, block: int = BLOCK,
    unseen: int | None = None, unseen_by_parent: bool = False,
) -> Tree:  # fmt: skip
    """The prefix tree of sequences ``start`` to ``stop``.

    Args:
        unseen: a token that no query may attend to.
        unseen_by_parent: hide what stands behind that token instead of the token.
    """
    lengths = sequences.lengths[start:stop]
    ids = sequences.ids[start:stop, : int(lengths.max())]
    shared = sequences.shared[start:stop].copy()
    shared[0] = 0
    rows, width = ids.shape
    depths = np.arange(width)
    own = (depths >= shared[:, None]) & (depths < lengths[:, None])
    row, depth = np.nonzero(own)
    ends = np.cumsum(lengths - shared) - 1
    first = ends - (lengths - shared) + 1  # each row's first own node
    nodes = len(row)
    total = -(-nodes // block) * block
    # path[r, d]: the node of row r at depth d is the latest one made there.
    path = np.full((rows, width), -1, np.int64)
    path[own] = np.arange(nodes)
    path = np.maximum.accumulate(path, axis=0)
    # A node's descendants end where a later row branches off at its depth or above.
    branch = np.full((rows + 1, width), nodes, np.int64)
    branch[:-1][depths >= shared[:, None]] = np.broadcast_to(first[:, None], ids.shape)[depths >= shared[:, None]]
    branch = np.minimum.accumulate(branch[::-1], axis=0)[::-1]
    last = np.arange(total)
    last[:nodes] = branch[row + 1, depth] - 1
    if unseen is not None:
        behind = np.concatenate([np.full((rows, 1), unseen - 1), ids[:, :-1]], axis=1) if unseen_by_parent else ids
        last[:nodes][behind[row, depth] == unseen] = -1
    token, padded_depth = np.zeros(total, np.int64), np.zeros(total, np.int64)
    token[:nodes], padded_depth[:nodes] = ids[row, depth], depth
    _, firsts, alike = np.unique(token * (width + 1) + padded_depth, return_index=True, return_inverse=True)
    heads = np.arange(0, total, block)
    above = padded_depth[heads]
    room = -(-int(above.max()) // ALIGN) * ALIGN
    upward = np.full((len(heads), room), -1, np.int64)
    reach = min(room, width)
    upward[:, :reach] = np.where(depths[:reach] < above[:, None], path[row[heads], :reach], -1)
    keys = np.concatenate([upward, heads[:, None] + np.arange(block)], axis=1)
    return Tree(token, padded_depth, last, keys, ends, firsts, alike.reshape(-1), nodes)
