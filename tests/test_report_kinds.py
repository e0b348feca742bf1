"""Runs of every kind: random negatives, none, pictures of one role or of unknown kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report import report
from neglabel.pipeline.settings import ReportSettings

from .make_report import COLUMNS, make, read_csv
from .make_scores import Set, write_run


def test_mined_against_random(tmp_path: Path) -> None:
    def run(name: str, centre: float, random: bool, seed: int) -> Path:
        draw = np.random.default_rng(9)
        still = {"mcm": draw.normal(1, 1, 50)}, {"mcm": draw.normal(0, 1, 50)}
        sets = [Set("a", "id", 50, centre, logits=still[0]), Set("b", "ood", 50, 0.0, logits=still[1])]
        return write_run(tmp_path / name, sets, scores=["neglabel", "mcm"], random=random, seed=seed)

    draws = [run(f"random-{seed}", 1.0, True, seed) for seed in range(5)]
    result, out = make(tmp_path, draws[0], run("mined", 6.0, False, 7), *draws[1:])
    found = {(a["score"], a["ood"], a["metric"]): a for a in result["against_random"]}
    assert {score for score, _, _ in found} == {"neglabel"}  # nothing changes MCM
    aurocs = [r["auroc"] for r in result["rows"] if r["run"] != "mined" and (r["score"], r["ood"]) == ("neglabel", "b")]
    item = found["neglabel", "b", "auroc"]
    assert item["seeds"] == len(aurocs) == 5
    assert item["mean"] == pytest.approx(np.mean(aurocs))
    assert item["deviation"] == pytest.approx(np.std(aurocs, ddof=1))
    assert item["verdict"] == "larger than the spread: better than random"
    assert found["neglabel", "b", "fpr95"]["verdict"] == "larger than the spread: better than random"
    assert "Mined against random" in (out / "index.html").read_text(encoding="utf-8")


def test_random_draws_of_another_size_are_no_comparison(tmp_path: Path) -> None:
    sets = [Set("a", "id", 9, 2), Set("b", "ood", 9)]
    mined = write_run(tmp_path / "mined", sets)
    drawn = write_run(tmp_path / "random", sets, random=True, words=["one"], seed=1)
    result, out = make(tmp_path, mined, drawn)
    assert result["against_random"] == []
    assert "nothing to compare" in (out / "index.html").read_text(encoding="utf-8")


def test_one_draw_has_no_spread(tmp_path: Path) -> None:
    sets = [Set("a", "id", 9, 2), Set("b", "ood", 9)]
    folders = [write_run(tmp_path / name, sets, random=name == "r") for name in ("m", "r")]
    result, _ = make(tmp_path, *folders)
    assert {a["score"] for a in result["against_random"]} == {"neglabel"}
    assert {(a["deviation"], a["verdict"]) for a in result["against_random"]} == {
        (None, "one draw: its spread is unknown")
    }


def test_no_evidence_is_blank_and_said(tmp_path: Path) -> None:
    sets = [Set("a", "id", 9, 1), Set("b", "ood", 9)]
    result, out = make(tmp_path, write_run(tmp_path / "r", sets, words=[]))
    rows = read_csv(out / "metrics.csv")
    assert all(r[metric] == "" for r in rows if r["score"] == "neglabel" for metric in COLUMNS[6:-2])
    assert all(r["auroc"] for r in rows if r["score"] == "mcm")
    assert "no evidence for neglabel" in result["notes"][0]
    assert "no evidence" in (out / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("role", ["id", "ood", "unknown"])
def test_one_role_alone_has_no_metrics_but_a_page(tmp_path: Path, role: str) -> None:
    result, out = make(tmp_path, write_run(tmp_path / "r", [Set("inbox", role, 30)], mined=False))
    assert (out / "metrics.csv").read_text(encoding="utf-8") == ",".join(COLUMNS) + "\n"
    assert result["rows"] == []
    assert any("no metrics" in note for note in result["notes"])
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "No metrics." in page
    assert ("Most suspicious" in page) == (role == "unknown")


def test_unknown_pictures_beside_id_pictures_are_counted_at_the_threshold(tmp_path: Path) -> None:
    sets = [
        Set("a", "id", 20, logits={"msp": list(range(20))}),
        Set("inbox", "unknown", 3, logits={"msp": [0.5, 1, 7]}),
    ]
    _, out = make(tmp_path, write_run(tmp_path / "r", sets, scores=["msp"]))
    assert "<b>1 of 3</b>" in (out / "index.html").read_text(encoding="utf-8")


def test_a_set_without_readable_pictures_is_left_out_and_said(tmp_path: Path) -> None:
    sets = [Set("a", "id", 9, 1), Set("b", "ood", 9), Set("gone", "ood", 0)]
    result, _ = make(tmp_path, write_run(tmp_path / "r", sets, scores=["msp"]))
    assert [r["ood"] for r in result["rows"]] == ["b", "average"]
    assert result["notes"] == ["r: gone has no readable picture"]


def test_labels_of_other_sets_are_no_indices(tmp_path: Path) -> None:
    sets = [Set("a", "id", 3, 9, labels=["2", "2", "2"]), Set("b", "ood", 3, labels=["1", "1", "1"])]
    _, out = make(tmp_path, write_run(tmp_path / "r", sets))
    page = (out / "index.html").read_text(encoding="utf-8")
    assert '<p class="who"><b dir="auto">owl</b>' in page
    assert '<p class="who"><b dir="auto">b/1.png</b>' in page
    assert '<p class="who"><b dir="auto">dog</b>' not in page


def test_pictures_that_are_gone_are_counted_in_one_warning(tmp_path: Path) -> None:
    paths = []
    for i in range(6):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.new("RGB", (9, 9), (i, i, i)).save(paths[-1])
    sets = [Set("a", "id", 6, 3.0, paths), Set("b", "ood", 2, paths=["", ""])]
    folder = write_run(tmp_path / "r", sets)

    def warnings() -> list[str]:
        reporter = Reporter(quiet=True)
        report(ReportSettings(scores=(folder,), out=tmp_path / "report", cases=6), reporter)
        return reporter.warnings

    assert warnings() == []  # pictures scored from embeddings have no path, which is no loss
    for path in paths[:2]:
        Path(path).unlink()
    (warning,) = warnings()
    assert warning.startswith("r: 2 of 6 pictures to show can't be opened again")
