"""The leaderboard: figures of reports and of scores, kept apart where they can't be compared; its page in a browser."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from neglabel import NeglabelError, UsageError
from neglabel.pipeline.leaderboard_settings import LeaderboardSettings
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report import report
from neglabel.pipeline.report.leaderboard import leaderboard
from neglabel.pipeline.settings import ReportSettings

from .make_report import read_csv
from .make_scores import Set, write_run
from .page_in_browser import HOSTILE, HOSTILE_SETS, contrast

SETS = [Set("animals", "id", 40, 2.0), Set("food", "ood", 30, 0.0), Set("cars", "ood", 30, 0.6)]


def make(out: Path, *runs: Path, **options: Any) -> dict[str, Any]:
    settings = LeaderboardSettings(runs=runs, out=out, **{"bootstrap": 40, **options})
    return leaderboard(settings, Reporter(quiet=True))


def made_report(out: Path, *folders: Path, **options: Any) -> Path:
    settings = ReportSettings(scores=folders, out=out, bootstrap=40, cases=0, **options)
    report(settings, Reporter(quiet=True))
    return out


def change(path: Path, **entries: Any) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**value, **entries}), encoding="utf-8")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report of a mined and a random run, scores of another model with a bank, and scores that read a stream."""
    root = tmp_path_factory.mktemp("board")
    mined = write_run(root / "mined", SETS, scores=["neglabel", "mcm", "energy"])
    random = write_run(root / "random-0", SETS, scores=["neglabel"], random=True, seed=3)
    other = write_run(root / "large", SETS, scores=["neglabel", "mcm", "knn"], seed=5)
    change(other / "manifest.json", model={"model": "ViT-L-14", "pretrained": "openai", "checkpoint_sha256": "cd" * 32})
    stream = write_run(root / "adapting", SETS, scores=["neglabel", "of-a-plugin"], seed=7)
    scores = [{"name": "neglabel", "temperature": 0.01}, {"name": "of-a-plugin", "stream": {"protocol": "mixed"}}]
    change(stream / "manifest.json", scores=scores)
    return {
        "mined": mined, "report": made_report(root / "report", mined, random), "large": other, "adapting": stream,
        "alone": made_report(root / "again" / "report", mined), "root": root,
    }  # fmt: skip


@pytest.fixture(scope="module")
def board(runs: dict[str, Path]) -> Path:
    out = runs["root"] / "out"
    make(out, runs["report"], runs["large"], runs["adapting"], title="All of them")
    return out


def test_figures_are_the_reports_and_of_scores_what_a_report_would_say(
    runs: dict[str, Path], board: Path, tmp_path: Path
) -> None:
    theirs = {(r["run"], r["score"], r["ood"]): r for r in read_csv(runs["report"] / "metrics.csv")}
    ours = read_csv(board / "leaderboard.csv")
    found = [row for row in ours if row["run"] in ("mined", "random-0")]
    assert len(ours) == len(found) + (3 + 2) * 3
    assert [{k: r[k] for k in theirs["mined", "mcm", "cars"]} for r in found] == list(theirs.values())
    make(tmp_path / "out", runs["mined"])
    measured = read_csv(tmp_path / "out" / "leaderboard.csv")
    alone = read_csv(runs["alone"] / "metrics.csv")
    assert [{key: row[key] for key in alone[0]} for row in measured] == alone
    assert {r["group"] for r in ours if r["ood"] == "average" and r["run"] != "large"} == {"3"}
    assert len({r["group"] for r in ours if r["run"] == "large"}) == 3
    assert {r["score"] for r in ours if r["stream"]} == {"of-a-plugin"}
    assert {r["needs"] for r in ours if r["score"] == "knn"} == {"bank"}
    assert {r["run"] for r in ours if r["random"]} == {"random-0"}


