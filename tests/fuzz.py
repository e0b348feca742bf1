"""Coverage-guided fuzzing (atheris) of what reads manifests and corpora: ``python tests/fuzz.py -max_total_time=600``.

Other arguments are libFuzzer's: a folder of inputs, ``-runs=N``, ``-seed=N``. Anything but a NeglabelError, a crash, a
hang of 20 s or 2 GB of memory ends it with the input in a file. Without atheris (extra ``fuzz``; it has wheels for some
versions of Python only) it says so and ends well.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

try:
    import atheris
except ImportError:
    print("fuzz: atheris is not installed (pip install 'neglabel[fuzz]'); nothing was fuzzed")
    sys.exit(0)

# What is imported here is instrumented: branches taken guide the next input.
with atheris.instrument_imports(include=["neglabel.corpora", "neglabel.pipeline", "json"]):
    from neglabel import NeglabelError
    from neglabel.corpora import open_corpus
    from neglabel.corpora.spec import parse
    from neglabel.pipeline.encode_manifest import recorded
    from neglabel.pipeline.files import read_json
    from neglabel.pipeline.plan import merge_counts
    from neglabel.pipeline.report.read import read_runs
    from neglabel.pipeline.shards import beyond_of, records_of
    from neglabel.pipeline.store_parts import shards_of

FOLDER = Path(tempfile.mkdtemp(prefix="neglabel-fuzz-"))
RECORD = {
    "file": "shard-00000.parquet", "rows": 1, "sha256": "0", "words_sha256": "0", "rejected_file": "",
    "rejected_rows": 0, "rejected_sha256": "", "counts": {"candidates": 1, "by_pos": {"noun": 1}, "rejected": {}},
}  # fmt: skip
SCORES = {"format": "neglabel-scores", "version": 1, "labels": ["a"], "scores": [{"name": "mcm"}],
          "datasets": [{"name": "x", "role": "id", "rows": 1, "unreadable": 0}], "complete": True}  # fmt: skip
STORE = {"format": "neglabel-candidates", "version": 1, "shards": [RECORD], "beyond": {"2": RECORD}, "part": [0, 2]}
#: Endings of corpora, each read by its own parser.
FILES = ["w.txt", "w.csv", "w.tsv", "w.jsonl", "w.parquet", "w.txt.gz", "w.csv.zst", "enwiki-1-page.sql", "enwiki-t"]


def store_manifest(data: bytes) -> None:
    path = FOLDER / "store" / "manifest.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    manifest = read_json(path, "neglabel-candidates")
    records, beyond = records_of(manifest, path), beyond_of(manifest, path)
    merge_counts([r["counts"] for _, r in recorded({"shards": records, "beyond": beyond})])
    list(shards_of(path.parent, manifest))


def scores_manifest(data: bytes) -> None:
    path = FOLDER / "scores" / "manifest.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    read_runs([path.parent])


def corpus(name: str, data: bytes) -> None:
    path = FOLDER / name
    path.write_bytes(data)
    adapter = "wikipedia" if name.startswith("enwiki") else "file"
    rejected: list[Any] = []
    for word in open_corpus(f"{adapter}:path={path}", rejected.append):
        assert word.text.strip()


def one_input(data: bytes) -> None:
    """The first byte says who reads the rest."""
    if not data:
        return
    which, rest = data[0] % (len(FILES) + 3), data[1:]
    try:
        if which == 0:
            store_manifest(rest)
        elif which == 1:
            scores_manifest(rest)
        elif which == 2:
            parse(rest.decode("utf-8", "replace"), {"file": "x", "wordnet": "y"})
        else:
            corpus(FILES[which - 3], rest)
    except NeglabelError as error:
        if "\n" in str(error) or not str(error).strip():
            raise AssertionError(f"not one sentence: {error!r}") from None


def seeds(folder: Path) -> None:
    """A healthy input of each kind, to begin with."""
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": ["dog", "cat"], "pos": ["noun", ""]}), table)
    sql = b"CREATE TABLE `page` (\n `page_id` int,\n `page_namespace` int,\n `page_title` varbinary(255),\n" \
          b" `page_is_redirect` tinyint\n);\nINSERT INTO `page` VALUES (1,0,'A_b',0),(2,0,'It\\'s',1);\n"  # fmt: skip
    bodies = [
        json.dumps(STORE).encode(), json.dumps(SCORES).encode(), b"file:path=x,column=y", b"dog\ncat\n",
        b'text,pos\n"a ""b""",n\n', b"text\tpos\ndog\tn\n", b'{"text": "dog", "key": 1}\n',
        table.getvalue().to_pybytes(), gzip.compress(b"dog\n"),
        pa.compress(b"text\ndog\n", "zstd", asbytes=True), sql, b"page_title\nDog\n",
    ]  # fmt: skip
    for which, body in enumerate(bodies):
        (folder / f"seed-{which}").write_bytes(bytes([which]) + body)


def main() -> None:
    inputs = FOLDER / "inputs"
    inputs.mkdir()
    seeds(inputs)
    limits = [f"-artifact_prefix={FOLDER}/", "-timeout=20", "-rss_limit_mb=2048", "-max_len=8192"]
    print(f"fuzz: inputs and what fails in {FOLDER}", file=sys.stderr)
    atheris.Setup([sys.argv[0], str(inputs), *limits, *sys.argv[1:]], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
