"""Digests of normalised words, a row group at a time: which rows are the same word, without a Python call a row.

16 bytes a word: two 64-bit hashes by MurmurHash3's finaliser over 8-byte pieces. Of 20 million different words two
share both with probability below 1e-24. They are the same in every process, so they can be kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from neglabel.corpora.text import normalise

Digests = NDArray[np.uint64]
_SEEDS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)
_PIECES = np.array([(1 << 8 * n) - 1 for n in range(8)] + [2**64 - 1], np.uint64)
_FIRST, _SECOND, _HALF = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53), np.uint64(33)


class Words(NamedTuple):
    """Of each row of a file: (n, 2) :func:`word_digests` of its text, (n,) :func:`pos_digests`."""

    text: Digests
    pos: NDArray[np.uint64]


def word_digests(texts: pa.Array | Sequence[str]) -> Digests:
    """(n,) strings → (n, 2) uint64, equal where :func:`normalise` makes the words equal."""
    array = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string())
    return _hashes(_normalised(array.cast(pa.string()).fill_null("")))


def pos_digests(pos: pa.ChunkedArray | Sequence[str]) -> NDArray[np.uint64]:
    """(n,) strings as they are → (n,) uint64; few of them differ."""
    chunked = pos if isinstance(pos, pa.ChunkedArray) else pa.chunked_array([pa.array(pos, pa.string())])
    coded = chunked.combine_chunks().dictionary_encode()
    return np.asarray(_hashes(coded.dictionary)[:, 0][coded.indices.to_numpy(zero_copy_only=False)])


def with_pos(digests: Digests, pos: NDArray[np.uint64]) -> Digests:
    """What makes a word distinct under ``text+pos``: (n, 2) digests and (n,) of :func:`pos_digests` → (n, 2)."""
    return np.asarray(_mixed(digests ^ _mixed(pos[:, None] + _SEEDS)))


def repeats(digests: Digests) -> NDArray[np.bool_]:
    """(n, 2) in order → (n,) True for rows whose digest an earlier row has. 8 bytes a row beside the digests."""
    first = digests[:, 0]
    ordered = np.sort(first)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    found = np.zeros(len(first), bool)
    if not len(twice):
        return found
    twice = np.unique(twice)
    place = np.minimum(np.searchsorted(twice, first), len(twice) - 1)
    rows = np.flatnonzero(twice[place] == first)
    _, earliest = np.unique(digests[rows], axis=0, return_index=True)
    found[rows] = True
    found[rows[earliest]] = False
    return found


def among(digests: Digests, words: Digests) -> NDArray[np.bool_]:
    """(n, 2) and (w, 2) → (n,) True for rows whose digest is one of ``words``."""
    found = np.isin(digests[:, 0], words[:, 0])
    if found.any():
        known = {tuple(word) for word in words.tolist()}
        rows = np.flatnonzero(found)
        found[rows] = [tuple(digest) in known for digest in digests[rows].tolist()]
    return found


def _normalised(texts: pa.Array) -> pa.Array:
    """:func:`normalise` of each: in Arrow what is ASCII with single spaces, in Python the rest."""
    plain = pc.replace_substring(pc.ascii_lower(texts), "_", " ")
    tidy = pc.and_(pc.string_is_ascii(texts), pc.invert(pc.match_substring(plain, "  ")))
    tidy = pc.and_(tidy, pc.invert(pc.or_(pc.starts_with(plain, " "), pc.ends_with(plain, " "))))
    if (_bytes(plain) < 32).any():  # tabs and what else split() takes for space
        tidy = pc.and_(tidy, pc.invert(pc.match_substring_regex(plain, r"[\x00-\x1f]")))
    odd = pc.invert(tidy)
    if not pc.any(odd).as_py():
        return plain
    mended = [normalise(text) for text in pc.filter(texts, odd).to_pylist()]
    return pc.replace_with_mask(plain, odd, pa.array(mended, pa.string()))


def _bytes(array: pa.Array) -> NDArray[np.uint8]:
    data = array.buffers()[2]
    return np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)


def _hashes(array: pa.Array) -> Digests:
    # Seven bytes more, so that an 8-byte piece can begin at any byte.
    data = np.concatenate([_bytes(array), np.zeros(8, np.uint8)])
    pieces = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))
    offsets = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
    start, left = offsets[:-1].astype(np.int64), np.diff(offsets).astype(np.int64)
    digests: Digests = _mixed(left.astype(np.uint64)[:, None] + _SEEDS)
    rows = np.flatnonzero(left > 0)
    while len(rows):
        piece = pieces[start[rows]] & _PIECES[np.minimum(left[rows], 8)]
        # Half a word turned in the second hash: what cancels in one doesn't in the other.
        turned = (piece << np.uint64(32)) | (piece >> np.uint64(32))
        digests[rows] = _mixed(digests[rows] ^ np.stack([piece, turned], axis=1))
        start[rows] += 8
        left[rows] -= 8
        rows = rows[left[rows] > 0]
    return digests


def _mixed(values: Digests) -> Digests:
    values = (values ^ (values >> _HALF)) * _FIRST
    values = (values ^ (values >> _HALF)) * _SECOND
    return np.asarray(values ^ (values >> _HALF))
