"""Bad input to the report stage: one sentence that names the thing, and nothing written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neglabel import NeglabelError, UsageError
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report import report
from neglabel.pipeline.settings import ReportSettings

from .make_scores import Set, write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", [Set("a", "id", 9, 1), Set("b", "ood", 9)])


def refused(tmp_path: Path, kind: type[NeglabelError], *folders: Path) -> str:
    out = tmp_path / "report"
    with pytest.raises(NeglabelError) as caught:
        report(ReportSettings(scores=folders, out=out), Reporter(quiet=True))
    assert type(caught.value) is kind
    assert not out.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change(run: Path, edit: Any) -> None:
    path = run / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    edit(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def replace_column(path: Path, name: str, column: Any) -> None:
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.column_names.index(name), name, column), path)


def test_not_a_folder(tmp_path: Path, run: Path) -> None:
    assert "is not a folder" in refused(tmp_path, UsageError, tmp_path / "nothing")
    assert "is not a folder" in refused(tmp_path, UsageError, run / "manifest.json")
    assert "at least one folder" in refused(tmp_path, UsageError)


def test_given_twice(tmp_path: Path, run: Path) -> None:
    assert "given twice" in refused(tmp_path, UsageError, run, run.parent / "x" / ".." / "run")


def test_another_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "manifest.json does not exist" in refused(tmp_path, UsageError, tmp_path / "empty")


def test_another_stage(tmp_path: Path, run: Path) -> None:
    change(run, lambda m: m.update(format="neglabel-candidates"))
    assert "is not a neglabel-scores manifest" in refused(tmp_path, UsageError, run)


def test_a_newer_version(tmp_path: Path, run: Path) -> None:
    change(run, lambda m: m.update(version=2))
    assert "made by a newer neglabel" in refused(tmp_path, UsageError, run)


@pytest.mark.parametrize("version", [None, "x"])
def test_no_version(tmp_path: Path, run: Path, version: object) -> None:
    change(run, lambda m: m.update(version=version))
    assert "manifest.json is damaged" in refused(tmp_path, NeglabelError, run)


def test_an_interrupted_run(tmp_path: Path, run: Path) -> None:
    change(run, lambda m: m.update(complete=False))
    assert "unfinished" in refused(tmp_path, NeglabelError, run)


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key in ("labels", "scores", "datasets") for value in (None, 5)]
    + [("scores", ["x"]), ("datasets", ["x"]), ("negatives", 5)],
)
def test_a_damaged_manifest(tmp_path: Path, run: Path, key: str, value: object) -> None:
    change(run, lambda m: m.update({key: value}))
    assert "manifest.json is damaged" in refused(tmp_path, NeglabelError, run)


@pytest.mark.parametrize("name", ["../a", "a/b", "/a"])
def test_a_name_that_leaves_the_folder(tmp_path: Path, run: Path, name: str) -> None:
    change(run, lambda m: m["datasets"][0].update(name=name))
    assert "bad data set" in refused(tmp_path, NeglabelError, run)


def test_a_missing_file(tmp_path: Path, run: Path) -> None:
    (run / "scores-b.parquet").unlink()
    assert "scores-b.parquet does not exist" in refused(tmp_path, UsageError, run)


def test_missing_negatives(tmp_path: Path, run: Path) -> None:
    (run / "negatives.parquet").unlink()
    assert "negatives.parquet does not exist" in refused(tmp_path, UsageError, run)


def test_a_missing_column(tmp_path: Path, run: Path) -> None:
    path = run / "scores-a.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["mcm_logit"]), path)
    assert "scores-a.parquet has no `mcm_logit` column" in refused(tmp_path, UsageError, run)


def test_a_truncated_file(tmp_path: Path, run: Path) -> None:
    path = run / "scores-a.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    assert "scores-a.parquet is not a whole Parquet file" in refused(tmp_path, NeglabelError, run)


def test_pages_overwritten(tmp_path: Path, run: Path) -> None:
    path = run / "scores-a.parquet"
    data = bytearray(path.read_bytes())
    data[4:900] = b"\xff" * 896
    path.write_bytes(bytes(data))
    assert "scores-a.parquet is damaged" in refused(tmp_path, NeglabelError, run)


def test_rows_that_are_not_the_manifests(tmp_path: Path, run: Path) -> None:
    path = run / "scores-a.parquet"
    pq.write_table(pq.read_table(path).slice(0, 4), path)
    assert "has 4 rows, the manifest says 9" in refused(tmp_path, NeglabelError, run)


def test_some_nan(tmp_path: Path, run: Path) -> None:
    logits = np.arange(9.0)
    logits[5] = np.nan
    replace_column(run / "scores-b.parquet", "msp_logit", pa.array(logits))
    assert "scores-b.parquet, row 6: `msp_logit` is NaN" in refused(tmp_path, NeglabelError, run)


def test_scores_that_are_text(tmp_path: Path, run: Path) -> None:
    replace_column(run / "scores-b.parquet", "msp_logit", pa.array(["1"] * 9))
    assert "`msp_logit` is string, not floats" in refused(tmp_path, UsageError, run)


def test_damaged_metadata_of_the_negatives(tmp_path: Path, run: Path) -> None:
    path = run / "negatives.parquet"
    pq.write_table(pq.read_table(path).replace_schema_metadata({b"neglabel": b"{"}), path)
    assert "neglabel metadata is damaged" in refused(tmp_path, NeglabelError, run)


@pytest.mark.parametrize(
    "odd",
    [
        {"edges": [0, 1], "all": [1, 2], "kept": [0]},
        {"edges": [0, 1, 1], "all": [1, 2], "kept": [0, 1]},
        {"edges": [0, 1], "all": [float("nan")], "kept": [0]},
        {"edges": [0, 10**400], "all": [1], "kept": [0]},
        {"edges": [[0, 1]], "all": [1], "kept": [0]},
        {"edges": [0, 1], "all": [1], "kept": ["x"]},
        {"edges": []},
        [],
        None,
        "x",
    ],
)
def test_an_odd_histogram_costs_the_figure_only(tmp_path: Path, run: Path, odd: object) -> None:
    path = run / "negatives.parquet"
    table = pq.read_table(path)
    facts = json.loads(table.schema.metadata[b"neglabel"]) | {"histogram": odd}
    pq.write_table(table.replace_schema_metadata({b"neglabel": json.dumps(facts).encode()}), path)
    report(ReportSettings(scores=(run,), out=tmp_path / "report", bootstrap=0, cases=0), Reporter(quiet=True))
    assert "Distance of every candidate" not in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


def test_out_that_is_not_ours(tmp_path: Path, run: Path) -> None:
    before = {p.name: p.read_bytes() for p in run.iterdir()}
    with pytest.raises(UsageError, match="another stage's output"):
        report(ReportSettings(scores=(run,), out=run), Reporter(quiet=True))
    assert {p.name: p.read_bytes() for p in run.iterdir()} == before


def test_a_report_is_made_again_in_its_place_and_is_the_same(tmp_path: Path, run: Path) -> None:
    def made() -> dict[str, bytes]:
        report(ReportSettings(scores=(run,), out=tmp_path / "report"), Reporter(quiet=True))
        return {p.name: p.read_bytes() for p in (tmp_path / "report").iterdir()}

    first = made()
    assert sorted(first) == [
        "accuracy.csv", "differences.csv", "index.html", "manifest.json", "metrics.csv", "metrics.md", "metrics.tex",
        "seeds.csv", "settings.toml",
    ]  # fmt: skip
    assert made() == first
