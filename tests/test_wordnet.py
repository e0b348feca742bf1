"""WordNet's domain, depth and gloss, against sets counted from nltk's own relations."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from neglabel import UsageError
from neglabel.corpora import check_corpus, open_corpus, rows_expected
from neglabel.corpora.subtree import Range, _range
from neglabel.corpora.wordnet import reader

from .conftest import ROOT


@cache
def relations() -> dict[str, tuple[str, list[str], list[str]]]:
    """Nouns and verbs: name → (gloss, names of hypernyms, instances' too, lemmas)."""
    found = {}
    for letter in "nv":
        for synset in reader().all_synsets(letter):
            above = synset.hypernyms() + synset.instance_hypernyms()
            found[synset.name()] = (synset.definition(), [s.name() for s in above], synset.lemma_names())
    return found


def below(top: str) -> set[str]:
    """``top`` and its descendants, walked downwards."""
    children: dict[str, list[str]] = {}
    for name, (_, above, _) in relations().items():
        for parent in above:
            children.setdefault(parent, []).append(name)
    found, todo = {top}, [top]
    while todo:
        for child in children.get(todo.pop(), []):
            if child not in found:
                found.add(child)
                todo.append(child)
    return found


def depths() -> dict[str, int]:
    """Of every synset with a way to a top: the shortest way's length, from the tops downwards."""
    level = [name for name, (_, above, _) in relations().items() if not above]
    found = dict.fromkeys(level, 0)
    children: dict[str, list[str]] = {}
    for name, (_, above, _) in relations().items():
        for parent in above:
            children.setdefault(parent, []).append(name)
    while level:
        level = [c for name in level for c in children.get(name, []) if c not in found]
        found.update((name, 1 + min(found[p] for p in relations()[name][1] if p in found)) for name in level)
    return found


def expected_words(keep: set[str], letter: str) -> set[str]:
    found = relations()
    return {n.replace("_", " ").lower() for name in keep if name.split(".")[-2] == letter for n in found[name][2]}


@pytest.mark.soak
def test_domain_is_a_subtree() -> None:
    words = list(open_corpus("wordnet:pos=n,domain=artifact.n.01+food.n.01"))
    keep = below("artifact.n.01") | below("food.n.01")
    assert {w.key for w in words} <= keep
    assert {w.text.lower() for w in words} == expected_words(keep, "n")
    assert all(w.gloss == relations()[w.key][0] for w in words)
    # An instance is below its class; adjectives are below nothing.
    assert "Einstein" in {w.text for w in open_corpus({"name": "wordnet", "domain": ["scientist.n.01"]})}
    assert not list(open_corpus("wordnet:pos=a,domain=artifact.n.01"))


@pytest.mark.parametrize("letter", [pytest.param("n", marks=pytest.mark.soak), "v"])
def test_depth_is_the_shortest_way_up(letter: str) -> None:
    depth = depths()
    words = list(open_corpus(f"wordnet:pos={letter},depth=2-4"))
    keep = {name for name, steps in depth.items() if 2 <= steps <= 4}
    assert {w.key for w in words} <= keep
    assert {w.text.lower() for w in words} == expected_words(keep, letter)
    assert depth["entity.n.01"] == 0
    assert {w.pos for w in open_corpus("wordnet:pos=a+r,depth=-3")} == {"adjective", "adverb"}
    assert not list(open_corpus("wordnet:pos=a,depth=1-"))


def test_every_part_of_speech_has_glosses_and_counts() -> None:
    words = list(open_corpus("wordnet:pos=v+r"))
    assert [sum(w.pos == pos for w in words) for pos in ("verb", "adverb")] == [11_529, 4_481]
    assert rows_expected(["wordnet:pos=v+r"]) == len(words)
    assert rows_expected(["wordnet:depth=3-"]) is None
    assert all(w.gloss for w in words)
    assert next(w.gloss for w in words if w.text == "breathe") == "draw air into, and expel out of, the lungs"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("wordnet:domain=artefakt.n.01", "no synset `artefakt.n.01`; write it as WordNet names it: artifact.n.01"),
        ("wordnet:domain=dog", "no synset `dog`"),
        ("wordnet:depth=x", "option `depth`='x': is MIN-MAX, MIN-, -MAX or one number"),
        ("wordnet:depth=5-3", "ends before it begins"),
    ],
)
def test_bad_selectors_get_one_sentence(spec: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        check_corpus(spec)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_ranges_as_they_are_written() -> None:
    wanted: dict[Any, Range] = {
        "3-7": Range(3, 7), "3-": Range(3), "-7": Range(0, 7), "5": Range(5, 5), 5: Range(5, 5), (2, 3): Range(2, 3),
    }  # fmt: skip
    assert {written: _range(written) for written in wanted} == wanted
    assert _range(str(Range(2, 9))) == Range(2, 9)


@given(st.text() | st.integers() | st.lists(st.integers(), max_size=3) | st.none() | st.booleans())
def test_any_depth_is_a_range_or_one_sentence(value: Any) -> None:
    try:
        check_corpus({"name": "wordnet", "depth": value})
    except UsageError as error:
        assert "depth" in str(error)  # noqa: PT017


@settings(max_examples=1, deadline=None)
@example(data=b"\0", where="index.adv")
@given(data=st.binary(min_size=1, max_size=200), where=st.sampled_from(["data.adv", "index.adv", "lexnames"]))
def test_broken_data_raises_nothing_else(data: bytes, where: str) -> None:
    """In a process of its own: nltk keeps what it has found."""
    with tempfile.TemporaryDirectory() as folder:
        corpora = Path(folder) / "corpora"
        corpora.mkdir()
        with zipfile.ZipFile(ROOT / "corpora" / "nltk_data" / "corpora" / "wordnet.zip") as archive:
            archive.extractall(corpora)
        file = corpora / "wordnet" / where
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 3] + data + content[len(content) // 3 + 50 :])
        for path in (Path(folder), *Path(folder).rglob("*")):
            path.chmod(path.stat().st_mode & ~0o022)
        code = (
            "from neglabel import NeglabelError\nfrom neglabel.corpora import open_corpus\n"
            "try: print(sum(1 for _ in open_corpus('wordnet:pos=r')))\nexcept NeglabelError as error: print(error)"
        )
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env={"NLTK_DATA": folder, "PATH": ""}
        )
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1
