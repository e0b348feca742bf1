"""WordNet's `version`: where each is looked for, what says which it is, and what is said of one that isn't there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from neglabel import UsageError
from neglabel.corpora import check_corpus
from neglabel.corpora.wordnet import Options

from .conftest import ROOT

PACKAGED = ROOT / "corpora" / "nltk_data" / "corpora" / "wordnet.zip"
SPEC = "wordnet:pos=r"
READ = """
import json, sys
from neglabel import NeglabelError
from neglabel.corpora import open_corpus, provenance
for spec in sys.argv[1:]:
    try:
        words = list(open_corpus(spec))
        print(json.dumps([[w.text for w in words], sorted({w.source for w in words}), provenance(spec)]))
    except NeglabelError as error:
        print(json.dumps(str(error)))
"""


def read(nltk_data: Path, *versions: str) -> list[Any]:
    """In a process of its own, with nothing of nltk's but ``nltk_data``: nltk keeps what it has found."""
    specs = [f"{SPEC},version={version}" if version else SPEC for version in versions]
    result = subprocess.run(
        [sys.executable, "-c", READ, *specs], capture_output=True, text=True,
        env={"NLTK_DATA": str(nltk_data), "PATH": "", "HOME": str(nltk_data), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def nltk_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3.1 as a folder and 2022 as a zip, made from 3.0: another licence line, and `quickly` spelled otherwise."""
    folder = tmp_path_factory.mktemp("nltk_data")
    corpora = folder / "corpora"
    corpora.mkdir()
    with zipfile.ZipFile(PACKAGED) as archive:
        archive.extractall(corpora)
    (corpora / "wordnet").rename(corpora / "wordnet31")
    for file in (corpora / "wordnet31").glob("data.*"):
        text = file.read_bytes().replace(b"WordNet 3.0 Copyright", b"WordNet 3.1 Copyright")
        file.write_bytes(text.replace(b" quickly ", b" quickle "))
    index = corpora / "wordnet31" / "index.adv"
    index.write_bytes(index.read_bytes().replace(b"\nquickly ", b"\nquickle "))
    later = corpora / "wordnet2022"
    shutil.copytree(corpora / "wordnet31", later)
    for file in later.glob("data.*"):
        file.write_bytes(file.read_bytes().replace(b"WordNet 3.1 Copyright", b"WordNet of 2022 so so"))
    with zipfile.ZipFile(corpora / "wordnet2022.zip", "w") as archive:
        for file in later.iterdir():
            archive.write(file, f"wordnet2022/{file.name}")
    shutil.rmtree(later)
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o022)
    return folder


def test_each_version_is_read_from_its_own_place(nltk_data: Path) -> None:
    first, later, missing = read(nltk_data, "3.1", "2022", "2021")
    for words, _, _ in (first, later):
        assert ("quickle" in words, "quickly" in words, len(words)) == (True, False, 4_481)
    assert (first[1], first[2]["version"], first[2]["licence"][:11]) == (["wordnet-3.1"], "3.1", "WordNet 3.1")
    # Its data don't say what they are.
    assert (later[1], later[2]["version"], later[2]["licence"][:9]) == (["wordnet-2022"], "2022", "CC BY 4.0")
    assert missing == (
        "corpus wordnet: no wordnet2021 in nltk's data; run `python -m nltk.downloader wordnet2021`, or put it into "
        "`corpora/wordnet2021` of the folder that NLTK_DATA names"
    )


def test_by_default_it_is_what_nltk_has_as_wordnet(nltk_data: Path, tmp_path: Path) -> None:
    own = tmp_path / "corpora" / "wordnet"
    shutil.copytree(nltk_data / "corpora" / "wordnet31", own)
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o022)
    assert read(tmp_path, "")[0][1] == ["wordnet-3.1"]
    (own / "lexnames").write_text("nonsense")
    damaged, packaged = read(tmp_path, "", "3.0")
    assert damaged.startswith("WordNet can't be read (")
    assert packaged[1] == ["wordnet-3.0"]
    assert "quickly" in packaged[0]


def test_an_unknown_version_names_the_valid_ones() -> None:
    with pytest.raises(UsageError) as error:
        check_corpus("wordnet:version=4")
    assert str(error.value) == "corpus wordnet, option `version`='4': Input should be '3.0', '3.1', '2021' or '2022'"


def test_a_version_may_be_a_number_in_toml() -> None:
    for written, version in ((3.0, "3.0"), (3.1, "3.1"), (2022, "2022"), ("2021", "2021")):
        assert Options.model_validate({"version": written}).version == version
