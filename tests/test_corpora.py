"""Corpora: what WordNet and files give, what is rejected and why, and the one spec syntax."""

from __future__ import annotations

import csv
import gzip
import io
import json
import unicodedata
from collections import Counter
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from neglabel import NeglabelError, UsageError
from neglabel.corpora import Rejection, check_corpus, open_corpus, rows_expected
from neglabel.corpora.csv_rows import csv_rows
from neglabel.corpora.dedupe import Deduplicator
from neglabel.corpora.text import defect, normalise
from neglabel.corpora.wordnet_data import reader


def texts(spec: object) -> list[str]:
    return [word.text for word in open_corpus(spec)]  # type: ignore[arg-type]


def test_wordnet_has_the_published_counts() -> None:
    words = list(open_corpus("wordnet"))
    counts = Counter(word.pos for word in words)
    assert counts == {"noun": 117_798, "adjective": 21_479}
    by_pos = {pos: {normalise(w.text) for w in words if w.pos == pos} for pos in counts}
    assert len(by_pos["noun"] & by_pos["adjective"]) == 3_138
    assert rows_expected(["wordnet"]) == len(words)
    assert all(w.language == "en" and w.source == "wordnet-3.0" and w.key and "_" not in w.text for w in words)


def test_official_rule_gives_the_published_number_of_words() -> None:
    dedupe = Deduplicator("text")
    kept = [w for w in open_corpus("wordnet:preset=official") if dedupe.is_new(w.text, w.pos)]
    assert len(kept) == 70_794
    assert all(w.text == w.text.lower() for w in kept)