def test_what_keeps_runs_apart_is_said(runs: dict[str, Path], tmp_path: Path) -> None:
    root = tmp_path / "runs"
    fewer = [Set("animals", "id", 39, 2.0), *SETS[1:]]
    cases = {
        "ID set": write_run(root / "fewer", fewer, seed=1),
        "number of labels": write_run(root / "four", SETS, labels=("cat", "dog", "owl", "cow"), seed=2),
        "OOD sets": write_run(root / "one", SETS[:2], seed=4),
    }
    for number, (what, folder) in enumerate(cases.items()):
        found = make(tmp_path / str(number), runs["mined"], folder, bootstrap=0)
        assert found["groups"] == 2
        assert found["notes"][-1].endswith(f"they differ in {what}")
    other = made_report(tmp_path / "ood-positive", runs["mined"], fpr="ood-positive")
    found = make(tmp_path / "conventions", runs["report"], other)
    assert found["notes"] == [
        "2 groups of runs that can't be compared with each other: they differ in convention of FPR95"
    ]
    assert {r["run"] for r in read_csv(tmp_path / "conventions" / "leaderboard.csv")} == {
        "mined", "random-0", "ood-positive/mined"
    }  # fmt: skip


def test_a_run_that_is_there_twice_is_shown_once(runs: dict[str, Path], tmp_path: Path) -> None:
    found = make(tmp_path / "out", runs["report"], runs["alone"], runs["mined"])
    assert found["runs"] == 2
    assert [note.split(" is in ")[0] for note in found["notes"]] == [
        "mined of again/report", "mined of mined"
    ]  # fmt: skip


def test_refusals(runs: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="at least one folder"):
        make(out)
    with pytest.raises(UsageError, match="given twice"):
        make(out, runs["report"], runs["report"])
    with pytest.raises(UsageError, match=r"has no manifest\.json"):
        make(out, tmp_path)
    unknown = write_run(tmp_path / "unknown", [Set("photos", "unknown", 4)])
    with pytest.raises(UsageError, match="no figure"):
        make(out, unknown)
    change(unknown / "manifest.json", format="neglabel-candidates")
    with pytest.raises(UsageError, match="neither"):
        make(out, unknown)
    with pytest.raises(UsageError, match="another stage"):
        make(runs["report"], runs["mined"])
    broken = shutil.copytree(runs["alone"], tmp_path / "broken")
    good = (broken / "metrics.csv").read_text(encoding="utf-8")
    for bad, where in ((good.replace("mined", "lost", 1), "line 2"), (good.replace(",40,", ",x,", 1), "line 2")):
        (broken / "metrics.csv").write_text(bad, encoding="utf-8")
        with pytest.raises(NeglabelError, match=where):
            make(out, broken)
    change(broken / "manifest.json", runs=[{"name": "mined"}])
    with pytest.raises(NeglabelError, match="is damaged"):
        make(out, broken)
    assert not out.exists()


def column(page: Any, key: str, body: int = 0) -> list[str]:
    """The first line of each cell under a head, as a reader sees it."""
    place = page.evaluate(f"document.querySelector('[data-key={key}]').cellIndex")
    rows = page.locator("#lines tbody").nth(body).locator("tr:not(.group-of)")
    text = f"(r.cells[{place}].querySelector('bdi') || r.cells[{place}]).innerText"
    return rows.evaluate_all(f"rows => rows.map(r => {text}.split('\\n')[0])")


def averages(board: Path, ood: str = "average", group: str = "3") -> list[dict[str, str]]:
    rows = csv.DictReader(io.StringIO((board / "leaderboard.csv").read_text(encoding="utf-8")))
    return [row for row in rows if row["ood"] == ood and row["group"] == group]


def shown(values: list[str]) -> list[str]:
    return [f"{float(value):.2f}" for value in values]


def test_heads_sort_within_groups_by_mouse_and_keyboard(opened: Any, board: Path) -> None:
    page = opened(board / "index.html").page
    rows = averages(board)
    best_first = shown(sorted((r["auroc"] for r in rows), key=float, reverse=True))
    assert column(page, "auroc") == best_first
    assert page.get_attribute("[data-key=auroc]", "aria-sort") == "descending"
    page.click("[data-key=auroc] button")
    assert column(page, "auroc") == best_first[::-1]
    assert page.get_attribute("[data-key=auroc]", "aria-sort") == "ascending"
    page.click("[data-key=fpr95] button")
    assert column(page, "fpr95") == shown(sorted((r["fpr95"] for r in rows), key=float))
    assert page.locator("[aria-sort]").count() == 1
    for key in ("method", "run", "model", "needs"):
        page.click(f"[data-key={key}] button")
        once = column(page, key)
        assert once == sorted(once, key=str.lower), key
    page.click("[data-key=negatives] button")
    assert column(page, "negatives")[-1] == "–"  # what a method doesn't use comes last, both ways
    page.focus("[data-key=negatives] button")
    page.keyboard.press("Enter")
    assert page.get_attribute("[data-key=negatives]", "aria-sort") == "ascending"
    assert column(page, "negatives")[-1] == "–"
    for _ in range(4):
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    assert page.get_attribute("[data-key=auroc]", "aria-sort") == "descending"
    assert column(page, "auroc") == best_first
    assert page.locator("#lines tbody").count() == 2


