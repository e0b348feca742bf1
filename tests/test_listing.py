"""`neglabel corpora`, what the manifest says of sources, glosses in stores, and one adapter as the docs show it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest

from neglabel import corpora
from neglabel.corpora import ADAPTERS, open_corpus, provenance
from neglabel.corpora.listing import list_corpora
from neglabel.pipeline.config import make
from neglabel.pipeline.encode import encode
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.settings import EncodeSettings

from .conftest import ROOT

COMMAND = [sys.executable, "-c", "from neglabel.cli import main; main()"]


def run_encode(out: Path, specs: list[object], model: Path, **options: object) -> dict[str, object]:
    given = {"corpus": specs, "out": out, "model": str(model), "device": "cpu", **options}
    return encode(make(EncodeSettings, given), Reporter(quiet=True))


def test_every_adapter_is_listed_in_full() -> None:
    listed = list_corpora()["corpora"]
    assert [corpus["name"] for corpus in listed] == list(ADAPTERS)
    for corpus in listed:
        assert all(corpus[key] for key in ("what", "licence", "source", "typical_size", "how_to_get"))
        assert all(option["help"] and option["type"] for option in corpus["options"]), corpus["name"]
    wordnet = {option["name"]: option for option in listed[0]["options"]}
    assert wordnet["lemmas"] == {
        "name": "lemmas", "type": "all|first", "required": False, "default": "all",
        "help": "every lemma of a synset, or its first only",
    }  # fmt: skip
    assert (wordnet["pos"]["default"], wordnet["lower"]["default"]) == ("n+a", False)
    assert (wordnet["depth"]["default"], wordnet["depth"]["type"]) == (None, "MIN-MAX")


def test_the_command_lists_them_for_people_and_programs() -> None:
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "160"}
    run = [subprocess.run([*COMMAND, "corpora", *more], capture_output=True, text=True, env=environment)
           for more in ([], ["--json"])]  # fmt: skip
    assert [r.returncode for r in run] == [0, 0], run[0].stderr + run[1].stderr
    assert json.loads(run[1].stdout) == list_corpora()
    for corpus in list_corpora()["corpora"]:
        assert f"{corpus['name']}: {corpus['what']}" in run[0].stdout
        assert corpus["how_to_get"] in run[0].stdout
        for option in corpus["options"]:
            assert f"{option['name']}={option['type']}  {option['help']}" in run[0].stdout


def test_the_page_names_every_option() -> None:
    page = (ROOT / "docs" / "corpora.md").read_text(encoding="utf-8")
    for corpus in list_corpora()["corpora"]:
        section = page.split(f"\n## `{corpus['name']}`", 1)[1].split("\n## ", 1)[0]
        for option in corpus["options"]:
            assert f"| `{option['name']}` |" in section, (corpus["name"], option["name"])


def test_manifest_has_a_source_a_spec(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "frwiki-1-all-titles-in-ns0").write_text("Chien_(animal)\nChat\n", encoding="utf-8")
    specs: list[object] = [
        {"name": "wikipedia", "path": str(tmp_path / "frwiki-1-all-titles-in-ns0")}, "wordnet:pos=r",
    ]  # fmt: skip
    run_encode(tmp_path / "out", specs, tiny_model, limit=50)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["sources"] == [provenance(spec) for spec in specs]  # type: ignore[arg-type]
    assert [s["corpus"] for s in manifest["sources"]] == ["wikipedia", "wordnet"]
    assert manifest["sources"][1]["version"] == "3.0"
    assert manifest["sources"][0]["licence"].startswith("CC BY-SA")
    table = pq.read_table(tmp_path / "out" / "shard-00000.parquet")
    rows = {row["text"]: row for row in table.drop_columns(["embedding"]).to_pylist()}
    assert rows["a cappella"]["gloss"] == "without musical accompaniment"
    assert (rows["Chien (animal)"]["gloss"], rows["Chien (animal)"]["language"]) == ("", "fr")


def test_a_store_without_glosses_is_continued_and_mined(tmp_path: Path, tiny_model: Path) -> None:
    """As version 0.1.0 wrote it: no column, no sources."""
    from neglabel.pipeline.mine import mine
    from neglabel.pipeline.mine_settings import MineSettings

    out, specs = tmp_path / "out", ["wordnet:pos=r"]
    run_encode(out, specs, tiny_model, shard_rows=100, limit=350)
    manifest = json.loads((out / "manifest.json").read_text())
    assert len(manifest["shards"]) > 2
    shard = out / manifest["shards"][0]["file"]
    pq.write_table(pq.read_table(shard).drop_columns(["gloss"]), shard)
    from neglabel.pipeline.files import sha256

    manifest["shards"] = [{**manifest["shards"][0], "sha256": sha256(shard)}]
    del manifest["sources"]
    (out / "manifest.json").write_text(json.dumps({**manifest, "complete": False}))
    summary = run_encode(out, specs, tiny_model, shard_rows=100, limit=350)
    again = json.loads((out / "manifest.json").read_text())
    assert summary["encoded"] == again["counts"]["candidates"] - 100
    assert again["sources"][0]["corpus"] == "wordnet"
    (tmp_path / "labels.txt").write_text("cat\nhouse\n")
    given = {"candidates": [out], "labels": tmp_path / "labels.txt", "out": tmp_path / "n.parquet", "device": "cpu"}
    mine(make(MineSettings, given), Reporter(quiet=True))
    mined = pq.read_table(tmp_path / "n.parquet")
    assert 0 < mined["gloss"].to_pylist().count("") <= 101
    assert mined.num_rows == again["counts"]["candidates"]


def test_paths_of_a_run_file_are_relative_to_it(tmp_path: Path) -> None:
    from neglabel.pipeline.run import stages
    from neglabel.pipeline.run_settings import RunSettings

    specs = [
        "wikipedia:path=fr.gz,lists=drop", {"name": "pos-tags", "path": "w.csv"}, "multilingual:language=fr",
        "hf:dataset=a/b",
    ]  # fmt: skip
    given = {"out": "o", "labels": "l.txt", "corpus": specs}
    assert stages(make(RunSettings, given), tmp_path)["encode"].corpus == (
        f"wikipedia:path={tmp_path / 'fr.gz'},lists=drop",
        {"name": "pos-tags", "path": str(tmp_path / "w.csv")}, "multilingual:language=fr", "hf:dataset=a/b",
    )  # fmt: skip


def test_the_adapter_that_the_page_shows_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file and one line, taken from docs/corpora.md as they stand there."""
    page = (ROOT / "docs" / "corpora.md").read_text(encoding="utf-8")
    source, line = re.findall(r"```python\n(.*?)```", page.split("## Adding one", 1)[1], re.DOTALL)[:2]
    name, module = re.fullmatch(r'\s*"([\w-]+)": "([\w.]+)",\s*', line).groups()  # type: ignore[union-attr]
    adapter = ModuleType(module)
    adapter.__dict__["__name__"] = module
    monkeypatch.setitem(sys.modules, module, adapter)
    exec(compile(source, module, "exec"), adapter.__dict__)
    monkeypatch.setitem(corpora.ADAPTERS, name, module)
    path = tmp_path / "names.txt"
    path.write_text("1\tCanis lupus\nno tab\n2\tFelis catus\n")
    rejected: list[corpora.Rejection] = []
    words = list(open_corpus(f"{name}:path={path}", rejected.append))
    assert [w.text for w in words] == ["Canis lupus", "Felis catus"]
    assert [r.reason for r in rejected] == ["malformed-row"]
    assert list_corpora()["corpora"][-1]["name"] == name
    assert provenance(f"{name}:path={path}")["licence"]
