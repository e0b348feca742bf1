"""All stages on an S3 server: what a local run gives, nothing half published, one sentence an error."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w
from PIL import Image
from pyarrow import fs
from typer.testing import CliRunner

from neglabel import UsageError
from neglabel.cli import app
from neglabel.corpora import open_corpus
from neglabel.corpora.storage import StorageError
from neglabel.corpora.uri import Remote, location
from neglabel.pipeline import files, store, upload
from neglabel.pipeline.config import make
from neglabel.pipeline.encode import encode
from neglabel.pipeline.images import fingerprint, open_images, open_path
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.run import run_file
from neglabel.pipeline.settings import EncodeSettings

from .s3_server import ENVIRONMENT, Proxy, s3_server


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, s3_server() as address:
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": f"http://{address}"}.items():
            patch.setenv(name, value)
        made = fs.S3FileSystem(allow_bucket_creation=True, endpoint_override=address, scheme="http")
        made.create_dir("bucket")
        yield address


@pytest.fixture
def bucket(server: str, request: pytest.FixtureRequest) -> Remote:
    """A folder of the bucket; the endpoint is found in the environment."""
    place = location(f"s3://bucket/{request.node.name}")
    assert isinstance(place, Remote)
    return place


@pytest.fixture
def proxy(server: str) -> Iterator[Proxy]:
    proxy = Proxy(server)
    yield proxy
    proxy.close()


def put(place: Any, content: bytes) -> None:
    with files.replacing(place) as temporary:
        temporary.write_bytes(content)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> tuple[Path, dict[str, Any]]:
    """Words, labels and pictures in a folder, and the options of a run on them."""
    folder, rng = tmp_path_factory.mktemp("world"), np.random.default_rng(0)
    for name in ("id/cat/a", "id/cat/b c", "id/dog/a", "ood/x", "ood/y"):
        path = folder / "pictures" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8)).save(path)
    (folder / "labels.txt").write_text("cat\ndog\n")
    (folder / "words.csv").write_text("term\n" + "".join(f"word{i}\n" for i in range(300)))
    (folder / "no.txt").write_text("word7\n")
    (folder / "list.txt").write_text("ood/x.png -1\nood/y.png -1\n")
    return folder, {
        "model": str(tiny_model), "device": "cpu", "encode": {"shard_rows": 100},
        "mine": {"top": 30, "exclude": ["no.txt"], "work": "work", "text_out": "mined.txt"},
    }  # fmt: skip


def test_a_run_on_s3_gives_what_a_local_run_gives(
    world: tuple[Path, dict[str, Any]], bucket: Remote, tmp_path: Path
) -> None:
    folder, options = world
    for path in folder.rglob("*"):
        if path.is_file():
            put(bucket / path.relative_to(folder).as_posix(), path.read_bytes())
    local = tmp_path / "local"
    shutil.copytree(folder, local)
    for place, base in ((local, "."), (bucket, str(bucket))):
        values = {
            **options, "out": f"{base}/made", "labels": f"{base}/labels.txt", "corpus": f"{base}/words.csv:column=term",
            "mine": {**options["mine"], "exclude": [f"{base}/no.txt"], "work": str(place / "work"),
                     "text_out": f"{base}/mined.txt"},
            "score": {"id": {"in": f"{base}/pictures/id"}, "ood": {"far": f"{base}/list.txt@{base}/pictures"}},
        }  # fmt: skip
        (local / "run.toml").write_text(tomli_w.dumps(values))
        run_file(local / "run.toml", Reporter(quiet=True))
    # The cache names its files by the pictures' times of change.
    names = [path.relative_to(local).as_posix() for path in (local / "made").rglob("*") if path.is_file()]
    written = [f"made/{name}" for name in (bucket / "made").tree()]
    assert len(names) == len(written)
    assert {n for n in names if "/images-" not in n} == {n for n in written if "/images-" not in n}
    for name in (name for name in names if name.endswith(".parquet") and "/images-" not in name):
        path = local / name
        table, other = pq.read_table(path), store.open_parquet(bucket / name).read()
        if name.startswith("made/mined/scores-"):
            opened = table["path"].to_pylist(), other["path"].to_pylist()
            assert all(there.startswith(str(bucket)) for there in opened[1])
            assert [open_path(p).tobytes() for p in opened[0]] == [open_path(p).tobytes() for p in opened[1]]
            table, other = table.drop_columns(["path"]), other.drop_columns(["path"])
        assert table.equals(other), name
    for name in ("made/report/metrics.csv", "made/report/accuracy.csv", "mined.txt"):
        assert (local / name).read_bytes() == (bucket / name).read_bytes()
    here, there = (json.loads((place / "made/candidates/manifest.json").read_text()) for place in (local, bucket))
    assert here["counts"] == there["counts"]
    assert [s["words_sha256"] for s in here["shards"]] == [s["words_sha256"] for s in there["shards"]]
    assert sorted(path.name.split("-")[0] for path in (bucket / "work").iterdir()) == ["best"] * 3 + ["words"] * 3
    assert not (Path.cwd() / "s3:").exists()
    assert not (local / "s3:").exists()
    # Again, with a shard that was altered and one that is gone: those two are made anew.
    put(bucket / "made/candidates/shard-00000.parquet", b"PAR1 no longer")
    (bucket / "made/candidates/shard-00002.parquet").unlink()
    settings = make(EncodeSettings, {}, _fetched(bucket / "made/candidates/settings.toml", tmp_path))
    assert encode(settings, Reporter(quiet=True))["encoded"] == 200
    again = store.open_parquet(bucket / "made/candidates/shard-00000.parquet").read()
    assert again.equals(pq.read_table(local / "made/candidates/shard-00000.parquet"))


def _fetched(place: Any, folder: Path) -> Path:
    (folder / place.name).write_bytes(place.read_bytes())
    return folder / str(place.name)


def test_pictures_in_a_table_and_a_compressed_list_of_words(bucket: Remote, tmp_path: Path) -> None:
    import datasets

    rng = np.random.default_rng(1)
    images = [Image.fromarray(rng.integers(0, 255, (9, 9, 3), np.uint8)) for _ in range(5)]
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    rows = datasets.Dataset.from_dict({"image": images, "label": [0, 1, 1, -1, 0]}, features=kinds)
    rows.to_parquet(str(tmp_path / "t.parquet"), batch_size=2)
    put(bucket / "t.parquet", (tmp_path / "t.parquet").read_bytes())
    source = open_images(str(bucket / "t.parquet"))
    assert [item.label for item in source.items] == ["cat", "dog", "dog", None, "cat"]
    for row in (4, 0, 3, 1, 2):
        assert source.open(row).tobytes() == images[row].tobytes()
        assert open_path(source.items[row].path).tobytes() == images[row].tobytes()
    before = fingerprint(source, range(5))
    assert before == fingerprint(open_images(str(bucket / "t.parquet")), range(5))
    paths = ["a/x.png", "gone.png", "s3://other/y.png", ""]
    vectors = store.embedding_array(np.eye(4, dtype=np.float32))
    put(bucket / "a" / "x.png", b"")
    store.write_table(bucket / "e.parquet", pa.table({"path": paths, "embedding": vectors}))
    named = open_images(str(bucket / "e.parquet"))
    assert [item.path for item in named.items] == [str(bucket / "a/x.png"), *paths[1:]]
    table = str(bucket / "e.parquet")
    assert named.places() == [str(bucket / "a/x.png"), f"{table}#1", paths[2], f"{table}#3"]
    words = "".join(f"word{i}\n" for i in range(50_000))
    put(bucket / "words.txt.gz", pa.compress(words.encode(), "gzip", asbytes=True))
    assert [word.text for word in open_corpus(str(bucket / "words.txt.gz"))] == words.split()
    pq.write_table(pa.table({"text": words.split()}), tmp_path / "w.parquet", row_group_size=10_000)
    put(bucket / "w.parquet", (tmp_path / "w.parquet").read_bytes())
    assert [word.text for word in open_corpus(str(bucket / "w.parquet"))] == words.split()


def test_a_failed_upload_publishes_nothing(bucket: Remote, proxy: Proxy, tmp_path: Path) -> None:
    place = Remote(bucket.root, bucket.key, proxy.query)
    files.write_json(place / "manifest.json", {"old": True})
    big = tmp_path / "big"
    big.write_bytes(np.random.default_rng(0).bytes(12 << 20))
    proxy.fails = lambda method, path: 403 if "partNumber=2" in path else 0
    with pytest.raises(StorageError, match="no access"):
        upload.publish(big, place / "big")
    proxy.fails = lambda method, path: 403 if method in ("PUT", "POST") else 0
    with pytest.raises(StorageError, match=r"manifest\.json\S*: no access; check the credentials"):
        files.write_json(place / "manifest.json", {"new": True})
    proxy.fails = lambda method, path: 0
    with suppress(KeyboardInterrupt), files.replacing(place / "other") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert not temporary.parent.exists()
    assert {path.name for path in bucket.iterdir()} == {"manifest.json"}
    assert json.loads((bucket / "manifest.json").read_text()) == {"old": True}
    # A file that can't be read to its end: pyarrow's stream would publish what it has.
    unreadable = Path("/proc/self/mem")
    if unreadable.exists():
        with pytest.raises(OSError, match="Input/output error"):
            upload.publish(unreadable, place / "cut")
        assert [method for method, path, _ in proxy.seen if "cut" in path][-1] != "PUT"
        assert not (bucket / "cut").exists()


UPLOAD = """
import sys
from neglabel.corpora.uri import location
from neglabel.pipeline.files import replacing
with replacing(location(sys.argv[1])) as temporary:
    temporary.write_bytes(bytes(12 << 20))
