"""Open Multilingual Wordnet: the real files against a direct count, both layouts, and what is refused."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

import nltk.data
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neglabel import NeglabelError, UsageError
from neglabel.corpora import Candidate, Rejection, check_corpus, open_corpus, provenance
from neglabel.corpora.languages import of_dump, of_wikipedia

POS = {"n": "noun", "a": "adjective", "s": "adjective", "v": "verb", "r": "adverb"}
TAB = (
    "# Petit Wordnet\tfra\thttp://example.org/\tCC BY 4.0 \n"
    "00001740-n\tfra:lemma\tentité\n"
    "00001740-n\tfra:def\t0\tce qui existe\n"
    "02084071-n\tfra:lemma\tChien\n"
    "02084071-n\tlemma\tchien de garde\n"
    "02084072-n\tfra:lemma\tchien\n"
    "00001000-a\tfra:lemma\trouge\n"
    "00001001-s\tfra:lemma\tvif\n"
    "no synset\tfra:lemma\tmal\n"
    "00001002-n\n"
    "00002000-v\tfra:lemma\tcourir\n"
)


def read(spec: str) -> tuple[list[Candidate], list[Rejection]]:
    rejected: list[Rejection] = []
    return list(open_corpus(f"multilingual:{spec}", rejected.append)), rejected


def private(root: Path) -> Path:
    """nltk reads only what no other account could have written."""
    for path in (root, *root.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o022)
    return root


def write(root: Path, files: dict[str, str], release: str = "omw-2.0") -> Path:
    for name, text in files.items():
        path = root / "corpora" / release / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return private(root)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "nltk_data"
    root.mkdir()
    monkeypatch.setattr(nltk.data, "path", [str(root)])
    return root


@pytest.mark.parametrize(
    ("code", "language"),
    [("arb", "ar"), ("cmn", "zh"), ("fra", "fr"), ("ita", "it"), ("nld", "nl"), ("pol", "pl"), ("por", "pt")],
)
def test_real_lemmas_against_a_direct_count(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, code: str, language: str
) -> None:
    monkeypatch.setattr(nltk.data, "path", [str(shared_data / "nltk_data")])
    path = shared_data / "nltk_data" / "corpora" / "omw-2.0" / code / f"wn-data-{code}.tab"
    direct: set[tuple[str, str]] = set()
    # Not splitlines: some lemmas hold U+0085.
    for line in path.read_text(encoding="utf-8").split("\n"):
        fields = line.rstrip("\r").split("\t")
        if len(fields) == 3 and fields[1] in ("lemma", f"{code}:lemma"):
            lemma = fields[2].strip().lower()
            if code == "cmn":
                lemma = lemma.replace("+的", "的").replace("+地", "地")
            direct.add((lemma, POS[fields[0][-1]]))
    words, rejected = read(f"language={language},pos=n+a+v+r")
    assert len(words) + len(rejected) == len(direct)
    assert Counter(w.pos for w in words) <= Counter(pos for _, pos in direct)
    assert {r.reason for r in rejected} <= {"control-character", "format-character"}
    assert {(w.language, w.source) for w in words} == {(language, f"omw-2.0/{code}")}
    assert {(w.text.lower(), w.pos) for w in words} <= direct
    assert any(" " in w.text for w in words)
    # The same by its other code, and by part of speech in the order asked for.
    some, _ = read(f"language={code},pos=v+n")
    assert some == [w for w in words if w.pos == "verb"] + [w for w in words if w.pos == "noun"]


@pytest.mark.filterwarnings("ignore:.*invalid offset")
def test_words_agree_with_nltks_own_reader(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nltk.corpus.reader import CorpusReader, WordNetCorpusReader

    monkeypatch.setattr(nltk.data, "path", [str(shared_data / "nltk_data")])
    corpora = shared_data / "nltk_data" / "corpora"
    omw_root, root = (nltk.data.FileSystemPathPointer(str(corpora / name)) for name in ("omw-2.0", "wordnet"))
    wordnet = WordNetCorpusReader(root, CorpusReader(omw_root, r".*/wn-data-.*\.tab", encoding="utf8"))
    names = {name.replace("_", " ").lower() for name in wordnet.all_lemma_names(pos="n", lang="pol")}
    assert {w.text.lower() for w in read("language=pl,pos=n")[0]} == names


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("release", ["omw-2.0", "omw-1.4"])
def test_every_layout_gives_the_same_words(data: Path, release: str, packed: bool) -> None:
    write(data, {"fra/wn-data-fra.tab": TAB, "fra/LICENSE": "free"}, release)
    if packed:
        folder = data / "corpora" / release
        with zipfile.ZipFile(data / "corpora" / f"{release}.zip", "w") as archive:
            for path in sorted(folder.rglob("*.*")):
                archive.write(path, path.relative_to(data / "corpora").as_posix())
        shutil.rmtree(folder)
        private(data)
    words, rejected = read("language=fr,pos=n+a+v")
    assert [(w.text, w.pos, w.key) for w in words] == [
        ("entité", "noun", "00001740-n"), ("Chien", "noun", "02084071-n"), ("chien de garde", "noun", "02084071-n"),
        ("rouge", "adjective", "00001000-a"), ("vif", "adjective", "00001001-s"), ("courir", "verb", "00002000-v"),
    ]  # fmt: skip
    assert [(r.reason, r.key) for r in rejected] == [("malformed-row", "9"), ("malformed-row", "10")]
    assert {w.source for w in words} == {f"{release}/fra"}
    about = provenance("multilingual:language=fr")
    assert about["release"] == release
    assert about["languages"] == {"fr": {"name": "Petit Wordnet", "licence": "CC BY 4.0"}}


def test_languages_are_chosen_and_ordered(data: Path) -> None:
    thai = "# Thai\ttha\turl\twordnet\n00001740-n\ttha:lemma\tสุนัข\n"
    write(data, {
        "fra/wn-data-fra.tab": TAB, "tha/wn-data-tha.tab": thai, "mcr/wn-data-spa.tab": thai.replace("tha", "spa"),
        "iwn/wn-data-ita.tab": "00001740-n\tita:lemma\taltro\n", "ita/wn-data-ita.tab": "00001740-n\tita:lemma\tente\n",
    })  # fmt: skip
    words, _ = read("language=th+FRA+it,pos=n")
    assert [(w.text, w.language) for w in words] == [
        ("สุนัข", "th"), ("entité", "fr"), ("Chien", "fr"), ("chien de garde", "fr"), ("ente", "it"),
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"no language `xx` in omw-2\.0; valid: es \(spa\), fr \(fra\), it"):
        check_corpus("multilingual:language=xx")
    with pytest.raises(UsageError, match="English is the corpus `wordnet`"):
        check_corpus({"name": "multilingual", "language": ["en"]})
    with pytest.raises(UsageError, match="needs `language`"):
        check_corpus("multilingual")


def test_missing_data_says_how_to_get_it(data: Path) -> None:
    with pytest.raises(UsageError, match=r"no omw-2\.0 or omw-1\.4 .*nltk\.downloader omw-2\.0.*NLTK_DATA") as error:
        check_corpus("multilingual:language=fr")
    assert "\n" not in str(error.value)
    write(data, {"fra/wn-data-fra.tab": TAB})
    with pytest.raises(UsageError, match=r"no omw-1\.4 in"):
        check_corpus("multilingual:language=fr,release=omw-1.4")


def test_data_that_others_could_write_is_refused_in_one_sentence(data: Path) -> None:
    pathsec = pytest.importorskip("nltk.pathsec", reason="nltk before 3.10 reads data of any mode")
    if os.name != "posix" or not pathsec.ENFORCE:
        pytest.skip("nltk judges modes on POSIX only")
    write(data, {"fra/wn-data-fra.tab": TAB})
    (data / "corpora" / "omw-2.0" / "fra").chmod(0o777)
    with pytest.raises(NeglabelError, match=r"nltk refuses .*another account could have written.*chmod") as error:
        check_corpus("multilingual:language=fr")
    assert "\n" not in str(error.value)


def test_a_broken_archive_is_one_sentence(data: Path) -> None:
    (data / "corpora").mkdir()
    (data / "corpora" / "omw-2.0.zip").write_bytes(b"PK\x03\x04 no archive")
    private(data)
    with pytest.raises(NeglabelError) as error:
        check_corpus("multilingual:language=fr")
    assert "\n" not in str(error.value)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300) | st.text("0123456789-nvasr\tfra:lemma \n#é").map(lambda text: text.encode()))
def test_arbitrary_bytes_raise_nothing_else(content: bytes) -> None:
    before = nltk.data.path[:]
    with tempfile.TemporaryDirectory() as folder:
        root = write(Path(folder), {"fra/wn-data-fra.tab": ""})
        (root / "corpora" / "omw-2.0" / "fra" / "wn-data-fra.tab").write_bytes(content)
        nltk.data.path[:] = [folder]
        try:
            words, _ = read("language=fr")
            assert all(w.pos in ("noun", "adjective") for w in words)
            provenance("multilingual:language=fr")
        finally:
            nltk.data.path[:] = before


def test_codes_of_wikipedias() -> None:
    assert of_dump("frwiki-20240101-page.sql") == "fr"
    assert of_dump("zh_min_nanwiki-latest-all-titles-in-ns0") == "nan"
    assert of_dump("simplewiki-latest") == "en"
    assert of_dump("commonswiki-latest") == of_dump("words.txt") == ""
    assert of_wikipedia("be-x-old") == "be-tarask"
