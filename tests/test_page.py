"""The report's page as a browser shows it: Debian's Chromium, driven by Playwright, without a network."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report import report
from neglabel.pipeline.settings import ReportSettings

from .make_scores import Set, write_run

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    "\"'><svg onload=alert(3)>",
    "{{ 7 * 7 }} {% x %}",
    "$\\frac{1}{0$ & &amp; <!-- -->",
    "שלום \u202e evil",
    "🦉‍🧑🏽‍🚀",
    "a" * 400,
]
# A file's name can't hold a slash.
HOSTILE_SETS = ["<b onclick=alert(4)>$x$ \"q\" 'a' &lt;", "<img src=x onerror=alert(5)>--> ]]> ض 🦉"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium on this machine (Debian: apt install chromium); the page is not looked at")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = driver.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mined and three random runs with pictures; returns the page."""
    root = tmp_path_factory.mktemp("plain")
    paths = []
    for i in range(12):
        path = root / f"{i}.png"
        Image.fromarray(np.full((40, 60, 3), 20 * i, np.uint8)).save(path)
        paths.append(str(path))
    sets = [
        Set("animals", "id", 12, 3.0, paths),
        Set("food", "ood", 12, 0.0, paths),
        Set("cars", "ood", 12, 0.5, [*paths[:-1], str(root / "gone.png")]),
    ]
    words = [f"word {i}" for i in range(250)] + ["caterpillar"]
    folders = [write_run(root / "mined", sets, words=words)]
    folders += [write_run(root / f"random-{i}", sets, words=words[::-1], random=True, seed=i + 1) for i in range(3)]
    return render(root, folders, title="Animals against the rest")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hostile")
    sets = [
        Set("a <i>", "id", 8, 2.0, ids=HOSTILE, labels=HOSTILE, predicted=HOSTILE[::-1], paths=HOSTILE),
        *(Set(name, "ood", 8, ids=HOSTILE, labels=HOSTILE) for name in HOSTILE_SETS),
        Set("'u' <u>", "unknown", 8, ids=HOSTILE),
    ]
    folders = [write_run(root / "<s>run", sets, words=HOSTILE, labels=HOSTILE, scores=["neglabel", "<em>$s$"])]
    folders += [write_run(root / f"r{i}<s>", sets, words=HOSTILE, labels=HOSTILE, random=True) for i in range(2)]
    return render(root, folders, title=HOSTILE[0])


def render(root: Path, folders: list[Path], **options: Any) -> Path:
    settings = ReportSettings(scores=tuple(folders), out=root / "report", **options)
    return Path(report(settings, Reporter(quiet=True))["page"])


class Opened:
    """A page, and what went wrong or out of it while it was open."""

    def __init__(self, browser: Any, path: Path, **context: Any) -> None:
        self.page = browser.new_page(**context)
        self.troubles: list[str] = []
        self.page.on("console", lambda message: self.troubles.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.troubles.append(dialog.message), dialog.dismiss()))
        self.page.on("request", self._requested)
        self.url = path.as_uri()
        self.page.goto(self.url)

    def _requested(self, request: Any) -> None:
        if request.url != self.url and not request.url.startswith("data:"):
            self.troubles.append(f"request: {request.url}")


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    pages = []

    def open_page(path: Path, **context: Any) -> Opened:
        pages.append(Opened(browser, path, **context))
        return pages[-1]

    yield open_page
    for page in pages:
        page.page.close()


def words_shown(page: Any) -> list[str]:
    return page.locator("#word-table tbody th bdi").all_inner_texts()


def test_tables_hold_the_figures(opened: Any, plain: Path) -> None:
    page = opened(plain).page
    lines = (plain.parent / "metrics.csv").read_text(encoding="utf-8").splitlines()
    neglabel = [line.split(",") for line in lines if line.startswith("mined,neglabel")]
    rows = page.locator("table.results tbody tr")
    cells = rows.evaluate_all("rows => rows.map(row => [...row.cells].map(cell => cell.innerText))")
    assert [row[0] for row in cells] == ["food", "cars", "average"]
    for shown, row in zip(cells, neglabel, strict=True):
        assert shown[2:4] == [f"{float(row[6]):.2f}", f"{float(row[7]):.2f}"]
    assert page.locator("#metrics tbody tr").count() == len(lines) - 1
    assert page.locator(".card .big").first.inner_text() == f"{float(neglabel[-1][6]):.1f}"
    assert "(3 seeds)" in page.locator("#random + p").inner_text()


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


def contrast(a: str, b: str) -> float:
    """WCAG 2 contrast ratio of two ``rgb(r, g, b)``."""

    def luminance(colour: str) -> float:
        channels = [int(c) / 255 for c in re.findall(r"\d+", colour)[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


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