"""


def test_a_process_killed_in_an_upload_publishes_nothing(
    bucket: Remote, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Remote(bucket.root, bucket.key, proxy.query) / "big"
    put(bucket / "big", b"before")
    begun, go_on = threading.Event(), threading.Event()

    def slow(method: str, path: str) -> int:
        if "partNumber=2" in path:
            begun.set()
            go_on.wait(60)
        return 0

    proxy.fails = slow
    process = subprocess.Popen([sys.executable, "-c", UPLOAD, str(place)], env={**os.environ, "TMPDIR": str(tmp_path)})
    assert begun.wait(60)
    process.kill()
    process.wait()
    go_on.set()
    assert (bucket / "big").read_bytes() == b"before"
    (left,) = tmp_path.glob("neglabel-*")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    upload._sweep.cache_clear()
    put(bucket / "big", b"after")
    assert (bucket / "big").read_bytes() == b"after"
    assert not left.exists()


def test_what_was_written_is_read_back_once_and_compared(
    bucket: Remote, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Remote(bucket.root, bucket.key, proxy.query) / "x.bin"
    put(place, b"as it was")
    gets = len([1 for method, path, _ in proxy.seen if method == "GET" and "x.bin" in path])
    assert gets == 1
    assert files.sha256(place) == hashlib.sha256(b"as it was").hexdigest()
    assert len([1 for method, path, _ in proxy.seen if method == "GET" and "x.bin" in path]) == gets
    put(bucket / "x.bin", b"changed by another")  # not through the proxy: its process knows nothing of it
    assert files.sha256(place) == hashlib.sha256(b"changed by another").hexdigest()
    read = upload._read
    monkeypatch.setattr(upload, "_read", lambda place: ("0" * 64, *read(place)[1:]))
    with pytest.raises(StorageError, match="gives back other bytes"):
        put(place, b"damaged on the way")
    assert not (bucket / "x.bin").exists()


def test_an_object_is_read_in_pieces_and_its_footer_once(bucket: Remote, proxy: Proxy) -> None:
    place = Remote(bucket.root, bucket.key, proxy.query) / "t.parquet"
    rows, wide = 60_000, np.random.default_rng(0).normal(size=(60_000, 128)).astype(np.float32)
    table = pa.table({"text": [f"word{i}" for i in range(rows)], "embedding": store.embedding_array(wide)})
    store.write_table(place, table)
    size = place.stat().st_size
    del table
    proxy.seen.clear()
    base, peak, start = pa.total_allocated_bytes(), 0, 0
    for block in store.stream(place, ["text"]):
        peak = max(peak, pa.total_allocated_bytes() - base)
        assert np.array_equal(block.embedding, wide[start : start + len(block.embedding)])
        start += len(block.embedding)
    assert start == rows
    assert peak < size * 0.7, (peak, size)  # all row groups at once would be its whole size and more
    footer = [span for method, _, span in proxy.seen if method == "GET" and span.endswith(f"-{size - 1}")]
    store.open_parquet(place).read_row_group(0, ["text"])
    store.require_columns(place, ["text"])
    again = [span for method, _, span in proxy.seen if method == "GET" and span.endswith(f"-{size - 1}")]
    assert len(footer) == len(again) == 1


def test_one_sentence_says_what_the_storage_refuses(bucket: Remote, proxy: Proxy) -> None:
    with pytest.raises(UsageError, match="s3://absent: there is no such bucket; create it"):
        files.claim_folder(location("s3://absent/store"), "neglabel-candidates")
    with pytest.raises(UsageError, match="no such bucket"):
        files.write_text(location("s3://absent/x"), "x")
    with pytest.raises(UsageError, match="does not exist; name a Parquet file"):
        store.open_parquet(bucket / "no.parquet")
    with pytest.raises(UsageError, match=r"nothing that pyarrow opens .*Unexpected query parameter"):
        begin("s3://bucket/x?colour=red")
    with pytest.raises(UsageError, match="nothing that pyarrow opens"):
        begin("ftp://bucket/x")
    proxy.fails = lambda method, path: 403
    with pytest.raises(StorageError, match="no access; check the credentials in the environment"):
        begin(f"s3://bucket/x{proxy.query}")
    with pytest.raises(StorageError, match="can't be reached; check the network and the endpoint"):
        begin("s3://bucket/x?endpoint_override=127.0.0.1:1&scheme=http")


def test_the_command_line_keeps_both_slashes(bucket: Remote) -> None:
    files.write_text(bucket / "labels.txt", "cat\n")
    given = ["mine", str(bucket / "store"), "--labels", str(bucket / "labels.txt"), "--out", str(bucket / "n.parquet")]
    said = CliRunner().invoke(app, given)
    assert said.stderr == f"neglabel mine: {bucket / 'store'} does not exist; name a Parquet file\n"
    refused = CliRunner().invoke(app, [*given[:-1], "s3://absent/n.parquet"])
    assert (said.exit_code, refused.exit_code) == (2, 2)
    assert refused.stderr.startswith("neglabel mine: s3://absent: there is no such bucket")


def begin(out: str) -> None:
    """What every stage does first."""
    files.claim_folder(location(out), "neglabel-candidates", create=False)


def test_a_connection_that_fails_is_no_damaged_shard_and_no_broken_picture(bucket: Remote, proxy: Proxy) -> None:
    from neglabel.pipeline.shard_check import flaw_of

    table = pa.table({"text": ["a"], "embedding": store.embedding_array(np.ones((1, 4), np.float32))})
    store.write_table(bucket / "s.parquet", table)
    place = Remote(bucket.root, bucket.key, proxy.query) / "s.parquet"
    assert flaw_of(place, 1, files.sha256(bucket / "s.parquet")) is None
    assert flaw_of(place, 1, "0" * 64) == "s.parquet was altered (checksum)"
    assert flaw_of(place, 2, "") == "s.parquet has 1 rows instead of 2"
    proxy.fails = lambda method, path: 403
    with pytest.raises(StorageError):
        flaw_of(place, 1, "")
    with pytest.raises(StorageError):
        files.claim_folder(place.parent, "neglabel-candidates")
