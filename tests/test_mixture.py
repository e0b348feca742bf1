"""Several corpora in one store: the union, samples and mixtures, what is counted, and what is never left behind."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neglabel import NeglabelError, UsageError
from neglabel.corpora import Rejection
from neglabel.corpora.draw import Draw, records, shares
from neglabel.corpora.mixture import Mixture
from neglabel.corpora.sample import priority
from neglabel.corpora.text import normalise
from neglabel.pipeline import plan
from neglabel.pipeline.config import make
from neglabel.pipeline.encode import encode
from neglabel.pipeline.plan import ShardPlan, plan_shards
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.settings import EncodeSettings

LINES = ["a", "A", "b", "ﬁ", "fi", "", "\u200b", "x\x00", "c_d", "c d"]


@pytest.fixture
def corpora(tmp_path: Path) -> list[str]:
    """Three lists that overlap, with bad lines: 300, 200 and 40 words that are new."""
    lists = {
        "a.csv": ["text,pos", *(f"word {i},{'noun' if i % 3 else 'adjective'}" for i in range(300)), ",", "word 5,"],
        "b.csv": ["text,pos", *(f"WORD {i},noun" for i in range(250, 500)), "bell\x07,noun"],
        "c.csv": ["text,pos", *(f"Word {i}," for i in range(480, 540))],
    }
    for name, lines in lists.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [str(tmp_path / name) for name in lists]


def run(out: Path, corpus: list[str], model: Path, **options: object) -> dict[str, Any]:
    given = {"corpus": corpus, "out": out, "model": str(model), "device": "cpu", **options}
    return encode(make(EncodeSettings, given), Reporter(quiet=True))


def rows(folder: Path, kind: str = "shard") -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob(f"{kind}-*.parquet")) for row in pq.read_table(path).to_pylist()]


def tables(folder: Path) -> dict[str, dict[str, list[object]]]:
    return {path.name: pq.read_table(path).to_pydict() for path in sorted(folder.glob("*.parquet"))}


@given(n=st.integers(0, 10_000), weights=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=8))
def test_shares_are_whole_and_within_one_of_the_exact_ones(n: int, weights: list[float]) -> None:
    parts = shares(n, weights)
    assert sum(parts) == n
    total = sum(map(Fraction, weights))
    assert all(abs(part - n * Fraction(weight) / total) < 1 for part, weight in zip(parts, weights, strict=True))


@given(
    texts=st.lists(st.lists(st.sampled_from(LINES), max_size=12), min_size=1, max_size=3),
    dedupe=st.sampled_from(["text", "text+pos", "none"]),
)
def test_met_is_rejected_and_duplicate_and_new(texts: list[list[str]], dedupe: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.txt" for i in range(len(texts))]
        for path, lines in zip(paths, texts, strict=True):
            path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        rejected: list[Rejection] = []
        mixture = Mixture([str(path) for path in paths], dedupe)
        words = list(mixture.words(rejected.append))
    met: set[str] = set()
    for tally, lines in zip(mixture.tallies, texts, strict=True):
        good = [normalise(line) for line in lines if normalise(line) and "\0" not in line]
        assert tally.met == len(lines)
        assert tally.rejected.total() == len(lines) - len(good)
        assert tally.new.total() == (len(good) if dedupe == "none" else len(set(good) - met))
        met |= set(good)
    assert len(words) == sum(tally.new.total() for tally in mixture.tallies)
    assert len(rejected) == sum(tally.rejected.total() + tally.duplicate for tally in mixture.tallies)


def test_a_sample_of_the_union_is_the_lowest_priorities(tmp_path: Path, corpora: list[str], tiny_model: Path) -> None:
    whole = run(tmp_path / "whole", corpora, tiny_model, shard_rows=100)
    part = run(tmp_path / "part", corpora, tiny_model, shard_rows=100, sample=250, seed=7)
    everything = [row["text"] for row in rows(tmp_path / "whole")]
    lowest = sorted(everything, key=lambda text: priority(text, "", 7, "text"))[:250]
    assert [row["text"] for row in rows(tmp_path / "part")] == [text for text in everything if text in set(lowest)]
    manifest = json.loads((tmp_path / "part" / "manifest.json").read_text())
    assert [shard["rows"] for shard in manifest["shards"]] == [100, 100, 50]
    assert Counter(r["reason"] for r in rows(tmp_path / "part", "rejected")) == whole["counts"]["rejected"]
    assert [w["new"] for w in part["words"]] == [w["new"] for w in whole["words"]] == [300, 200, 40]
    assert [w["drawn"] for w in whole["words"]] == [300, 200, 40]
    sources = Counter(row["source"] for row in rows(tmp_path / "part"))
    assert [w["drawn"] for w in part["words"]] == [sources[name] for name in ("a.csv", "b.csv", "c.csv")]
    assert part["words"][0]["new_by_pos"] == {"adjective": 100, "noun": 200}
    poses = Counter(row["pos"] for row in rows(tmp_path / "part") if row["source"] == "a.csv")
    assert part["words"][0]["drawn_by_pos"] == dict(poses)
    assert [(w["met"], w["rejected"], w["duplicate"]) for w in part["words"]] == [
        (302, {"empty": 1}, 1), (251, {"control-character": 1}, 50), (60, {}, 20),
    ]  # fmt: skip


def test_weights_split_the_sample_and_warn_of_too_few(tmp_path: Path, corpora: list[str], tiny_model: Path) -> None:
    summary = run(tmp_path / "out", corpora, tiny_model, sample=200, weights="2+1+1")
    assert [(w["asked"], w["drawn"]) for w in summary["words"]] == [(100, 100), (50, 50), (50, 40)]
    assert summary["counts"]["candidates"] == 190
    assert len(summary["warnings"]) == 1
    assert "c.csv has 40 new words, not the 50 of its weight" in summary["warnings"][0]
    of_b = [row["text"] for row in rows(tmp_path / "out") if row["source"] == "b.csv"]
    new_in_b = [f"WORD {i}" for i in range(300, 500)]
    assert set(of_b) == set(sorted(new_in_b, key=lambda text: priority(text, "", 0, "text"))[:50])
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["weights"] == [2, 1, 1]


def test_a_sample_larger_than_the_corpora_is_all_of_them(tmp_path: Path, corpora: list[str], tiny_model: Path) -> None:
    summary = run(tmp_path / "out", corpora, tiny_model, sample=1_000)
    assert summary["counts"]["candidates"] == 540
    assert "540 words, not the 1,000" in summary["warnings"][0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sample": 5, "limit": 5}, "exclude each other"),
        ({"weights": [1, 1, 1]}, "needs --sample"),
        ({"sample": 5, "weights": [1, 1]}, "gives 2 numbers for 3"),
        ({"sample": 5, "weights": "1+0+1"}, "positive number"),
        ({"sample": 5, "weights": ["1", "x"]}, "number for each corpus"),
        ({"sample": 0}, "greater than or equal to 1"),
        ({"sample": 5, "seed": -1}, "--seed"),
    ],
)
def test_options_that_do_not_fit_are_one_sentence(
    tmp_path: Path, corpora: list[str], options: dict[str, object], says: str
) -> None:
    with pytest.raises(UsageError, match=says) as error:
        make(EncodeSettings, {"corpus": corpora, "out": tmp_path / "out", **options})
    assert "\n" not in str(error.value)


def plans(corpus: list[str], sample: int | None = None, shard_rows: int = 7) -> tuple[list[ShardPlan], Mixture]:
    mixture = Mixture(corpus)
    return list(plan_shards(mixture, shard_rows, Draw(mixture, sample, 0) if sample else None)), mixture


@pytest.mark.parametrize("sample", [None, 20])
def test_rejections_never_pile_up_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: int | None
) -> None:
    monkeypatch.setattr(plan, "MAX_REJECTED", 50)
    path = tmp_path / "words.txt"
    path.write_text("".join("\n" * 130 + f"w{i % 40}\n" for i in range(60)) + "\n" * 99)
    found, mixture = plans([str(path)], sample)
    assert max(len(p.rejected) for p in found) <= 50
    assert all(p.words or p.rejected for p in found)
    keys = [int(r.key) for p in found for r in p.rejected]
    assert keys == sorted(keys)
    assert len(keys) == 60 * 130 + 20 + 99
    words = [w.text for p in found for w in p.words]
    if sample:
        assert len(words) == 20
        # What can't be known before the end of the stream: first what was rejected, then words.
        assert not any(p.words for p in found[: len(keys) // 50])
    else:
        assert words == [f"w{i}" for i in range(40)]
    assert mixture.met() == len(keys) + 40


@pytest.mark.parametrize("options", [{}, {"sample": 5}])
def test_nothing_is_left_of_a_corpus_that_fails(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
) -> None:
    monkeypatch.setattr(plan, "MAX_REJECTED", 50)
    empty = tmp_path / "empty.txt"
    empty.write_text("\n" * 500)
    with pytest.raises(UsageError, match=r"no candidates in .* \(500 empty\)"):
        run(tmp_path / "out", [str(empty)], tiny_model, **options)
    assert not (tmp_path / "out").exists()
    if options:
        cut = tmp_path / "cut.txt.gz"
        cut.write_bytes(gzip.compress("".join(f"w{i}\n\n" for i in range(50_000)).encode())[:-40])
        with pytest.raises(NeglabelError, match="cut short"):
            run(tmp_path / "out", [str(cut)], tiny_model, **options)
        assert not (tmp_path / "out").exists()


def test_an_interrupted_sample_goes_on_to_the_same_store(
    tmp_path: Path, corpora: list[str], tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neglabel.pipeline import encode_work

    options: dict[str, Any] = {"sample": 300, "seed": 3, "weights": [1, 1, 1], "shard_rows": 50}
    run(tmp_path / "calm", corpora, tiny_model, **options)
    real, calls = encode_work.compute, iter(range(100))

    def stops(*arguments: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(encode_work, "compute", stops)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "shaken", corpora, tiny_model, **options)
    half = json.loads((tmp_path / "shaken" / "manifest.json").read_text())
    assert (half["complete"], len(half["shards"]), "words" in half) == (False, 2, False)
    with pytest.raises(UsageError, match="was encoded with seed = 3, not 4"):
        run(tmp_path / "shaken", corpora, tiny_model, **{**options, "seed": 4})
    run(tmp_path / "shaken", corpora, tiny_model, **options)
    assert tables(tmp_path / "shaken") == tables(tmp_path / "calm")
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("shaken", "calm")]
    assert all(set(m.pop("time")) == {"load", "read", "tokenise", "compute", "write", "wall"} for m in manifests)
    assert manifests[0] == manifests[1]
    assert [w["drawn"] for w in manifests[0]["words"]] == [100, 100, 40]


def test_a_store_from_before_there_were_samples_goes_on(tmp_path: Path, corpora: list[str], tiny_model: Path) -> None:
    out = tmp_path / "out"
    run(out, corpora, tiny_model, shard_rows=100)
    manifest = json.loads((out / "manifest.json").read_text())
    words = {name: manifest.pop(name) for name in ("words", "sample", "seed", "weights", "too_long")}["words"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match="was encoded with sample = None, not 5"):
        run(out, corpora, tiny_model, shard_rows=100, sample=5)
    assert run(out, corpora, tiny_model, shard_rows=100)["encoded"] == 0
    assert json.loads((out / "manifest.json").read_text())["words"] == words


def test_words_too_long_for_the_model_can_be_dropped(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("cat\n" + "very " * 30 + "long\ndog\n" + "very " * 30 + "long\n")
    kept = run(tmp_path / "kept", [str(path)], tiny_model)
    assert (kept["counts"]["candidates"], kept["counts"]["truncated"]) == (3, 1)
    dropped = run(tmp_path / "dropped", [str(path)], tiny_model, too_long="drop")
    assert [row["text"] for row in rows(tmp_path / "dropped")] == ["cat", "dog"]
    assert dropped["counts"]["rejected"] == {"too-long-for-model": 2}
    with pytest.raises(UsageError, match="was encoded with too_long"):
        run(tmp_path / "kept", [str(path)], tiny_model, too_long="drop")


def test_records_name_a_table_as_it_would_be_written(corpora: list[str]) -> None:
    mixture = Mixture([{"name": "file", "path": corpora[0], "column": "text"}])
    list(mixture.words(lambda rejection: None))
    assert records(mixture)[0]["corpus"] == f"file:path={corpora[0]},column=text"
