"""Reports to look at in a browser, and the browser: for ``test_page.py``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
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


def plain_page(root: Path) -> Path:
    """A mined and three random runs with pictures, one of them lost since; returns the page."""
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


def hostile_page(root: Path) -> Path:
    """The same with names that try to be anything but text."""
    sets = [
        Set("a <i>", "id", 8, 2.0, ids=HOSTILE, labels=HOSTILE, predicted=HOSTILE[::-1], paths=HOSTILE),
        *(Set(name, "ood", 8, ids=HOSTILE, labels=HOSTILE) for name in HOSTILE_SETS),
        Set("'u' <u>", "unknown", 8, ids=HOSTILE),
    ]
    folders = [write_run(root / "<s>run", sets, words=HOSTILE, labels=HOSTILE, scores=["neglabel", "<em>$s$"])]
    folders += [write_run(root / f"r{i}<s>", sets, words=HOSTILE, labels=HOSTILE, random=True) for i in range(2)]
    return render(root, folders, title=HOSTILE[0])


def render(root: Path, folders: list[Path], **options: Any) -> Path:
    """Returns the page; ``rows.json`` beside its folder holds the figures as the stage returns them, unrounded."""
    settings = ReportSettings(scores=tuple(folders), out=root / "report", **options)
    made = report(settings, Reporter(quiet=True))
    (root / "rows.json").write_text(json.dumps(made["rows"]), encoding="utf-8")
    return Path(made["page"])


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


def contrast(a: str, b: str) -> float:
    """WCAG 2 contrast ratio of two ``rgb(r, g, b)``."""

    def luminance(colour: str) -> float:
        channels = [int(c) / 255 for c in re.findall(r"\d+", colour)[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)