def test_ood_set_model_and_needs_choose(opened: Any, board: Path) -> None:
    page = opened(board / "index.html").page
    assert page.locator("#ood option").all_inner_texts() == ["average of all", "food", "cars"]
    page.select_option("#ood", "cars")
    cars = [row for row in read_csv(board / "leaderboard.csv") if row["ood"] == "cars" and row["run"] != "large"]
    ranked = sorted(cars, key=lambda row: -float(row["auroc"]))
    assert column(page, "auroc") == shown([row["auroc"] for row in ranked])
    cell = page.locator("#lines tbody").first.locator("tr").nth(1).locator("td.num").nth(1)
    low, high = (float(ranked[0][f"auroc_{end}"]) for end in ("low", "high"))
    assert cell.locator(".ci").inner_text() == f"{low:.1f}–{high:.1f}"
    assert "they differ in model" in page.inner_text("#apart")
    page.select_option("#model", label="ViT-L-14 · openai")
    assert set(column(page, "model")) == {"ViT-L-14 · openai"}
    assert not page.locator("#apart").is_visible()
    assert page.locator("#needs input").evaluate_all("b => b.map(x => x.value)") == [
        "labels", "negatives", "bank", "stream"
    ]  # fmt: skip
    page.uncheck("#needs input[value=bank]")
    assert sorted(column(page, "method")) == ["MCM", "NegLabel"]
    page.uncheck("#needs input[value=negatives]")
    assert column(page, "method") == ["MCM"]
    assert page.inner_text("#count") == "1 of 9 lines"
    page.select_option("#model", label="all")
    assert page.locator("tr", has_text="of-a-plugin").locator(".tag").inner_text() == "stream: mixed"
    page.uncheck("#needs input[value=stream]")
    assert "of-a-plugin" not in column(page, "method")
    page.uncheck("#needs input[value=labels]")
    assert page.inner_text("#count").startswith("None of 9 lines")


def test_without_scripts_it_is_the_table_of_averages(opened: Any, board: Path) -> None:
    seen = opened(board / "index.html", java_script_enabled=False).page
    scripted = opened(board / "index.html").page
    body = "b => b.map(x => x.innerText)"
    assert seen.locator("#lines tbody").evaluate_all(body) == scripted.locator("#lines tbody").evaluate_all(body)
    assert seen.inner_text("#apart") == scripted.inner_text("#apart") != ""
    assert not seen.locator("#tools").is_visible()


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_overflows_or_goes_out_whatever_names_say(
    opened: Any, board: Path, tmp_path: Path, width: int
) -> None:
    names = [Set("a <i>", "id", 8, 2.0), *(Set(name, "ood", 8) for name in (*HOSTILE_SETS, "constructor"))]
    hostile = write_run(tmp_path / "<s>run", names, scores=["neglabel", "<em>$s$"])
    make(tmp_path / "out", hostile, title=HOSTILE[1])
    for path in (board, tmp_path / "out"):
        seen = opened(path / "index.html", viewport={"width": width, "height": 800})
        for option in seen.page.locator("#ood option").evaluate_all("o => o.map(x => x.value)"):
            seen.page.select_option("#ood", option)
            assert seen.page.locator("#lines tbody tr").count() > 2
        seen.page.wait_for_timeout(50)
        assert seen.troubles == []
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        assert seen.page.locator("th:not([scope]), body s, body em, body i, img").count() == 0
    assert seen.page.inner_text("h1") == HOSTILE[1]


def test_dark_mode(opened: Any, board: Path) -> None:
    page = opened(board / "index.html", color_scheme="dark").page
    style = "e => [getComputedStyle(e).color, getComputedStyle(document.body).backgroundColor]"
    for part in (".tag", "thead button", "#lines td"):
        assert contrast(*page.locator(part).first.evaluate(style)) > 4.5, part
