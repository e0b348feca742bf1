"""Damage that was once a traceback, a gigabyte or a file elsewhere; each is one sentence now, or counted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from neglabel import NeglabelError
from neglabel.corpora import check_corpus, open_corpus
from neglabel.pipeline import store
from neglabel.pipeline.candidates import open_stores
from neglabel.pipeline.files import sha256
from neglabel.pipeline.image_shards import ImageShards
from neglabel.pipeline.images import MAX_PIXELS, decode, reason
from neglabel.pipeline.negatives import load_negatives
from neglabel.pipeline.shards import beyond_of, records_of

RECORD: dict[str, Any] = {
    "file": "shard-00000.parquet", "rows": 1, "sha256": "0", "words_sha256": "0", "rejected_file": "",
    "rejected_rows": 0, "rejected_sha256": "", "counts": {"candidates": 1, "by_pos": {"noun": 1}},
}  # fmt: skip
DEEP = b"[" * 200_000


def test_a_healthy_record_is_taken() -> None:
    assert records_of({"shards": [RECORD]}, Path("m")) == [RECORD]


@pytest.mark.parametrize("change", [
    {"file": ".."}, {"file": "../shard-00000.parquet"}, {"file": "/x"}, {"file": "manifest.json"}, {"rows": -1},
    {"rows": 10**30}, {"rows": True}, {"rows": "1"}, {"rejected_file": "."}, {"counts": {"candidates": {"a": 1}}},
    {"counts": {"by_pos": 3}}, {"counts": {"by_pos": {"noun": -1}}}, {"counts": [1]}, {"counts": {"candidates": None}},
])  # fmt: skip
def test_a_shard_s_record_names_files_of_its_folder_and_counts(change: dict[str, Any]) -> None:
    for read, value in ((records_of, {"shards": [RECORD | change]}), (beyond_of, {"beyond": {"3": RECORD | change}})):
        with pytest.raises(NeglabelError, match="m is damaged"):
            read(value, Path("m"))


def table(**columns: Any) -> pa.Table:
    embedding = store.embedding_array(np.eye(3, dtype=np.float32))
    return pa.table({"text": ["a", "b", "c"], "embedding": embedding, **columns})


def test_nested_without_end_is_damage(tmp_path: Path) -> None:
    for metadata in (DEEP, b'{"format": "neglabel-negatives", "version": 1, "settings": [1]}',
                     b'{"format": "neglabel-negatives", "version": 1, "labels": {"prompts": [1]}}'):  # fmt: skip
        pq.write_table(table().replace_schema_metadata({b"neglabel": metadata}), tmp_path / "n.parquet")
        with pytest.raises(NeglabelError, match="metadata is damaged"):
            load_negatives(tmp_path / "n.parquet", "{}", None)
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "manifest.json").write_bytes(DEEP)
    with pytest.raises(NeglabelError, match="can't be read"):
        open_stores([tmp_path / "s"])


def test_columns_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "n.parquet"
    for wrong, said in ((table(text=[1, 2, 3]), "not text"), (table(embedding=[1, 2, 3]), "not a list of floats"),
                        (table().append_column("text", pa.array(["x"] * 3)), "two columns of one name")):  # fmt: skip
        pq.write_table(wrong, path)
        with pytest.raises(NeglabelError, match=said):
            load_negatives(path, "{}", None)
    pq.write_table(table(embedding=[1, 2, 3]), path)
    with pytest.raises(NeglabelError, match="not a list of floats"):
        open_stores([path])


def test_negatives_with_a_text_of_unheard_length_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "n.parquet"
    for words, ok in ((["dog", "x" * 40_000, "cat"], True), (["dog"] * 40 + ["x" * 40_001], False)):
        embedding = store.embedding_array(np.ones((len(words), 4), np.float32))
        pq.write_table(pa.table({"text": words, "embedding": embedding}), path)
        if ok:
            assert load_negatives(path, "{}", None).texts == tuple(words)
            continue
        with pytest.raises(NeglabelError, match=r"near row 33: `text` has a text of 40,001 bytes"):
            load_negatives(path, "{}", None)


def test_a_column_whose_name_is_no_text_is_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "w.parquet"
    pq.write_table(pa.table({"text": ["dog"], "qqqq": ["x"]}), path)
    whole = path.read_bytes()
    assert b"qqqq" in whole
    path.write_bytes(whole.replace(b"qqqq", b"\xff\x98\xff\xff"))
    with pytest.raises(NeglabelError, match=r"w\.parquet"):
        list(open_corpus(str(path)))


def test_a_text_that_is_no_utf8_is_a_damaged_file(tmp_path: Path) -> None:
    offsets, letters = np.array([0, 3, 6], np.int32), b"dog\xff\x98a"
    words = pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(offsets), pa.py_buffer(letters)])
    pq.write_table(pa.table({"text": words}), tmp_path / "w.parquet")
    with pytest.raises(NeglabelError, match=r"w\.parquet is damaged"):
        list(open_corpus(str(tmp_path / "w.parquet")))


@pytest.mark.parametrize("how", ["rows", "bytes"])
def test_a_file_that_claims_more_than_it_can_hold_is_refused_unread(tmp_path: Path, how: str) -> None:
    words = ["dog"] * 2_000_000 if how == "rows" else ["x" * (8 << 20)] * 10
    options = {} if how == "rows" else {"use_dictionary": False}
    pq.write_table(pa.table({"text": words}), tmp_path / "w.parquet", compression="zstd", **options)
    with pytest.raises(NeglabelError, match=f"it says .* {how if how == 'rows' else 'bytes in'}"):
        store.open_parquet(tmp_path / "w.parquet")
    with pytest.raises(NeglabelError, match="it says"):
        check_corpus(str(tmp_path / "w.parquet"))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_is_measured_before_it_is_decoded(tmp_path: Path) -> None:
    side = int(MAX_PIXELS**0.5) + 1
    Image.new("1", (side, side)).save(tmp_path / "x.png")
    with pytest.raises(Image.DecompressionBombError) as caught:
        decode(tmp_path / "x.png")
    assert reason(caught.value) == "more pixels than is safe to decode"
    # pytest sets its own filters of warnings: what a user sees is seen in a process without it.
    code = f"from neglabel.pipeline.images import Path, decode; decode(Path({str(tmp_path / 'x.png')!r}))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 1
    assert "DecompressionBombError" in ran.stderr
    assert "Warning" not in ran.stderr


@pytest.mark.parametrize("damage", ["offset", "column", "zero"])
def test_a_cache_s_shard_that_is_whole_and_wrong_is_made_again(tmp_path: Path, damage: str) -> None:
    """Its checksum is right: it was written so, or the manifest was altered as well."""
    warned: list[str] = []
    shards = ImageShards(tmp_path, {"model": {}}, warned.append)
    shards.write("ab" * 32, 3, {0: np.ones(4, np.float32), 2: np.ones(4, np.float32)})
    assert list(shards.read("ab" * 32)) == [0, 2]
    record = shards.records["ab" * 32]
    vectors = np.zeros((2, 4), np.float32) if damage == "zero" else np.ones((2, 4), np.float32)
    offsets = [0, 9] if damage == "offset" else [0, 2]
    names = {"offset": offsets} if damage != "column" else {"other": offsets}
    store.write_table(shards.folder / record["file"], pa.table({**names, "embedding": store.embedding_array(vectors)}))
    manifest = json.loads((shards.folder / "manifest.json").read_text())
    manifest["shards"][0]["sha256"] = sha256(shards.folder / record["file"])
    (shards.folder / "manifest.json").write_text(json.dumps(manifest))
    again = ImageShards(tmp_path, {"model": {}}, warned.append)
    assert again.read("ab" * 32) == {}
    assert len(warned) == 1
    assert "encoded again" in warned[0]


def test_a_corpus_of_a_name_that_is_too_long_is_one_sentence() -> None:
    for spec in ("x" * 300, "w" * 300 + ":column=x"):
        with pytest.raises(NeglabelError, match="can't be looked for \\(File name too long\\)"):
            check_corpus(spec)
