"""``mine --sample``: candidates cut to a number, against a draw written here by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neglabel import UsageError
from neglabel.corpora.text import normalise
from neglabel.pipeline.candidates import Stores
from neglabel.pipeline.choose_rows import choose_rows
from neglabel.pipeline.config import make
from neglabel.pipeline.mine import mine
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.progress import Reporter

from .make_world import unit, write

WORDS = [f"word {i}" for i in range(200)]
POS = ["noun", "adjective", "verb"]


def lowest(words: Sequence[str], n: int, seed: int) -> set[str]:
    """The n words whose keyed hash is lowest."""
    def place(word: str) -> bytes:
        return blake2b(normalise(word).encode(), digest_size=16, key=str(seed).encode()).digest()

    return set(sorted(words, key=place)[:n])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two stores: the second repeats words of the first, in another case; labels and excluded words among them."""
    rng = np.random.default_rng(0)
    pos = [POS[i % 3] for i in range(200)]
    write(tmp_path / "a.parquet", unit(rng, 150), text=WORDS[:150], pos=pos[:150])
    second = [*(word.upper() for word in WORDS[100:150]), *WORDS[150:]]
    write(tmp_path / "b.parquet", unit(rng, 100), text=second, pos=[*pos[100:150], *pos[150:]])
    write(tmp_path / "labels.parquet", unit(rng, 3), text=["Word 3", "word 160", "cat"])
    (tmp_path / "no.txt").write_text("WORD 7\nword 170\n")
    return tmp_path


def run(place: Path, **options: Any) -> tuple[dict[str, Any], pa.Table]:
    fixed = {
        "candidates": [place / "a.parquet", place / "b.parquet"], "labels": place / "labels.parquet",
        "exclude": place / "no.txt", "out": place / "n.parquet", "device": "cpu", "top": 1_000,
    }  # fmt: skip
    summary = mine(make(MineSettings, {**fixed, **options}), Reporter(quiet=True))
    return summary, pq.read_table(place / "n.parquet")


@pytest.mark.parametrize("seed", [0, 7])
def test_the_sample_is_the_lowest_hashes_of_what_is_left(place: Path, seed: int) -> None:
    left = [word for word in WORDS if word not in ("word 3", "word 160", "word 7", "word 170")]
    summary, table = run(place, sample=60, seed=seed)
    assert set(table["text"].to_pylist()) == lowest(left, 60, seed)
    counts = {"candidates": 196, "duplicates": 50, "id_names": 2, "excluded": 2, "sampled": 60, "kept": 60}
    assert summary["counts"] == counts
    metadata = json.loads(pq.read_schema(place / "n.parquet").metadata[b"neglabel"])
    assert metadata["counts"] == counts
    assert (metadata["settings"]["sample"], metadata["settings"]["seed"]) == (60, seed)
    assert sum(metadata["histogram"]["all"]) == 60
    again = make(MineSettings, {}, place / "n.parquet.settings.toml")
    assert (again.sample, again.seed) == (60, seed)


def test_the_farthest_are_chosen_among_the_sample(place: Path) -> None:
    _, everything = run(place)
    distance = dict(zip(everything["text"].to_pylist(), everything["distance"].to_pylist(), strict=True))
    _, table = run(place, sample=60, top=10)
    drawn = lowest(list(distance), 60, 0)
    assert table["text"].to_pylist() == sorted(drawn, key=lambda word: -distance[word])[:10]
    _, apart = run(place, sample=60, per_pos=True, top=5)
    nouns = [word for word in distance if word in drawn and int(word.split()[1]) % 3 == 0]
    assert apart["text"].to_pylist()[:5] == sorted(nouns, key=lambda word: -distance[word])[:5]
    _, baseline = run(place, sample=60, random=1, top=10)
    assert set(baseline["text"].to_pylist()) <= drawn


def test_fewer_than_asked_are_all_kept_with_a_warning(place: Path) -> None:
    summary, table = run(place, sample=197)
    assert table.num_rows == 196
    assert summary["counts"]["sampled"] == 196
    assert "196 candidates are left, fewer than --sample 197; taking all of them" in summary["warnings"]
    summary, _ = run(place, sample=196)
    assert not any("--sample" in warning for warning in summary["warnings"])
    summary, _ = run(place)
    assert "sampled" not in summary["counts"]


def test_a_sample_is_one_or_more(place: Path) -> None:
    for option in ({"sample": 0}, {"sample": -1}, {"sample": 5, "seed": -1}, {"sample": 5, "seed": 10**70}):
        with pytest.raises(UsageError, match=r"--(sample|seed): .* (greater|less) than"):
            run(place, **option)


@given(
    seed=st.integers(0, 2**64), n=st.integers(1, 40), order=st.permutations(range(30)), cut=st.integers(0, 30),
    mode=st.sampled_from(["text", "text+pos", "none"]),
)  # fmt: skip
def test_order_and_files_change_nothing_and_samples_are_nested(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n: int, order: list[int], cut: int, mode: Any
) -> None:
    folder = tmp_path_factory.mktemp("files")
    rows = [(f"w{i // 2}", POS[i % 2]) for i in range(30)]

    def drawn(places: list[int], where: int, size: int) -> list[tuple[str, str]]:
        files = []
        for number, part in enumerate((places[:where], places[where:])):
            path = folder / f"{number}.parquet"
            pq.write_table(pa.table({"text": [rows[i][0] for i in part], "pos": [rows[i][1] for i in part]},
                                    schema=pa.schema({"text": pa.string(), "pos": pa.string()})), path)  # fmt: skip
            files.append(path)
        found = choose_rows(Stores(tuple(files), 1), mode, (), (), False, size, seed)
        mask = np.concatenate(found.keep)
        assert found.rows == mask.sum() == min(size, found.counts["candidates"])
        inside = [place for place, kept in zip(places, mask, strict=True) if kept]
        return sorted((rows[i][0], rows[i][1] if mode == "text+pos" else "") for i in inside)

    one, other = drawn(list(range(30)), 30, n), drawn(order, cut, n)
    assert one == other
    more = drawn(order, 30 - cut, n + 1)
    assert all(more.count(word) >= one.count(word) for word in one)
