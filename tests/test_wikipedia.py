"""Titles of Wikipedia: dumps of titles, SQL dumps, folders of the data set; nothing lost, nothing swallowed."""

from __future__ import annotations

import gzip
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neglabel import NeglabelError
from neglabel.corpora import Candidate, Rejection, check_corpus, open_corpus, provenance
from neglabel.corpora import sql_dump as sql
from neglabel.corpora.titles import is_date, is_list, is_number, without_suffix

HEAD = """-- MySQL dump 10.19  Distrib 10.3.38-MariaDB
DROP TABLE IF EXISTS `page`;
CREATE TABLE `page` (
  `page_id` int(8) unsigned NOT NULL AUTO_INCREMENT,
  `page_namespace` int(11) NOT NULL DEFAULT 0,
  `page_title` varbinary(255) NOT NULL DEFAULT '',
  `page_is_redirect` tinyint(1) unsigned NOT NULL DEFAULT 0,
  `page_random` double unsigned NOT NULL DEFAULT 0,
  `page_content_model` varbinary(32) DEFAULT NULL,
  PRIMARY KEY (`page_id`),
  UNIQUE KEY `page_name_title` (`page_namespace`,`page_title`)
) ENGINE=InnoDB;
LOCK TABLES `page` WRITE;
"""
TAIL = "UNLOCK TABLES;\n-- Dump completed on 2024-01-01  0:00:00\n"
Row = tuple[int, str, int]


def read(path: Path, options: str = "") -> tuple[list[Candidate], list[Rejection]]:
    rejected: list[Rejection] = []
    words = list(open_corpus(f"wikipedia:path={path}{options}", rejected.append))
    return words, rejected


def outcome(path: Path, options: str = "") -> tuple[list[Candidate], list[Rejection]] | str:
    """What is read, or the sentence of the error; any other exception is a failure."""
    try:
        return read(path, options)
    except NeglabelError as error:
        return str(error)


def quoted(text: str) -> str:
    """As mysqldump writes a string."""
    for plain, escaped in (("\\", "\\\\"), ("'", "\\'"), ('"', '\\"'), ("\n", "\\n"), ("\0", "\\0"), ("\x1a", "\\Z")):
        text = text.replace(plain, escaped)
    return f"'{text}'"


def dump(rows: list[Row], a_statement: int = 3) -> str:
    values = [f"({i},{ns},{quoted(title)},{r},0.5,NULL)" for i, (ns, title, r) in enumerate(rows, 1)]
    parts = [values[i : i + a_statement] for i in range(0, len(values), a_statement)]
    return HEAD + "".join(f"INSERT INTO `page` VALUES {','.join(part)};\n" for part in parts) + TAIL


ROWS: list[Row] = [
    (0, "Anarchism", 0), (1, "Talk_page", 0), (0, "Redirected", 1), (0, "It's_(a)_\"test\",_);", 0),
    (0, "Back\\slash", 0), (0, "日本", 0), (10, "Infobox", 0), (0, "),(7,0,'Fake',0", 0), (0, "end\\'", 0),
    (0, "AC/DC", 0),
]  # fmt: skip
ARTICLES = ["Anarchism", 'It\'s (a) "test", );', "Back\\slash", "日本", "),(7,0,'Fake',0", "end\\'", "AC/DC"]


@pytest.mark.parametrize("ending", ["sql", "sql.gz"])
@pytest.mark.parametrize("a_statement", [1, 4, 100])
def test_sql_dump_gives_the_articles(tmp_path: Path, ending: str, a_statement: int) -> None:
    path = tmp_path / f"jawiki-20240101-page.{ending}"
    data = dump(ROWS, a_statement).encode()
    path.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    words, rejected = read(path)
    assert [w.text for w in words] == [t.replace("_", " ") for t in ARTICLES]
    assert not rejected
    assert {(w.language, w.source) for w in words} == {("ja", path.name)}
    assert [w.key for w in words] == ["1", "4", "5", "6", "8", "9", "10"]


def test_older_columns_are_found_by_name(tmp_path: Path) -> None:
    path = tmp_path / "page.sql"
    path.write_text(
        "CREATE TABLE `page` (\n  `page_id` int,\n  `page_namespace` int,\n  `page_title` varbinary(255),\n"
        "  `page_restrictions` tinyblob,\n  `page_is_redirect` tinyint\n);\n"
        "INSERT INTO `page` VALUES (1,0,'One','edit=sysop:move=sysop',0),(2,0,'Two','',1);\n"
        "INSERT INTO `page` (`page_is_redirect`, `page_title`, `page_namespace`) VALUES (0,'Three',0),\n(1,'Four',0);\n"
    )
    assert [w.text for w in read(path)[0]] == ["One", "Three"]


