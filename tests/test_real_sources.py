"""Four real sources of words compared on the embedded world, as a user runs it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import tomli_w

from neglabel.pipeline import store
from neglabel.pipeline.quickstart import unpack

N, M = 400, 100


@pytest.mark.soak  # half a minute of corpora; test_run_sources.py has the same stages on small ones
def test_four_sources_and_their_union_on_one_page(shared_data: Path, tmp_path: Path) -> None:
    unpack(tmp_path)
    values = {
        "out": "made", "labels": "labels/animals.txt", "model": "emoji", "device": "cpu", "source_candidates": N,
        "sources": {
            "wordnet": "wordnet:pos=a",
            "titles": f"wikipedia:path={shared_data / 'titles' / 'enwiki-vital-titles.txt'}",
            "tagged": f"pos-tags:path={shared_data / 'pos_tags' / 'words_pos.csv'}",
            "french": "multilingual:language=fr",
        },
        "mine": {"top": M},
        "score": {"id": {"animals": "pictures/animals"}, "ood": {"unseen": "pictures/unseen"}, "groups": 1},
        "report": {"bootstrap": 20, "hurting": 10},
    }  # fmt: skip
    (tmp_path / "my.toml").write_text(tomli_w.dumps(values))
    command = [sys.executable, "-m", "neglabel.cli", "run", str(tmp_path / "my.toml"), "--json"]
    environment = {**os.environ, "NLTK_DATA": str(shared_data / "nltk_data")}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert list(summary["sources"]) == ["wordnet", "titles", "tagged", "french", "union"]
    made = tmp_path / "made"
    sources: dict[str, set[str]] = {}
    for name in summary["sources"]:
        counts = store.read_metadata(made / "negatives" / f"{name}.parquet")["counts"]
        assert (counts["sampled"], counts["kept"]) == (N, M)
        sources[name] = set(pq.read_table(made / "scores" / name / "negatives.parquet")["source"].to_pylist())
    words = {"wordnet-3.0", "enwiki-vital-titles.txt", "words_pos.csv", "omw-2.0/fra"}
    assert set.union(*(found for name, found in sources.items() if name != "union")) == words
    assert sources["union"] == words
    with open(made / "report" / "metrics.csv", newline="") as file:
        rows = {(row["run"], row["score"]): row for row in csv.DictReader(file) if row["ood"] == "average"}
    for name in sources:
        assert float(rows[name, "neglabel"]["auroc"]) > float(rows[name, "mcm"]["auroc"])
        # Negatives change nothing here, so that what differs is the words.
        assert rows[name, "mcm"]["auroc"] == rows["union", "mcm"]["auroc"]
    page = (made / "report" / "compare.html").read_text(encoding="utf-8")
    assert all(name in page for name in sources)
