"""The report's page as a browser shows it: Debian's Chromium, driven by Playwright, without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .page_in_browser import HOSTILE, HOSTILE_SETS, contrast, hostile_page, plain_page


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_page(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_page(tmp_path_factory.mktemp("hostile"))


def words_shown(page: Any) -> list[str]:
    return page.locator("#word-table tbody th bdi").all_inner_texts()


def test_tables_hold_the_figures(opened: Any, plain: Path) -> None:
    page = opened(plain).page
    # Not those of metrics.csv: rounded once more, 18.749999999999996 of an average would be 18.8 and not 18.7.
    rows = json.loads((plain.parent.parent / "rows.json").read_text(encoding="utf-8"))
    neglabel = [row for row in rows if (row["run"], row["score"]) == ("mined", "neglabel")]
    lines = page.locator("table.results tbody tr")
    cells = lines.evaluate_all("rows => rows.map(row => [...row.cells].map(cell => cell.innerText))")
    assert [line[0] for line in cells] == ["food", "cars", "average"]
    for shown, row in zip(cells, neglabel, strict=True):
        for cell, metric in zip(shown[2:4], ("auroc", "fpr95"), strict=True):
            figure, bounds = cell.splitlines()
            assert figure.rstrip("▾") == f"{row[metric]:.2f}"
            assert bounds == f"{row[f'{metric}_low']:.1f}–{row[f'{metric}_high']:.1f}"
    assert page.locator("#metrics tbody tr").count() == len(rows)
    assert page.locator(".card .big").first.inner_text() == f"{neglabel[-1]['auroc']:.1f}"
    assert "(3 seeds)" in page.locator("#random + p").inner_text()


def test_marks_are_the_differences_that_hold(opened: Any, plain: Path) -> None:
    page = opened(plain).page
    lines = (plain.parent / "differences.csv").read_text(encoding="utf-8").splitlines()
    held = [line for line in lines if line.startswith('"scores of mined') and line.endswith(",yes,")]
    worse, bold = page.locator("table.results td .down"), page.locator("table.results td.best")
    assert bool(worse.count()) == bool(bold.count()) == bool(held)
    assert worse.count() <= len(held)
    assert "1,000 draws of the pictures" in page.inner_text("#tests")
    seeds = page.locator("#seeds + .scroll tbody tr").all_inner_texts()
    assert len(seeds) == 9
    assert all(line.startswith("3 seeds") for line in seeds)


def test_pictures_are_shown_and_a_lost_one_has_a_placeholder(opened: Any, plain: Path) -> None:
    page = opened(plain).page
    pictures = page.locator(".case img").evaluate_all("i => i.map(x => [x.complete, x.naturalWidth, x.alt.length])")
    assert len(pictures) + page.locator(".case .gone").count() == 4 * 5
    assert all(complete and width == 60 and alt for complete, width, alt in pictures)
    assert page.locator(".case .bars li").count() == 20 * 7
    assert page.locator("figure svg").count() == 3 + 2 + 1


def test_search_tabs_and_parts_of_speech(opened: Any, plain: Path) -> None:
    page = opened(plain).page
    assert len(words_shown(page)) == 100
    page.click("#word-more")
    assert len(words_shown(page)) == 200
    page.fill("#word-search", " CATER")
    assert words_shown(page) == ["caterpillar"]
    assert page.inner_text("#word-count").startswith("1 of 251")
    page.fill("#word-search", "owl")  # an ID label: the words that lie nearest to it
    assert set(page.locator("#word-table tbody td:last-child").all_inner_texts()) == {"owl"}
    page.fill("#word-search", "")
    page.select_option("#word-pos", label="adjective")
    assert words_shown(page)[:2] == ["word 1", "word 3"]
    page.select_option("#word-pos", label="all")
    page.click("[data-list=last]")
    assert words_shown(page)[0] == "caterpillar"
    page.click("[data-list=nearest]")
    assert words_shown(page) == ["near cat", "near dog", "near owl"]
    assert page.get_attribute("[data-list=nearest]", "aria-pressed") == "true"


def test_words_are_there_without_scripts(opened: Any, plain: Path) -> None:
    page = opened(plain, java_script_enabled=False).page
    assert words_shown(page)[0] == "word 0"
    assert not page.locator("#browser").is_visible()


@pytest.mark.parametrize("name", ["plain", "hostile"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_goes_wrong_or_out_and_nothing_overflows(
    opened: Any, request: pytest.FixtureRequest, name: str, width: int
) -> None:
    path = request.getfixturevalue(name)
    assert path.stat().st_size < 5_000_000
    seen = opened(path, viewport={"width": width, "height": 800})
    for element in seen.page.locator("details").all():
        element.evaluate("d => d.open = true")
    for button in seen.page.locator("[data-list]").all():
        button.click()
    seen.page.wait_for_timeout(100)
    assert seen.troubles == []
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width


def test_names_are_text_everywhere(opened: Any, hostile: Path) -> None:
    page = opened(hostile).page
    assert page.title() == HOSTILE[0]
    assert page.inner_text("h1") == HOSTILE[0]
    assert words_shown(page)[:4] == HOSTILE[:4]
    assert page.locator("table.results tbody th").all_inner_texts() == [*HOSTILE_SETS, "average"]
    # Nothing of theirs became an element: no pictures but data, no handlers, three scripts and one style of ours.
    assert page.locator("[onclick], [onerror], [onload], img:not([src^='data:']), body s, body em, body u").count() == 0
    assert page.locator("script").count() == 2
    text = page.locator("figure svg").first.text_content()
    assert "$x$" in text
    assert "49" not in page.inner_text("h1")


def test_dark_mode(opened: Any, plain: Path) -> None:
    def colours(scheme: str) -> dict[str, str]:
        page = opened(plain, color_scheme=scheme).page
        return page.evaluate(
            """() => ({
                ground: getComputedStyle(document.body).backgroundColor,
                ink: getComputedStyle(document.body).color,
                label: getComputedStyle(document.querySelector('figure svg text')).fill,
                bar: getComputedStyle(document.querySelector('.bars i.id')).backgroundColor })"""
        )

    light, dark = colours("light"), colours("dark")
    assert all(light[key] != dark[key] for key in light)
    for found in (light, dark):
        assert contrast(found["ink"], found["ground"]) > 7
        assert contrast(found["label"], found["ground"]) > 4.5
        assert contrast(found["bar"], found["ground"]) > 3


def test_readers_that_do_not_see_it(opened: Any, plain: Path) -> None:
    page = opened(plain).page
    assert page.get_attribute("html", "lang") == "en"
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert page.locator("th:not([scope])").count() == 0
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.locator("[role=img]:not([aria-label]), [role=region]:not([aria-label])").count() == 0
    ids = page.locator("[id]").evaluate_all("e => e.map(x => x.id)")
    assert len(ids) == len(set(ids))
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
