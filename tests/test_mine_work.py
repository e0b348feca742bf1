"""``mine --work`` reads only what is new, and several ``--labels`` are one pass: the result is that of plain runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neglabel import NeglabelError, UsageError
from neglabel.pipeline import mine_blocks, mine_work
from neglabel.pipeline.config import make
from neglabel.pipeline.mine import mine
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.store import embedding_array

POS = ["noun", "adjective", "verb", ""]


def corpus(path: Path, seed: int, rows: int = 400, group: int = 150) -> Path:
    """Words of which some are in the other corpora as well, and rows that are equal to each other."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 16)).astype(np.float16)
    x[rows // 2 : rows // 2 + 40] = x[:40]
    words = [f"Word {n}" if n % 7 else f"own {seed} {n}" for n in rng.permutation(2_000)[:rows]]
    columns = {"text": words, "pos": [POS[n] for n in rng.integers(0, 4, rows)], "source": [path.stem] * rows}
    pq.write_table(pa.table({**columns, "embedding": embedding_array(x)}), path, row_group_size=group)
    return path


def candidates_in(place: Path) -> Path:
    """Four files of candidates and two of labels."""
    for seed in range(4):
        corpus(place / f"c{seed}.parquet", seed)
    for name, count, seed in (("a", 30, 10), ("b", 7, 11)):
        x = np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32)
        names = [f"word {seed + n}" for n in range(count)]
        pq.write_table(pa.table({"text": names, "embedding": embedding_array(x)}), place / f"{name}.parquet")
    return place


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return candidates_in(tmp_path)


def run(place: Path, candidates: str = "0123", out: str = "n.parquet", **options: Any) -> dict[str, Any]:
    files = [place / f"c{number}.parquet" for number in candidates]
    given = {"candidates": files, "labels": place / "a.parquet", "out": place / out, "top": 60, "device": "cpu"}
    return mine(make(MineSettings, {**given, **options}), Reporter(quiet=True))


