"""The embedded world end to end, as a user runs it: a real model, all of WordNet, real pictures, a browser."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

SETS = ("faces", "food", "objects", "unseen", "vehicles")


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("quickstart") / "out"
    status = out.with_name("status")
    # The process writes its own peak: what the parent is told counts the memory that the parent had at the fork.
    code = (
        "import atexit, shutil; from neglabel.cli import main; "
        f"atexit.register(shutil.copyfile, '/proc/self/status', {str(status)!r}); main()"
    )
    command = [sys.executable, "-c", code, "quickstart", "--out", str(out)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    with open(out / "report" / "metrics.csv", newline="") as file:
        rows = {(r["run"], r["score"], r["ood"]): r for r in csv.DictReader(file)}
    peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return {"out": out, "shown": result.stdout, "rows": rows, "peak": peak and int(peak[1])}


def test_neglabel_is_well_above_mcm(quickstart: dict[str, Any]) -> None:
    average = {s: quickstart["rows"]["mined", s, "average"] for s in ("neglabel", "mcm", "msp")}
    assert float(average["neglabel"]["auroc"]) > 90
    assert float(average["neglabel"]["auroc"]) > float(average["mcm"]["auroc"]) + 10
    assert float(average["neglabel"]["fpr95"]) < float(average["mcm"]["fpr95"]) - 20
    for ood in SETS:
        neglabel, mcm = (float(quickstart["rows"]["mined", s, ood]["auroc"]) for s in ("neglabel", "mcm"))
        assert neglabel > mcm, ood


def test_random_negatives_are_reported_over_five_seeds(quickstart: dict[str, Any]) -> None:
    runs = {run for run, _, _ in quickstart["rows"]}
    assert runs == {"mined", *(f"random-{i}" for i in range(5))}
    assert "5 seeds" in quickstart["shown"]
    manifest = json.loads((quickstart["out"] / "report" / "manifest.json").read_text())
    assert {a["seeds"] for a in manifest["against_random"]} == {5}


def test_all_of_wordnet_went_in_and_ten_thousand_came_out(quickstart: dict[str, Any]) -> None:
    manifest = json.loads((quickstart["out"] / "candidates" / "manifest.json").read_text())
    assert manifest["counts"]["candidates"] + manifest["counts"]["rejected"]["duplicate"] == 117_798 + 21_479
    negatives = pq.read_table(quickstart["out"] / "negatives.parquet")
    assert negatives.num_rows == 10_000
    labels = {line.casefold() for line in (quickstart["out"] / "labels" / "animals.txt").read_text().splitlines()}
    assert not labels & {text.casefold() for text in negatives["text"].to_pylist()}


def test_float32_scores_would_tie(quickstart: dict[str, Any]) -> None:
    """The trap that the log-odds are for: they stay apart where the score rounds to 1."""
    table = pq.read_table(quickstart["out"] / "mined" / "scores-animals.parquet")
    scores = table["neglabel"].to_numpy()
    logits = table["neglabel_logit"].to_numpy()
    assert np.isfinite(logits).all()
    assert len(np.unique(logits)) >= len(np.unique(scores.astype(np.float32)))
    assert (np.diff(scores[np.argsort(logits)]) >= 0).all()


@pytest.mark.soak
def test_a_second_run_encodes_nothing(quickstart: dict[str, Any]) -> None:
    command = [sys.executable, "-c", "from neglabel.cli import main; main()", "run", "--json"]
    result = subprocess.run([*command, str(quickstart["out"] / "quickstart.toml")], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert summary["encode"]["encoded"] == 0
    rows = {(r["run"], r["score"], r["ood"]): r for r in summary["report"]["rows"]}
    for key, row in quickstart["rows"].items():
        assert rows[key]["auroc"] == pytest.approx(float(row["auroc"]), abs=1e-4)


def test_memory_stays_under_two_gigabytes(quickstart: dict[str, Any]) -> None:
    if quickstart["peak"] is None:
        pytest.skip("this system has no /proc/self/status")
    assert quickstart["peak"] < 2_000_000_000 / 1024


def test_page_in_a_browser(quickstart: dict[str, Any]) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    page_file = Path(quickstart["out"]) / "report" / "index.html"
    assert page_file.stat().st_size < 5_000_000
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 390, "height": 800})
        troubles: list[str] = []
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or troubles.append(request.url))
        page.goto(page_file.as_uri())
        auroc = float(quickstart["rows"]["mined", "neglabel", "food"]["auroc"])
        assert f"{auroc:.2f}" in page.locator("table").first.inner_text()
        pictures = page.eval_on_selector_all("img", "all => all.map(i => [i.complete, i.naturalWidth, i.alt])")
        assert len(pictures) >= 8
        assert all(complete and width > 0 for complete, width, _ in pictures)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert troubles == []
        browser.close()
