"""`encode --shard-of I/N`: parts encoded apart are mined as the one store, and incomplete sets of them are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from neglabel import UsageError
from neglabel.pipeline import engine
from neglabel.pipeline.config import make
from neglabel.pipeline.encode import encode
from neglabel.pipeline.mine import mine
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.settings import EncodeSettings

from .test_encode import run_encode


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    # Many words of one embedding each (cut at the context), so that order decides among ties.
    words = [f"{'very ' * 20}long {n}" if n % 3 == 0 else f"word {n}" for n in range(330)]
    (folder / "words.txt").write_text("\n".join(["word 1", *words]) + "\n")
    (folder / "labels.txt").write_text("dog\ncat\nword 7\n")
    (folder / "others.txt").write_text("\n".join(f"word {n}" for n in range(320, 360)) + "\n")
    run_encode(folder / "whole", folder / "words.txt", tiny_model, shard_rows=50)
    for part in range(3):
        run_encode(folder / f"p{part}", folder / "words.txt", tiny_model, shard_rows=50, shard_of=f"{part}/3")
    run_encode(folder / "other", folder / "others.txt", tiny_model)
    run_encode(folder / "labels", folder / "labels.txt", tiny_model)  # once: no model is loaded to mine
    return folder


def mined(place: Path, *stores: str, **options: Any) -> Any:
    labels = place / "labels" / "shard-00000.parquet"
    given = {"candidates": [place / s for s in stores], "labels": labels, "out": place / "n.parquet"}
    mine(make(MineSettings, {**given, "top": 40, "device": "cpu", **options}), Reporter(quiet=True))
    return pq.read_table(place / "n.parquet")


@pytest.mark.parametrize("options", [{}, {"random": 3}, {"sample": 100}, {"per_pos": True, "dedupe": "none"}])
def test_parts_in_any_order_select_what_the_whole_does(place: Path, options: dict[str, Any]) -> None:
    assert mined(place, "p2", "p0", "p1", **options).equals(mined(place, "whole", **options))
    # Beside another store, with words that both have: who is first, and so keeps a word, is as with the whole.
    for ours, whole in ((("p1", "other", "p0", "p2"), ("whole", "other")), (("other", "p0", "p1", "p2"),
                                                                         ("other", "whole"))):  # fmt: skip
        assert mined(place, *ours, **options).equals(mined(place, *whole, **options))


def test_parts_have_the_wholes_files(place: Path) -> None:
    names = {path.name for path in (place / "whole").glob("*.parquet")}
    parts = [{path.name for path in (place / f"p{part}").glob("*.parquet")} for part in range(3)]
    assert set.union(*parts) == names
    assert sum(map(len, parts)) == len(names)
    counts = [json.loads((place / f / "manifest.json").read_text())["counts"] for f in ("whole", "p0", "p1", "p2")]
    assert counts[0]["candidates"] == sum(each["candidates"] for each in counts[1:])


def test_missing_and_double_parts_and_those_of_other_words_are_refused(
    place: Path, tmp_path: Path, tiny_model: Path
) -> None:
    with pytest.raises(UsageError, match=r"p0 is part 0/3 of an encode; part 2/3 of it is missing; name the folders"):
        mined(place, "p0", "p1")
    shutil.copytree(place / "p1", tmp_path / "again")
    with pytest.raises(UsageError, match=r"part 1/3 is there more than once \(.*p1, .*again\)"):
        mined(place, "p0", "p1", "p2", str(tmp_path / "again"))
    words = (place / "words.txt").read_text()
    try:
        (place / "words.txt").write_text(words + "one more\n")
        run_encode(tmp_path / "new", place / "words.txt", tiny_model, shard_rows=50, shard_of="2/3")
    finally:
        (place / "words.txt").write_text(words)
    with pytest.raises(UsageError, match=r"part 2/3 of it is missing \(.*new was made .* corpus that had changed\)"):
        mined(place, "p0", "p1", str(tmp_path / "new"))
    with pytest.raises(UsageError, match=r"was encoded with part = \[0, 3\], not None"):
        run_encode(place / "p0", place / "words.txt", tiny_model, shard_rows=50)


@pytest.mark.parametrize("value", ["3/3", "1", "-1/2", "a/b"])
def test_a_part_is_one_of_so_many(value: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--shard-of: is I/N with I from 0 to N-1"):
        make(EncodeSettings, {"out": tmp_path, "shard_of": value})


def test_ray_that_is_not_installed_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"type: pip install 'neglabel\[ray\]'"):
        encode(make(EncodeSettings, {"out": tmp_path / "x", "engine": "ray"}), Reporter(quiet=True))
    with pytest.raises(UsageError, match=r"--address auto is of --engine ray"):
        encode(make(EncodeSettings, {"out": tmp_path / "x", "address": "auto"}), Reporter(quiet=True))
    assert not (tmp_path / "x").exists()
