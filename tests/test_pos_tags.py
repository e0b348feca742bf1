"""The POS list: the real one against a direct count, lists of its shape, and nltk's tagger."""

from __future__ import annotations

import csv
import gzip
import json
import tempfile
from collections import Counter
from pathlib import Path

import nltk.data
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neglabel import NeglabelError, UsageError
from neglabel.corpora import Candidate, Rejection, check_corpus, open_corpus, pos_tags


def read(path: Path, options: str = "") -> tuple[list[Candidate], list[Rejection]]:
    rejected: list[Rejection] = []
    words = list(open_corpus(f"pos-tags:path={path}{options}", rejected.append))
    return words, rejected


def test_real_list_by_tag_against_a_direct_count(shared_data: Path) -> None:
    path = shared_data / "pos_tags" / "words_pos.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    direct = Counter(row["pos_tag"] for row in rows)
    assert len(rows) == direct.total() == 370_100
    words, rejected = read(path, ",tags=*")
    assert (len(words), len(rejected)) == (370_100, 0)
    # By line: the header is the first.
    assert Counter(rows[int(w.key) - 2]["pos_tag"] for w in words) == direct
    assert all(rows[int(w.key) - 2]["word"] == w.text for w in words)
    words, rejected = read(path)
    nouns, adjectives = (sum(n for tag, n in direct.items() if tag.startswith(start)) for start in ("NN", "JJ"))
    assert (nouns, adjectives) == (279_501, 39_572)
    assert Counter(w.pos for w in words) == {"noun": nouns, "adjective": adjectives}
    assert Counter(r.reason for r in rejected) == {"other-tag": 370_100 - nouns - adjectives}
    for tag in ("NNS", "JJR", "PRP$"):
        assert len(read(path, f",tags={tag}")[0]) == direct[tag]


@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz"])
def test_any_list_of_that_shape(tmp_path: Path, ending: str) -> None:
    mark = "\t" if ending == "tsv" else ","
    lines = [
        ["n", "term", "tag"], ["0", '"ice cream"', "NN"], ["1", "Paris", "NNP"], ["2", "red", "JJ"], ["3", "run", "VB"],
        ["4", "now", "RB"], ["5", '"stray', "NN"], ["6"], ["7", "", "NN"], ["8", "of", "IN"], ["9", "dogs", " NNS "],
    ]  # fmt: skip
    data = "\r\n".join(mark.join(line) for line in lines).encode("utf-8-sig")
    path = tmp_path / f"list.{ending}"
    path.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    words, rejected = read(path, ",column=term,tag_column=tag,tags=NN*+JJ+VB*+RB,language=de")
    # A quote without its end takes what is left of its own line, not the lines after it.
    assert [(w.text, w.pos, w.key) for w in words] == [
        ("ice cream", "noun", "2"), ("Paris", "noun", "3"), ("red", "adjective", "4"), ("run", "verb", "5"),
        ("now", "adverb", "6"), ("dogs", "noun", "11"),
    ]  # fmt: skip
    assert [(r.reason, r.key) for r in rejected] == [
        ("malformed-row", "7"), ("malformed-row", "8"), ("empty", "9"), ("other-tag", "10"),
    ]  # fmt: skip
    assert {w.language for w in words} == {"de"}


def test_another_header_is_refused_by_its_names(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("id,word,kind\n1,dog,NN\n")
    with pytest.raises(UsageError, match=r"no `pos_tag` column \(it has id, word, kind\); .*`tagger=nltk`"):
        check_corpus(f"pos-tags:path={path}")
    with pytest.raises(UsageError, match=r"no `term` column .* say which with `column=NAME`"):
        check_corpus(f"pos-tags:path={path},column=term")
    path.write_text("")
    with pytest.raises(UsageError, match="it has none"):
        check_corpus(f"pos-tags:path={path}")
    with pytest.raises(UsageError, match="does not exist"):
        check_corpus("pos-tags:path=nowhere.csv")


def test_half_a_gz_is_named(tmp_path: Path) -> None:
    path = tmp_path / "list.csv.gz"
    data = gzip.compress(("word,pos_tag\n" + "".join(f"w{i * 7919 % 10007},NN\n" for i in range(9_000))).encode())
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(NeglabelError, match="damaged or cut short"):
        read(path)


@pytest.fixture
def tagger_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """nltk's tagger, trained here on a few sentences, in the layout of its data."""
    from nltk.tag.perceptron import PerceptronTagger

    tagger = PerceptronTagger(load=False)
    words = {"dog": "NN", "house": "NN", "red": "JJ", "nice": "JJ", "run": "VB", "of": "IN", "cars": "NNS"}
    tagger.train([[item] for item in words.items()] * 5)
    folder = tmp_path / "data" / "taggers" / "averaged_perceptron_tagger_eng"
    folder.mkdir(parents=True, mode=0o755)
    for name, value in (("weights", tagger.model.weights), ("tagdict", words), ("classes", sorted(tagger.classes))):
        (folder / f"averaged_perceptron_tagger_eng.{name}.json").write_text(json.dumps(value))
    for path in (folder, *folder.parents[:2], *folder.iterdir()):
        path.chmod(path.stat().st_mode & ~0o022)
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path / "data")])
    pos_tags._tagger.cache_clear()
    yield folder
    pos_tags._tagger.cache_clear()


def test_untagged_lists_are_tagged(tmp_path: Path, tagger_data: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("dog\nred\nrun\n\nred house\ncars\nof\n")
    words, rejected = read(path, ",tagger=nltk")
    assert [(w.text, w.pos, w.key) for w in words] == [
        ("dog", "noun", "1"), ("red", "adjective", "2"), ("red house", "noun", "5"), ("cars", "noun", "6"),
    ]  # fmt: skip
    assert [(r.text, r.reason) for r in rejected] == [("run", "other-tag"), ("", "empty"), ("of", "other-tag")]
    table = tmp_path / "words.csv"
    table.write_text("word\nnice\nrun\n")
    assert [w.text for w in read(table, ",tagger=nltk,tags=*")[0]] == ["nice", "run"]


def test_missing_or_refused_tagger_is_one_sentence(
    tmp_path: Path, tagger_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "words.txt"
    path.write_text("dog\n")
    spec = f"pos-tags:path={path},tagger=nltk"
    weights = tagger_data / "averaged_perceptron_tagger_eng.weights.json"
    weights.write_text("{")
    with pytest.raises(NeglabelError, match="can't be read") as error:
        check_corpus(spec)
    assert "\n" not in str(error.value)
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path / "none")])
    with pytest.raises(UsageError, match=r"nltk\.downloader averaged_perceptron_tagger_eng.*NLTK_DATA") as missing:
        check_corpus(spec)
    assert "\n" not in str(missing.value)


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=300), start=st.sampled_from([b"", b"word,pos_tag\n", b"\xef\xbb\xbf,word,pos_tag\r\n"]))
def test_arbitrary_bytes_raise_nothing_else(data: bytes, start: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.csv"
        path.write_bytes(start + data)
        found: object
        try:
            found = sum(map(len, read(path, ",tags=*")))
        except NeglabelError as error:
            found = str(error)
    lines = data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
    assert found == lines if start else "\n" not in str(found)
