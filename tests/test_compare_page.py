"""The comparison page as a browser shows it, without a network: its figures, phone width, dark mode, any script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .make_kept import World, write_kept
from .make_report import make, read_csv
from .page_in_browser import HOSTILE, contrast

WORLD = World(pictures={"animals": 40, "food <i>": 20, "iNaturalist": 20})
WORDS = [*HOSTILE, "قط صغير", "日本語の単語", *(f"Titre {i}" for i in range(20))]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources and their union; every name tries to be markup."""
    root = tmp_path_factory.mktemp("page")
    count = len(WORDS)
    folders = [
        write_kept(root / "<b>", WORLD, WORLD.words(count, seed=1), WORDS, language="ar", stores=["a"]),
        write_kept(root / ("x" * 40), WORLD, WORLD.words(count, "iNaturalist", seed=2),
                   [f"w{i} <u>" for i in range(count)], language="<em>", stores=["b"]),
        write_kept(root / "union", WORLD, WORLD.words(count, "iNaturalist", seed=2), WORDS, language="zh",
                   stores=["a", "b"], pos="<s>"),
    ]  # fmt: skip
    _, out = make(root, *folders, compare="corpus", cases=0, bootstrap=40, hurting=20, title="<em>t</em>")
    return out / "compare.html"


def test_the_answer_and_the_table_hold_the_figures(opened: Any, page: Path) -> None:
    shown = opened(page).page
    rows = read_csv(page.parent / "compare.csv")
    averages = [row for row in rows if row["ood"] == "average"]
    best = max(averages, key=lambda row: float(row["auroc"]))
    others = [row for row in averages if row is not best]
    told_apart = all(float(row["auroc_low"]) > 0 or float(row["auroc_high"]) < 0 for row in others)
    rank = "is best" if told_apart else "leads"
    assert shown.inner_text(".answer .big").startswith(f"{best['run']} {rank}: AUROC {float(best['auroc']):.2f}")
    table = shown.locator("#results table.results").first.locator("tbody tr")
    cells = table.evaluate_all("rows => rows.map(row => [...row.cells].map(cell => cell.innerText.split('\\n')[0]))")
    assert [row[0] for row in cells] == [row["run"] for row in averages]
    for line, row in zip(cells, averages, strict=True):
        assert (line[1], line[3]) == (f"{float(row['auroc']):.2f}", f"{float(row['fpr95']):.2f}")
    text = shown.inner_text("#results")
    assert "94.21" in text  # words of wordnet-3.0, as their `source` says
    assert shown.locator("#studies tbody tr").count() == 3
    assert shown.locator("#gaps svg").count() == 2


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_goes_wrong_or_out_and_nothing_overflows(opened: Any, page: Path, width: int) -> None:
    assert page.stat().st_size < 2_000_000
    seen = opened(page, viewport={"width": width, "height": 800})
    for element in seen.page.locator("details").all():
        element.evaluate("d => d.open = true")
    assert seen.troubles == []
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    # A table that is wider than the page scrolls by itself.
    wide = seen.page.locator(".scroll").evaluate_all("e => e.filter(x => x.scrollWidth > x.clientWidth + 1).length")
    assert wide > 0 or width == 1280
    assert seen.page.locator("table").evaluate_all("t => t.every(x => x.closest('.scroll'))")


def test_names_are_text_everywhere(opened: Any, page: Path) -> None:
    shown = opened(page).page
    assert shown.title() == "<em>t</em>: sources of words"
    assert shown.locator("[onclick], [onerror], [onload], img, script, body s, body em, body u").count() == 0
    assert "<b>" in shown.locator("#results tbody th").all_inner_texts()
    hurting = shown.locator("#hurting")
    assert HOSTILE[0] in hurting.evaluate("e => e.textContent")


def test_words_of_any_script_keep_their_direction(opened: Any, page: Path) -> None:
    shown = opened(page).page
    words = shown.locator(".words-list bdi")
    found = dict(words.evaluate_all("e => e.map(x => [x.textContent, getComputedStyle(x).unicodeBidi])"))
    assert {"قط صغير", "日本語の単語"} <= set(found)
    assert set(found.values()) == {"isolate"}
    # A right-to-left word leaves the share behind it on its right.
    beside = shown.locator(".words-list li", has_text="قط صغير").first.evaluate(
        "li => { let d = li.closest('details'); if (d) d.open = true;"
        " let [a, b] = [...li.children].map(x => x.getBoundingClientRect()); return a.right <= b.left + 1; }"
    )
    assert beside


def test_dark_mode_and_readers_that_do_not_see_it(opened: Any, page: Path) -> None:
    script = """() => ['body', '.answer .big', '.tag', '#gaps svg text', '.interval'].map(s => {
        let e = document.querySelector(s), c = getComputedStyle(e);
        return [s.includes('svg') ? c.fill : c.color, getComputedStyle(document.body).backgroundColor] })"""
    light, dark = (opened(page, color_scheme=scheme).page.evaluate(script) for scheme in ("light", "dark"))
    for one, other in zip(light, dark, strict=True):
        assert one != other
        assert contrast(*one) > 4.2
        assert contrast(*other) > 4.2
    shown = opened(page).page
    assert shown.locator("th:not([scope])").count() == 0
    assert shown.locator("table:not(:has(caption))").count() == 0
    assert shown.locator("[role=img]:not([aria-label]), [role=region]:not([aria-label])").count() == 0
    ids = shown.locator("[id]").evaluate_all("e => e.map(x => x.id)")
    assert len(ids) == len(set(ids))
    targets = shown.locator("a[href^='#']").evaluate_all("e => e.map(x => x.getAttribute('href').slice(1))")
    assert set(targets) <= set(ids)