@pytest.fixture
def files_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose embeddings are read, a name a row group."""
    read: list[str] = []
    real = mine_blocks._row_group

    def noted(path: Path, number: int) -> Any:
        read.append(path.stem)
        return real(path, number)

    monkeypatch.setattr(mine_blocks, "_row_group", noted)
    return read


@pytest.mark.parametrize("options", [{}, {"per_pos": True}, {"percentile": 0.5, "dedupe": "text+pos"}, {"top": 350}])
def test_added_files_alone_are_read_and_the_file_is_the_same(
    place: Path, files_read: list[str], options: dict[str, Any]
) -> None:
    run(place, "012", work=place / "w", **options)
    files_read.clear()
    run(place, "0123", work=place / "w", **options)
    assert set(files_read) == {"c3"}
    kept = (place / "n.parquet").read_bytes()
    files_read.clear()
    run(place, "0123", work=place / "w", **options)
    # Where rows tie at the very cut, the files done last are read again: their ties were let go by order.
    assert set(files_read) <= ({"c3"} if "percentile" in options else set())
    assert (place / "n.parquet").read_bytes() == kept
    run(place, "0123", **options)
    assert (place / "n.parquet").read_bytes() == kept


def test_what_no_longer_suffices_is_read_again(place: Path, files_read: list[str]) -> None:
    run(place, "0123", work=place / "w", top=20)
    for change in ({"candidates": "31"}, {"top": 200}, {"exclude": [place / "no.txt"]}, {"top_share": 0.4, "top": None},
                   {"labels": place / "b.parquet"}, {"percentile": 0.2}, {"candidates": "3210"}):  # fmt: skip
        (place / "no.txt").write_text("word 11\nword 12\nword 13\n")
        files_read.clear()
        run(place, **{"work": place / "w", "top": 20, **change})
        kept = (place / "n.parquet").read_bytes()
        run(place, **{"top": 20, **change})
        assert (place / "n.parquet").read_bytes() == kept, change


def test_a_changed_file_and_damaged_work_are_made_again(place: Path, files_read: list[str]) -> None:
    run(place, work=place / "w")
    corpus(place / "c1.parquet", 99)
    for number, path in enumerate(sorted((place / "w").iterdir())):
        if number % 2:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    run(place, work=place / "w")
    kept = (place / "n.parquet").read_bytes()
    run(place)
    assert (place / "n.parquet").read_bytes() == kept
    # Each file whole, but another's.
    files = sorted((place / "w").iterdir())
    contents = [path.read_bytes() for path in files]
    for path, content in zip(files, [*contents[1:], contents[0]], strict=True):
        path.write_bytes(content)
    run(place, work=place / "w")
    assert (place / "n.parquet").read_bytes() == kept
    with pytest.raises(UsageError, match=r"--work .* is a file"):
        run(place, work=place / "a.parquet")


def test_a_file_of_which_nothing_is_kept_is_known_as_well(place: Path, files_read: list[str]) -> None:
    words = pq.read_table(place / "c0.parquet")
    pq.write_table(words.slice(0, 50), place / "c9.parquet")  # all of them twice
    run(place, "09", work=place / "w")
    files_read.clear()
    run(place, "0931", work=place / "w")
    assert set(files_read) == {"c3", "c1"}
    kept = (place / "n.parquet").read_bytes()
    run(place, "0931")
    assert (place / "n.parquet").read_bytes() == kept


def test_work_below_a_file_is_one_sentence(place: Path) -> None:
    with pytest.raises(NeglabelError, match=r"can't write .*Not a directory"):
        run(place, work=place / "a.parquet" / "w")


def test_a_run_that_is_stopped_keeps_the_files_it_finished(
    place: Path, files_read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, real = [], mine_work.Work.save

    def stop(self: Any, number: int, key: str, record: Any) -> None:
        real(self, number, key, record)
        saved.append(number)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(mine_work.Work, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        run(place, work=place / "w")
    assert not (place / "n.parquet").exists()
    files_read.clear()
    run(place, work=place / "w")
    assert set(files_read) == {"c2", "c3"}
    kept = (place / "n.parquet").read_bytes()
    run(place)
    assert (place / "n.parquet").read_bytes() == kept


@pytest.mark.parametrize("options", [{}, {"per_pos": True, "top": 9}, {"random": 3}, {"sample": 200}, {"work": "w"}])
def test_several_label_sets_read_once_and_equal_single_runs(
    place: Path, files_read: list[str], options: dict[str, Any]
) -> None:
    options = {name: place / "w" if name == "work" else value for name, value in options.items()}
    sets = [place / "a.parquet", place / "b.parquet"]
    summary = run(place, labels=sets, out="both", **options)
    assert len(files_read) == len(set(files_read)) * 3  # three row groups a file
    for one, path in zip(summary["sets"], sets, strict=True):
        run(place, labels=path, out="one.parquet", **options)
        ours, single = (pq.read_table(p) for p in (place / "both" / path.name, place / "one.parquet"))
        assert ours.to_pydict() == single.to_pydict()
        about = [json.loads(table.schema.metadata[b"neglabel"]) for table in (ours, single)]
        for each in about:
            each["settings"].pop("out")
        assert about[0] == about[1]
        assert one["counts"]["kept"] == single.num_rows


def test_several_label_sets_need_a_folder_and_names_of_their_own(place: Path) -> None:
    sets = [place / "a.parquet", place / "b.parquet"]
    with pytest.raises(UsageError, match="name a folder, for there are several --labels"):
        run(place, labels=sets)
    with pytest.raises(UsageError, match="two files of one name"):
        run(place, labels=[place / "a.parquet", place / "x" / "a.txt"], out="both")
    with pytest.raises(UsageError, match="--text-out is for one set"):
        run(place, labels=sets, out="both", text_out=place / "w.txt")
    pq.write_table(pa.table({"text": ["z"], "embedding": embedding_array(np.ones((1, 3)))}), place / "z.parquet")
    with pytest.raises(UsageError, match=r"z\.parquet have 3 dimensions, the candidates 16"):
        run(place, labels=[*sets, place / "z.parquet"], out="both")


def test_large_row_groups_and_lists_of_any_length_are_read_in_pieces(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(place)
    kept = pq.read_table(place / "n.parquet").to_pydict()
    monkeypatch.setattr(mine_blocks, "_WHOLE", 100)
    run(place)
    assert pq.read_table(place / "n.parquet").to_pydict() == kept
    table = pq.read_table(place / "c2.parquet")
    lists = pa.array(table["embedding"].to_pylist(), pa.list_(pa.float16()))
    pq.write_table(table.set_column(table.num_columns - 1, "embedding", lists), place / "c2.parquet")
    run(place)
    assert pq.read_table(place / "n.parquet").to_pydict() == kept


def test_an_error_in_a_thread_is_one_sentence(place: Path) -> None:
    x = np.ones((400, 16), np.float16)
    x[333, 3] = np.inf
    pq.write_table(
        pa.table({"text": [f"q {n}" for n in range(400)], "embedding": embedding_array(x)}), place / "c3.parquet"
    )
    with pytest.raises(NeglabelError, match=r"c3\.parquet, row 334: the embedding is NaN or infinite"):
        run(place)
    assert not (place / "n.parquet").exists()