def test_windows_are_no_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows, whatever the pieces in which the dump is read."""
    path = tmp_path / "page.sql"
    path.write_text(dump(ROWS * 20, 50))
    whole = read(path)
    monkeypatch.setattr(sql, "MAX_ROW", 120)
    for chunk in (1, 7, 64, 333):
        monkeypatch.setattr(sql, "CHUNK", chunk)
        assert read(path) == whole


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-2, 3), st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 1))))
def test_any_title_survives_the_dump(rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.sql"
        path.write_text(dump(rows), encoding="utf-8", newline="")
        words, rejected = read(path)
    wanted = [title.replace("_", " ") for ns, title, redirect in rows if ns == 0 and not redirect]
    assert Counter([w.text for w in words] + [r.text for r in rejected]) == Counter(wanted)
    assert {r.reason for r in rejected} <= {"empty", "control-character"}


def test_every_cut_of_a_dump_is_noticed(tmp_path: Path) -> None:
    data = dump(ROWS).encode()
    path = tmp_path / "page.sql"
    first = data.index(b"INSERT")
    for length in range(first + 30, len(data) - 40, 3):
        path.write_bytes(data[:length])
        with pytest.raises(NeglabelError, match=r"cut mid-statement|lacks mysqldump's last line") as error:
            read(path)
        assert "\n" not in str(error.value)


def test_a_malformed_row_stops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "page.sql"
    text = dump([*ROWS[:1], (0, "Next", 0)], 1)
    path.write_text(text.replace("VALUES (1", "VALUES (1),(x,y,'z',0),(5,0,Unquoted,0),(6,0,(,0),(1", 1))
    words, rejected = read(path)
    assert [(w.text, w.key) for w in words] == [("Anarchism", "5"), ("Next", "6")]
    assert [(r.reason, r.key) for r in rejected] == [("malformed-row", str(i)) for i in (1, 2, 3, 4)]
    # A quote that never ends takes its own line with it, not the next.
    path.write_text(text.replace("VALUES (1", "VALUES (6,0,'Odd,0),(1", 1))
    words, rejected = read(path)
    assert words[-1].text == "Next"
    assert {r.reason for r in rejected} == {"malformed-row"}


@pytest.mark.parametrize("name", ["frwiki-x-all-titles-in-ns0.gz", "frwiki-x-page.sql.gz"])
def test_half_a_gz_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    rows: list[Row] = [(0, f"Titre_{i * 7919 % 10007}", 0) for i in range(5_000)]
    data = gzip.compress((dump(rows) if "sql" in name else "\n".join(t for _, t, _ in rows)).encode())
    path.write_bytes(data)
    assert len(read(path)[0]) == 5_000
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(NeglabelError, match="damaged or cut short") as error:
        read(path)
    assert "\n" not in str(error.value)
    path.write_bytes(b"no gz at all")
    with pytest.raises(NeglabelError, match="damaged or cut short"):
        check_corpus(f"wikipedia:path={path}")


OPTIONS = [
    ("", ["Mercury (planet)", "Foo (a (b))", "List of birds", "1984", "July 4", "Ein recht langer Titel",
          "東京（曖昧）"]),
    (",disambiguation=strip,lists=drop", ["Mercury", "Foo", "1984", "July 4", "Ein recht langer Titel", "東京"]),
    (",disambiguation=drop,numbers=drop", ["List of birds", "July 4", "Ein recht langer Titel"]),
    (",dates=drop,max_words=3", ["Mercury (planet)", "Foo (a (b))", "List of birds", "1984", "東京（曖昧）"]),
    (",max_chars=6", ["1984", "July 4", "東京（曖昧）"]),
]  # fmt: skip


@pytest.mark.parametrize(("options", "kept"), OPTIONS)
def test_options_choose_titles(tmp_path: Path, options: str, kept: list[str]) -> None:
    path = tmp_path / "zh_yuewiki-20240101-all-titles-in-ns0"
    titles = OPTIONS[0][1]
    path.write_text("page_title\n" + "\n".join(t.replace(" ", "_") for t in titles) + "\n", encoding="utf-8")
    words, rejected = read(path, options)
    assert [w.text for w in words] == kept
    assert (rejected[0].reason, len(words) + len(rejected)) == ("header", len(titles) + 1)
    assert {w.language for w in words} == {"yue"}
    assert {w.language for w in read(path, ",language=en")[0]} == {"en"}
    assert provenance(f"wikipedia:path={path}")["dump"] == path.name


def test_forms_of_titles() -> None:
    dates = ["4 July", "1990s", "The 1990s", "44 BC", "1987年", "1月1日", "XIXe siècle", "1st century BC", "May 2001",
             "1er janvier", "52 av. J.-C.", "20世纪"]  # fmt: skip
    assert [d for d in dates if not is_date(d)] == []
    assert [d for d in ["The 4400", "Mars 2020", "May", "D.C.", "1984", "B-52", "Apollo 13", ""] if is_date(d)] == []
    assert all(map(is_number, ["1984", "3.14", "24/7", "½"]))
    assert not any(map(is_number, ["!!!", "B-52", ""]))
    assert all(map(is_list, ["List of birds", "Liste des rois", "Liste d'oiseaux", "日本神社列表", "Список птиц"]))
    assert not any(map(is_list, ["Listen to Me", "列表", "Liste", "Lists"]))
    assert [without_suffix(t) for t in ["(500)", "x)", "(a) b", "a (b) (c)"]] == ["(500)", "x)", "(a) b", "a (b)"]


@pytest.mark.parametrize(
    ("file", "rows", "language"), [("enwiki-vital-titles", 49_946, "en"), ("zhwiki-titles", 171_176, "zh")]
)
def test_no_real_title_is_lost(shared_data: Path, file: str, rows: int, language: str) -> None:
    path = shared_data / "titles" / f"{file}.txt"
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    words, rejected = read(path)
    assert len(lines) == rows == len(words) + len(rejected)
    assert {w.language for w in words} == {language}
    seen = {int(w.key): w.text for w in words} | {int(r.key): r.text for r in rejected}
    assert [seen[i] for i in range(1, rows + 1)] == [line.replace("_", " ") for line in lines]
    strict = ",disambiguation=strip,lists=drop,numbers=drop,dates=drop,max_words=6"
    words, rejected = read(path, strict)
    assert len(words) + len(rejected) == rows
    assert {r.reason for r in rejected} - {"format-character"} == {"list", "number", "date", "too-long"}


@pytest.mark.parametrize("name", ["t.txt", "t.gz", "page.sql", "page.sql.gz"])
@settings(max_examples=80, deadline=None)
@given(data=st.binary(max_size=400), plain=st.booleans())
def test_arbitrary_bytes_raise_nothing_else(name: str, data: bytes, plain: bool) -> None:
    if name.startswith("page"):
        data = HEAD.encode() + b"INSERT INTO `page` VALUES " + data + b";\n"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(gzip.compress(data) if name.endswith("gz") and plain else data)
        found = outcome(path, ",disambiguation=strip,lists=drop,numbers=drop,dates=drop")
    if isinstance(found, str):
        assert "\n" not in found
    elif name.startswith("t"):
        content = data.removeprefix(b"\xef\xbb\xbf")
        lines = content.count(b"\n") + (not content.endswith(b"\n") and bool(content))
        assert len(found[0]) + len(found[1]) == lines


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["(", ")", "'", "\\", ",", ";", "\n", "1", "0", "x", "),(", "INSERT INTO `page` VALUES "]))
)
def test_sql_like_noise_raises_nothing_else(parts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.sql"
        path.write_text(HEAD.partition("\n")[2] + "INSERT INTO `page` VALUES " + "".join(parts) + ";\n")
        found = outcome(path)
    assert not isinstance(found, str) or "\n" not in found


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    (tmp_path / "other.sql").write_text("CREATE TABLE `text` (\n  `old_id` int\n);\nINSERT INTO `text` VALUES (1);\n")
    for spec, says in (
        ("wikipedia", "needs `path` of a dump, or the `language` of an edition"),
        (f"wikipedia:path={tmp_path}/no.gz", "does not exist"),
        (f"wikipedia:path={tmp_path}/other.sql", "holds no table `page`"),
        ("wikipedia:path=x,lists=dorp", "option `lists`='dorp': Input should be 'keep' or 'drop'"),
    ):
        with pytest.raises(NeglabelError, match=says):
            check_corpus(spec)


def test_folder_of_the_data_set_is_streamed(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "20231101.fr"
    folder.mkdir()
    table = pa.table({"id": ["1", "2", "3"], "title": ["Chien (animal)", None, "Chat"], "text": ["…"] * 3})
    pq.write_table(table, folder / "train-00000-of-00001.parquet")
    words, rejected = read(folder, ",language=fr,disambiguation=strip")
    assert [(w.text, w.language, w.key) for w in words] == [("Chien", "fr", "1"), ("Chat", "fr", "3")]
    assert [r.reason for r in rejected] == ["malformed-row"]
