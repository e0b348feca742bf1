"""``neglabel run`` with ``[sources]``: equal numbers for all, and what is refused before any work."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w
from PIL import Image

from neglabel import UsageError
from neglabel.pipeline import store
from neglabel.pipeline.candidates import Stores
from neglabel.pipeline.choose_rows import choose_rows
from neglabel.pipeline.config import make
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.run import run_file
from neglabel.pipeline.run_settings import RunSettings
from neglabel.pipeline.run_stages import Stages

from .conftest import ROOT
from .test_mine_sample import lowest

SMALL = [f"small {i}" for i in range(60)]
LARGE = [f"large {i}" for i in range(1_500)]
BOTH = [*LARGE[:100], *SMALL[:30], *(f"both {i}" for i in range(40))]
#: Three are words of the small source, one of them in another case; one is no word at all.
LABELS = ["small 3", "SMALL 4", "large 7", "walrus"]
M = 12
QUIET = Reporter(quiet=True)


def settle(folder: Path, model: Path) -> dict[str, Any]:
    """Words, labels and pictures in ``folder``, and a run's values."""
    rng = np.random.default_rng(0)
    for name, words in (("small", SMALL), ("large", LARGE), ("both", BOTH), ("labels", LABELS)):
        (folder / f"{name}.txt").write_text("\n".join(words) + "\n")
    (folder / "no.txt").write_text("small 5\nlarge 9\n")
    for place, n in (("pictures/in", 12), ("pictures/out", 9)):
        (folder / place).mkdir(parents=True)
        for i in range(n):
            Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(folder / place / f"{i}.png")
    return {
        "out": "made", "labels": "labels.txt", "model": str(model), "device": "cpu",
        "sources": {"small": "small.txt", "large": ["large.txt"], "both": ["both.txt", "small.txt"]},
        "mine": {"top": M, "exclude": ["no.txt"]},
        "score": {"id": {"in": "pictures/in"}, "ood": {"out": "pictures/out"}, "groups": 3},
    }  # fmt: skip


def write(folder: Path, values: dict[str, Any]) -> Path:
    (folder / "my.toml").write_text(tomli_w.dumps(values))
    return folder / "my.toml"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("sources")
    file = write(folder, settle(folder, tiny_model))
    return {"folder": folder, "file": file, "summary": run_file(file, QUIET)}


def test_every_source_has_as_many_candidates_and_negatives(made: dict[str, Any]) -> None:
    out = made["folder"] / "made"
    dropped = {"small 3", "small 4", "large 7", "small 5", "large 9"}
    left = {
        "small": [word for word in SMALL if word not in dropped],
        "large": [word for word in LARGE if word not in dropped],
        "both": [word for word in dict.fromkeys([*BOTH, *SMALL]) if word not in dropped],
    }
    n = made["summary"]["candidates"]
    assert n == 57 == len(left["small"])
    assert list(made["summary"]["sources"]) == ["small", "large", "both", "union"]
    for name, each in made["summary"]["sources"].items():
        assert (each["mine"]["counts"]["sampled"], each["mine"]["counts"]["kept"]) == (n, M)
        table = pq.read_table(out / "negatives" / f"{name}.parquet")
        everything = store.read_metadata(out / "negatives" / f"{name}.parquet")
        assert sum(everything["histogram"]["all"]) == n
        if name in left:
            assert set(table["text"].to_pylist()) <= lowest(left[name], n, 0)
            cut = pq.read_table(out / "candidates" / name / "shard-00000.parquet")["text"].to_pylist()
            assert {word for word in cut if word not in dropped} >= lowest(left[name], n, 0)
            assert len(cut) == {"small": 60, "large": n + 5, "both": n + 5}[name]


def test_what_was_compared_is_kept_and_pictures_are_encoded_once(made: dict[str, Any]) -> None:
    out = made["folder"] / "made"
    digests = set()
    for number, (name, each) in enumerate(made["summary"]["sources"].items()):
        manifest = store.read_metadata(out / "scores" / name / "negatives.parquet")
        assert manifest["counts"]["kept"] == M
        digests.add((out / "scores" / name / "embeddings-in.parquet").read_bytes())
        assert each["score"]["cached"] == (0 if number == 0 else 21)
    assert len(digests) == 1
    assert (out / "report" / "compare.html").is_file()
    assert (out / "report" / "index.html").is_file()


def test_again_it_encodes_nothing_and_finds_the_same(made: dict[str, Any]) -> None:
    def words() -> dict[str, list[str]]:
        folder = made["folder"] / "made" / "negatives"
        return {path.stem: pq.read_table(path)["text"].to_pylist() for path in folder.glob("*.parquet")}

    before = words()
    again = run_file(made["file"], QUIET)
    assert [each["encode"]["encoded"] for each in again["sources"].values() if "encode" in each] == [0, 0, 0]
    assert words() == before


def test_the_union_draws_in_equal_shares(tmp_path: Path) -> None:
    """And why its seed is another: with the stores' own, the larger source's lower hashes win."""
    few, many = [f"few {i}" for i in range(600)], [f"many {i}" for i in range(20_000)]
    stores = []
    for name, words in (("few", few), ("many", many)):
        table = pa.table({"text": sorted(lowest(words, 500, 0)), "source": [name] * 500})
        pq.write_table(table, tmp_path / f"{name}.parquet")
        stores.append(tmp_path / f"{name}.parquet")

    def share(seed: int) -> Counter[str]:
        found = choose_rows(Stores(tuple(stores), 1), "text", (), (), False, 500, seed)
        return Counter({path.stem: int(keep.sum()) for path, keep in zip(stores, found.keep, strict=True)})

    assert abs(share(1)["few"] - 250) < 40  # five standard deviations of a draw of 500 of 1,000
    assert share(0)["few"] < 40


