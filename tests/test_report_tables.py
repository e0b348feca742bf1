"""What the report stage measures and writes, from folders made by the contract."""

from __future__ import annotations

import html
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neglabel.pipeline import config, metrics
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report import report
from neglabel.pipeline.report.tables import md_escape, tex_escape
from neglabel.pipeline.settings import ReportSettings

from .make_report import COLUMNS, FIGURES, make, read_csv
from .make_scores import Set, write_run


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    sets = [Set("birds", "id", 60, 2.0), Set("food", "ood", 50), Set("cars", "ood", 40, 0.5)]
    return write_run(tmp_path / "mined", sets)


@pytest.mark.parametrize("convention", ["id-positive", "ood-positive", "nearest-recall"])
def test_rows_are_the_metrics_of_the_logits(tmp_path: Path, pair: Path, convention: metrics.Convention) -> None:
    import pyarrow.parquet as pq

    result, out = make(tmp_path, pair, fpr=convention)
    rows = read_csv(out / "metrics.csv")
    assert list(rows[0]) == COLUMNS
    assert [(r["score"], r["ood"]) for r in rows] == [
        (score, ood) for score in ("neglabel", "mcm", "msp") for ood in ("food", "cars", "average")
    ]

    def logits(name: str, score: str) -> np.ndarray:
        return pq.read_table(pair / f"scores-{name}.parquet")[f"{score}_logit"].to_numpy()

    for row in rows:
        if row["ood"] != "average":
            a, b = logits("birds", row["score"]), logits(row["ood"], row["score"])
            assert float(row["auroc"]) == pytest.approx(100 * metrics.auroc(a, b), abs=1e-4)
            assert float(row["fpr95"]) == pytest.approx(100 * metrics.fpr95(a, b, convention), abs=1e-4)
            assert row["fpr95_convention"] == convention
            assert float(row["aupr_id"]) == pytest.approx(100 * metrics.aupr(a, b), abs=1e-4)
            assert float(row["aupr_ood"]) == pytest.approx(100 * metrics.aupr(a, b, "ood"), abs=1e-4)
    food, cars, average = rows[:3]
    assert float(average["auroc"]) == pytest.approx((float(food["auroc"]) + float(cars["auroc"])) / 2, abs=1e-4)
    assert (average["n_id"], average["n_ood"]) == ("60", "90")
    assert result["convention"] == convention
    assert len(result["rows"]) == 9


def test_ranks_by_logit_where_the_score_saturates(tmp_path: Path) -> None:
    # Sigmoid of 40 and of 50 are both 1.0: by the score this is a tie, by log-odds it is not.
    sets = [Set("a", "id", 2, logits={"mcm": [50, 51]}), Set("b", "ood", 2, logits={"mcm": [40, -np.inf]})]
    result, _ = make(tmp_path, write_run(tmp_path / "run", sets, scores=["mcm"]))
    assert result["rows"][0]["auroc"] == 100.0


@pytest.mark.parametrize(
    ("convention", "says"),
    [
        ("id-positive", "ID positive:"),
        ("ood-positive", "OOD positive:"),
        ("nearest-recall", "ID positive at the nearest recall (as the NegLabel authors"),
    ],
)
def test_every_table_names_its_convention(tmp_path: Path, pair: Path, convention: str, says: str) -> None:
    _, out = make(tmp_path, pair, fpr=convention)
    others = {"ID positive:", "OOD positive:", "ID positive at the nearest recall"} - {says[:33], says}
    for name in ("metrics.md", "metrics.tex", "index.html"):
        text = html.unescape((out / name).read_text(encoding="utf-8"))
        assert f"FPR95, {says}" in text
        for other in others:
            assert f"FPR95, {other}" not in text
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["format"] == "neglabel-report"
    assert manifest["convention"] == convention
    assert config.make(ReportSettings, {}, out / "settings.toml").fpr == convention


def test_accuracy_of_known_labels_only(tmp_path: Path) -> None:
    sets = [
        Set("named", "id", 4, labels=["Cat", "dog", "", "n02"], predicted=["cat", "owl", "cat", "dog"]),
        Set("indexed", "id", 2, labels=["2", "0"], predicted=["owl", "cat"]),
        Set("blank", "id", 2, labels=["", " "], predicted=["owl", "cat"]),
        Set("food", "ood", 5),
    ]
    reporter = Reporter(quiet=True)
    out = tmp_path / "report"
    report(ReportSettings(scores=(write_run(tmp_path / "r", sets),), out=out), reporter)
    found = {r["dataset"]: (r["n"], r["accuracy"]) for r in read_csv(out / "accuracy.csv")}
    assert found == {"named": ("2", "50.0000"), "indexed": ("2", "100.0000")}
    (warning,) = reporter.warnings
    assert "1 of 3 labelled pictures of named has a label that is no ID label; it is not in the accuracy" in warning


def test_id_sets_are_not_pooled(tmp_path: Path) -> None:
    sets = [Set("a", "id", 20, 2), Set("b", "id", 30, 1), Set("x", "ood", 20), Set("y", "ood", 20)]
    result, _ = make(tmp_path, write_run(tmp_path / "r", sets, scores=["msp"]))
    assert [(r["id"], r["ood"], r["n_id"]) for r in result["rows"]] == [
        (i, o, n) for i, n in (("a", 20), ("b", 30)) for o in ("x", "y", "average")
    ]


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    sets = [Set("a", "id", 5), Set("b", "ood", 5)]
    folders = [write_run(tmp_path / part / "scores", sets, scores=["msp"]) for part in ("one", "two")]
    result, _ = make(tmp_path, *folders)
    assert {r["run"] for r in result["rows"]} == {"one/scores", "two/scores"}


def test_names_are_text_in_markdown_and_latex(tmp_path: Path) -> None:
    name = r"50% <b>|x_1&$\a` #{~^}"
    sets = [Set("a", "id", 5), Set(name, "ood", 5)]
    _, out = make(tmp_path, write_run(tmp_path / "r", sets, scores=["msp"]))
    assert read_csv(out / "metrics.csv")[0]["ood"] == name
    lines = (out / "metrics.md").read_text(encoding="utf-8").splitlines()
    row = next(line for line in lines if "50%" in line)
    assert row.replace(r"\|", "").count("|") == len(FIGURES) + 1
    assert "<b>" not in row
    tex = (out / "metrics.tex").read_text(encoding="utf-8")
    assert r"50\% \textless{}b\textgreater{}\textbar{}x\_1\&\$\textbackslash{}a` \#\{\textasciitilde{}" in tex


def test_measuring_needs_no_torch() -> None:
    code = "import sys, neglabel.pipeline.report, neglabel.pipeline.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_escapes_keep_a_cell_in_its_line() -> None:
    assert "\n" not in md_escape("a\nb\r\u2028c") + tex_escape("a\nb\r\u2028c")
    assert tex_escape("日本 ñ") == "日本 ñ"
