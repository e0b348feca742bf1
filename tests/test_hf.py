"""Data sets of a local folder as words, and what is said where the hub can't be reached."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neglabel import NeglabelError, UsageError
from neglabel.corpora import Candidate, Rejection, check_corpus, open_corpus, provenance


def read(spec: str) -> tuple[list[Candidate], list[Rejection]]:
    rejected: list[Rejection] = []
    return list(open_corpus(f"hf:{spec}", rejected.append)), rejected


def folder_of(tmp_path: Path, kind: str) -> Path:
    folder = tmp_path / "words"
    folder.mkdir()
    rows = {"term": ["dog", "bell\x07", None, "chat"], "language": ["en", "en", "en", "fr"], "n": [1, 2, 3, 4]}
    if kind == "parquet":
        pq.write_table(pa.table({**rows, "pos": ["n", "noun", "n", "x"]}), folder / "train.parquet")
        pq.write_table(pa.table({"term": ["only"], "language": [""], "n": [0], "pos": [""]}), folder / "test.parquet")
    elif kind == "csv":
        (folder / "train.csv").write_text("term,language,n\ndog,en,1\nbell\x07,en,2\n,en,3\nchat,fr,4\n")
    elif kind == "jsonl":
        (folder / "data.jsonl").write_text(
            '{"term": "dog", "language": "en"}\n{"term": "bell\\u0007", "language": "en"}\n'
            '{"term": null, "language": "en"}\n{"term": "chat", "language": "fr"}\n'
        )
    else:
        import datasets

        saved = datasets.Dataset.from_dict(rows)
        if kind == "saved":
            saved.save_to_disk(str(folder))
        else:
            datasets.DatasetDict({"train": saved}).save_to_disk(str(folder))
    return folder


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "saved", "saved-dict"])
def test_local_folder_of_any_kind(tmp_path: Path, kind: str) -> None:
    folder = folder_of(tmp_path, kind)
    words, rejected = read(f"path={folder},column=term")
    assert [(w.text, w.language, w.source, w.key) for w in words] == [
        ("dog", "en", "words", "1"), ("chat", "fr", "words", "4"),
    ]  # fmt: skip
    assert [(r.reason, r.key) for r in rejected] == [("control-character", "2"), ("malformed-row", "3")]
    with pytest.raises(UsageError, match=r"no column `text` \(it has .*term.*\)") as error:
        check_corpus(f"hf:path={folder}")
    assert "\n" not in str(error.value)
    about = provenance({"name": "hf", "path": str(folder), "column": "term"})
    assert (about["corpus"], about["dataset"], about["split"]) == ("hf", "words", "train")


def test_parts_of_speech_and_splits(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "parquet")
    assert [w.pos for w in read(f"path={folder},column=term")[0]] == ["noun", ""]
    words, _ = read(f"path={folder},column=term,split=test,pos=verb,language=de")
    assert [(w.text, w.pos, w.language) for w in words] == [("only", "verb", "de")]
    with pytest.raises(UsageError, match=r"train|split"):
        check_corpus(f"hf:path={folder},column=term,split=validation")


def test_what_can_t_be_opened_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for spec, says in (
        ("hf", "takes either `dataset`"),
        ("hf:dataset=a/b,path=c", "takes either `dataset`"),
        (f"hf:path={tmp_path}/none", "is no folder"),
        (f"hf:path={tmp_path}/empty", "holds no data files"),
        (f"hf:path={tmp_path},pos=nuon", "option `pos`='nuon'"),
    ):
        with pytest.raises(UsageError, match=says) as error:
            check_corpus(spec)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("spec", ["hf:dataset=owner/words,column=word", "wikipedia:language=fr"])
def test_without_a_network_it_says_so(spec: str) -> None:
    code = "from neglabel import NeglabelError\nfrom neglabel.corpora import check_corpus\n"
    code += f"try:\n check_corpus({spec!r})\nexcept NeglabelError as error:\n print(type(error).__name__, error)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    assert result.stdout.startswith("NeglabelError"), result.stderr
    assert "the Hugging Face hub can't be reached; download the data set and name its folder" in result.stdout
    assert len(result.stdout.splitlines()) == 1


@pytest.mark.parametrize("name", ["train.csv", "train.parquet", "train.jsonl", "train.txt", "state.json"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_else(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    found = ""
    try:
        check_corpus(f"hf:path={tmp_path}")
        read(f"path={tmp_path}")
    except NeglabelError as error:
        found = str(error)
    assert "\n" not in found