def change(values: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**values, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sources": {}}, "[sources] names fewer than two sources"),
        ({"sources": {"small": "small.txt"}}, "[sources] names fewer than two sources"),
        ({"sources": {"small": "small.txt", "Small": "large.txt"}}, "there twice but for its case"),
        ({"sources": {"small": "small.txt", "Union": "large.txt"}}, "[sources] Union: the union of all sources has"),
        ({"sources": {"small": "small.txt", "a/b": "large.txt"}}, "becomes a folder's name"),
        ({"sources": {"small": "small.txt", "large": []}}, "[sources] large names no corpus"),
        ({"sources": {"small": "small.txt", "large": 5}}, "got 5"),
        ({"sources": {"small": "small.txt", "large": "none.txt"}}, "no corpus or file `none.txt`"),
        ({"sources": {"small": "small.txt", "empty": "empty.txt"}}, "[sources] empty gives no candidate; name"),
        ({"sources": {"small": "small.txt", "own": "labels.txt"}}, "all of its 4 words are labels or excluded"),
        ({"source_candidates": 58}, "but [sources] small has 57 candidates; give 57 or less"),
        ({"source_candidates": 11}, "12 negative labels can't be chosen from 11 candidates"),
        ({"source_candidates": 0}, "greater than or equal to 1"),
        ({"corpus": "small.txt"}, "corpus and [sources] exclude each other"),
        ({"sources": None, "source_candidates": 5}, "source_candidates is of [sources]"),
        ({"random_seeds": 2}, "random_seeds is of a run without [sources]"),
        ({"preset": "official"}, "not each part of speech ranked apart (preset official)"),
        ({"mine": {"top_share": 0.1}}, "not a share of the candidates"),
        ({"mine": {"top": 5, "per_pos": True}}, "not each part of speech ranked apart"),
        ({"mine": {"sample": 5}}, "[mine] sample is set by `neglabel run` itself"),
        ({"encode": {"limit": 5}}, "[encode] limit is set by `neglabel run` itself"),
        ({"report": {"compare": "corpus"}}, "[report] compare is set by `neglabel run` itself"),
        ({"mine": {"top": M, "exclude": ["gone.txt"]}}, "gone.txt can't be read"),
        ({"score": {}}, "no pictures"),
        ({"out": "pictures"}, "pictures holds something else"),
    ],
)
def test_what_can_not_be_equal_is_refused_before_any_work(
    tmp_path: Path, tiny_model: Path, changes: dict[str, Any], says: str
) -> None:
    values = settle(tmp_path, tiny_model)
    (tmp_path / "empty.txt").write_text("\n \n")
    file = write(tmp_path, change(values, **changes))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError) as error:
        run_file(file, QUIET)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_of_one_corpus_is_not_mixed_with_sources(tmp_path: Path, tiny_model: Path) -> None:
    values = settle(tmp_path, tiny_model)
    run_file(write(tmp_path, change(values, sources=None, corpus=["small.txt"])), QUIET)
    with pytest.raises(UsageError, match=r"made holds a run without \[sources\]; name a new folder"):
        run_file(write(tmp_path, values), QUIET)
    # And the other way round.
    run_file(write(tmp_path, change(values, out="compared", source_candidates=20)), QUIET)
    with pytest.raises(UsageError, match="candidates holds something else"):
        run_file(write(tmp_path, change(values, sources=None, corpus=["small.txt"], out="compared")), QUIET)


def test_words_dropped_for_their_length_are_no_candidates(tmp_path: Path, tiny_model: Path) -> None:
    """Which they are, only the model's tokenizer knows."""
    values = change(settle(tmp_path, tiny_model), encode={"too_long": "drop"})
    (tmp_path / "small.txt").write_text("\n".join([*SMALL, "a " * 40, "b " * 40]) + "\n")
    with pytest.raises(UsageError, match="small has 57 candidates left, fewer than the 59 of the others"):
        run_file(write(tmp_path, values), QUIET)
    values |= {"source_candidates": 57, "out": "again"}
    assert run_file(write(tmp_path, values), QUIET)["candidates"] == 57


def test_a_source_named_twice_is_no_toml(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text('out = "o"\nlabels = "l"\n[sources]\na = "x"\na = "y"\n')
    with pytest.raises(UsageError, match=r"my\.toml is not valid TOML: .*\(at line 5"):
        run_file(tmp_path / "my.toml", QUIET)


def test_the_example_file_is_valid() -> None:
    folder = ROOT / "examples"
    settings = make(RunSettings, {}, folder / "compare.toml")
    assert list(settings.sources or ()) == ["wordnet", "wikipedia", "pos-tags", "french"]
    stages = Stages(settings, folder)
    assert stages.mine([folder / "c"], folder / "n.parquet").top == 10_000
    assert stages.score(folder / "n.parquet", folder / "s").id == {"val": str(folder / "pictures" / "val")}