def test_wordnet_options_are_obeyed() -> None:
    wordnet = reader()
    spec = "wordnet:pos=n,lemmas=first,include=noun.animal+noun.food"
    words = list(open_corpus(spec))
    assert {wordnet.synset(w.key).lexname() for w in words[::50]} == {"noun.animal", "noun.food"}
    assert all(wordnet.synset(w.key).lemma_names()[0].replace("_", " ") == w.text for w in words[::50])
    table = {"name": "wordnet", "pos": ["n"], "lemmas": "first", "include": ["noun.animal", "noun.food"]}
    assert [w.text for w in islice(open_corpus(table), 500)] == [w.text for w in words[:500]]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("wordnet:foo=1", "no option `foo`; valid: preset, pos"),
        ("wordnet:pos=x", "no part of speech `x`; valid: n, a, v, r"),
        ("wordnet:pos", "`pos` is not key=value"),
        ("wordnet:exclude=noun.anima", "no lexicographer file `noun.anima`; valid: adj.all"),
        ("wordnet:pos=n,pos=a", "`pos` is given twice"),
        ("nowhere.txt", "no corpus or file `nowhere.txt`"),
        ({"name": "wordnett"}, "`name` must be one of wordnet, wikipedia, pos-tags, multilingual, hf, file"),
        ("file:column=x", "needs `path`"),
    ],
)
def test_bad_specs_get_one_sentence(spec: object, says: str) -> None:
    with pytest.raises(UsageError) as error:
        check_corpus(spec)  # type: ignore[arg-type]
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_text_file_rejects_with_reasons_and_loses_no_line(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(b"\xef\xbb\xbfcaf\xc3\xa9\r\nbad\xff\n\n \t\nbell\x07\nice_cream\nlast")
    rejected: list[Rejection] = []
    words = list(open_corpus(str(path), rejected.append))
    assert [(w.text, w.key) for w in words] == [("café", "1"), ("ice_cream", "6"), ("last", "7")]
    assert [(r.reason, r.key) for r in rejected] == [
        ("invalid-utf8", "2"), ("empty", "3"), ("empty", "4"), ("control-character", "5"),
    ]  # fmt: skip


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet", "csv.gz", "txt.gz", "csv.zst"])
def test_every_format_gives_the_same_words(tmp_path: Path, ending: str) -> None:
    rows = [("a, b", "noun"), ("naïve", "adjective"), ('say "so"', "")]
    path = tmp_path / f"words.{ending}"
    kind = ending.split(".")[0]
    if kind == "parquet":
        pq.write_table(pa.table({"text": [r[0] for r in rows], "pos": [r[1] for r in rows]}), path)
    else:
        if kind == "jsonl":
            content = "".join(json.dumps({"text": t, "pos": p}) + "\n" for t, p in rows)
        elif kind == "txt":
            content = "".join(t + "\n" for t, _ in rows)
        else:
            mark = "\t" if kind == "tsv" else ","
            quoted = [('"' + t.replace('"', '""') + '"', p) for t, p in rows]
            content = f"text{mark}pos\n" + "".join(f"{t}{mark}{p}\n" for t, p in quoted)
        data = content.encode()
        if ending.endswith(".gz"):
            data = gzip.compress(data)
        elif ending.endswith(".zst"):
            data = pa.compress(data, codec="zstd", asbytes=True)
        path.write_bytes(data)
    words = list(open_corpus(str(path)))
    assert [w.text for w in words] == [r[0] for r in rows]
    if kind != "txt":
        assert [w.pos for w in words] == [r[1] for r in rows]


def test_bad_rows_are_rejected_and_the_rest_kept(tmp_path: Path) -> None:
    path = tmp_path / "words.jsonl"
    path.write_text('{"text": "one"}\nnot json\n{"text": 3}\n[1]\n{"text": "two"}\n')
    rejected: list[Rejection] = []
    assert [w.text for w in open_corpus(str(path), rejected.append)] == ["one", "two"]
    assert Counter(r.reason for r in rejected) == {"malformed-row": 3}


def test_a_line_without_end_is_one_rejection(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("one\n" + "x" * 250_000 + "\ntwo\n")
    rejected: list[Rejection] = []
    assert [(w.text, w.key) for w in open_corpus(str(path), rejected.append)] == [("one", "1"), ("two", "3")]
    assert [(r.reason, r.key) for r in rejected] == [("too-long", "2")]


def test_an_open_quote_in_tsv_costs_no_other_row(tmp_path: Path) -> None:
    path = tmp_path / "words.tsv"
    path.write_text('text\tpos\n"quo\tn\nfoo\tn\nbar"\ta\n')
    assert [(w.text, w.pos) for w in open_corpus(str(path))] == [
        ('"quo', "noun"), ("foo", "noun"), ('bar"', "adjective"),
    ]  # fmt: skip


def test_an_open_quote_in_csv_costs_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "words.csv"
    path.write_text(
        'text,pos,gloss\n"quo,n,x\nfoo,n,"two\nlines, ""quoted"""\n"never" closed,"n\n"bar",a\n5",v\n'
        + '"open to the end,n\n' + "".join(f"word {i},n\n" for i in range(300))
    )  # fmt: skip
    rejected: list[Rejection] = []
    words = list(open_corpus(str(path), rejected.append))
    kept = [("foo", "noun", "4"), ("bar", "adjective", "6"), ('5"', "verb", "7")]
    assert [(w.text, w.pos, w.key) for w in words] == kept + [(f"word {i}", "noun", f"{i + 9}") for i in range(300)]
    assert [(r.text, r.reason, r.key) for r in rejected] == [
        ('"quo,n,x', "malformed-row", "2"), ('"never" closed,"n', "malformed-row", "5"),
        ('"open to the end,n', "malformed-row", "8"),
    ]  # fmt: skip
    path.write_text('"text,pos\ndog,n\n')
    with pytest.raises(UsageError, match="no `text` column"):
        check_corpus(str(path))


_characters = st.characters(exclude_characters="\r", exclude_categories=["Cs"]) | st.sampled_from('\n",')
_fields = st.text(_characters, max_size=9)


@given(rows=st.lists(st.lists(_fields, min_size=1, max_size=4), max_size=6), quoting=st.sampled_from([0, 1]))
def test_valid_csv_is_read_as_the_format_says(rows: list[list[str]], quoting: int) -> None:
    file = io.StringIO()
    csv.writer(file, quoting=quoting, lineterminator="\n").writerows(rows)
    lines = file.getvalue().removesuffix("\n").split("\n") if rows else []
    assert [fields for _, fields in csv_rows(lines)] == rows
    ends = [number for number, _ in csv_rows(lines)]
    assert ends == [sum(1 + sum(f.count("\n") for f in row) for row in rows[: i + 1]) for i in range(len(rows))]


@given(st.lists(st.text('ab",', max_size=6), max_size=12))
def test_rows_of_any_lines_hold_every_line_once(lines: list[str]) -> None:
    last = 0
    for number, fields in csv_rows(lines):
        assert number == last + 1 or (number > last and not isinstance(fields, str))
        assert fields == lines[number - 1] or not isinstance(fields, str)
        last = number
    assert last == len(lines)


def test_missing_column_names_those_there_are(tmp_path: Path) -> None:
    path = tmp_path / "words.csv"
    path.write_text("id,term\n1,dog\n")
    with pytest.raises(UsageError, match=r"no `text` column \(it has id, term\)"):
        check_corpus(str(path))
    assert texts(f"{path}:column=term") == ["dog"]


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "words.txt.gz"
    path.write_bytes(gzip.compress(b"word\n" * 10_000)[:40])
    with pytest.raises(NeglabelError, match="damaged or cut short"):
        texts(str(path))


def test_dedupe_modes() -> None:
    both = [("Light", "noun"), ("light", "adjective"), ("LIGHT", "noun"), ("ice_cream", ""), ("ice  cream", "")]
    kept = {mode: [Deduplicator(mode).is_new] for mode in ("text", "text+pos", "none")}  # type: ignore[arg-type]
    assert [kept["text"][0](*w) for w in both] == [True, False, False, True, False]
    assert [kept["text+pos"][0](*w) for w in both] == [True, True, False, True, False]
    assert all(kept["none"][0](*w) for w in both)


@given(st.text())
def test_normalise_is_idempotent(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.text())
def test_what_passes_can_be_stored(text: str) -> None:
    if defect(text) is None:
        assert text.strip()
        assert text.encode("utf-8").decode() == text
        assert not any(unicodedata.category(c) == "Cc" for c in text)


@given(st.binary(max_size=300))
def test_files_never_raise_on_arbitrary_bytes(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "words.txt"
        path.write_bytes(data)
        rejected: list[Rejection] = []
        words = list(open_corpus(str(path), rejected.append))
        content = data.removeprefix(b"\xef\xbb\xbf")
        lines = content.count(b"\n") + (not content.endswith(b"\n") and bool(content))
        assert len(words) + len(rejected) == lines


@pytest.mark.parametrize("name", ["w.csv", "w.tsv", "w.jsonl", "w.parquet", "w.txt.gz", "w.csv.zst"])
@example(data=b'"', start=b"")
@given(
    data=st.binary(max_size=300),
    start=st.sampled_from([b"", b"text,pos\n", b"text\tpos\n", b'{"text": "a"}\n', b"PAR1"]),
)
def test_no_format_raises_anything_else(name: str, data: bytes, start: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(start + data)
        said = ""
        try:
            check_corpus(str(path))
            texts(str(path))
            rows_expected([str(path)])
        except NeglabelError as error:
            said = str(error)
    assert "\n" not in said


def test_invisible_characters_are_rejected_and_joiners_are_not(tmp_path: Path) -> None:
    words = ["ca\u200bt", "\u202etac", "soft\u00adhyphen", "می\u200cخواهم", "👩\u200d🔬", "fine"]
    (tmp_path / "w.txt").write_text("\n".join(words), encoding="utf-8")
    rejected: list[Rejection] = []
    kept = [word.text for word in open_corpus(str(tmp_path / "w.txt"), rejected.append)]
    assert kept == words[3:]
    assert [(r.reason, r.key) for r in rejected] == [("format-character", str(row)) for row in (1, 2, 3)]


@pytest.mark.parametrize("spec", ["wikpedia:path={0}", "wikpedia:language=fr", "foo:path={0},bar=2"])
def test_a_misspelt_corpus_is_no_file(tmp_path: Path, spec: str) -> None:
    (tmp_path / "w.txt").write_text("word\n")
    with pytest.raises(UsageError, match="no corpus or file"):
        check_corpus(spec.format(tmp_path / "w.txt"))
