"""A matplotlib figure → SVG that lives inside a page: its colours, its font, dark mode, no ids that clash."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Width of a figure in its own units: a narrow phone's, so that text keeps its size there.
WIDTH = 330.0
_POINTS = 72.0

# Stand-ins that matplotlib can draw with; the page's style sheet says what they are in light and in dark.
INK, MUTED, LINE = "#010100", "#010200", "#010300"
ID, OOD, UNKNOWN = "#010400", "#010500", "#010600"
SERIES = ("#010700", "#010800", "#010900", "#010a00", "#010b00")
_VARIABLES = {
    INK: "--ink", MUTED: "--muted", LINE: "--line", ID: "--id", OOD: "--ood", UNKNOWN: "--unknown",
    **{colour: f"--s{i + 1}" for i, colour in enumerate(SERIES)},
}  # fmt: skip
_STYLE: dict[Any, Any] = {
    # Names are data: `$` in them must not start a formula, and text must stay text (searchable, the page's font).
    "text.parse_math": False, "svg.fonttype": "none", "font.size": 11.0, "font.family": "DejaVu Sans",
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": LINE, "axes.labelcolor": MUTED,
    "axes.labelsize": 11.0, "xtick.color": LINE, "ytick.color": LINE, "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED, "xtick.labelsize": 10.0, "ytick.labelsize": 10.0, "text.color": INK,
    "axes.grid": True, "grid.color": LINE, "grid.linewidth": 0.6, "axes.axisbelow": True, "legend.frameon": False,
    "axes.unicode_minus": True, "path.simplify": True,
}  # fmt: skip


@contextmanager
def axes(height: float, left: float = 12, top: float = 12, width: float = WIDTH) -> Iterator[Axes]:
    """Axes of a new figure of ``width`` × ``height`` units, in the page's style; see :func:`inline`."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # The browser has the glyphs that matplotlib's own font lacks.
        warnings.simplefilter("ignore")
        figure = Figure(figsize=(width / _POINTS, height / _POINTS))
        area = (left / width, 40 / height, (width - left - 10) / width, (height - 40 - top) / height)
        yield figure.add_axes(area)


def inline(ax: Axes, name: str) -> str:
    """The ``<svg>`` element of ``ax``'s figure; ``name`` tells its internal ids from other figures'. Call it inside
    the ``with`` block of :func:`axes`."""
    figure, out = ax.figure, io.StringIO()
    assert isinstance(figure, Figure)
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, count=1, flags=re.S)
    text = re.sub(r"<style type=\"text/css\">.*?</style>", "", text, count=1, flags=re.S)
    text = re.sub(r"<g id=\"[^\"]*\"", "<g", text)
    head, rest = text.split(">", 1)
    box = re.search(r"viewBox=\"[^\"]*\"", head)
    text = f'<svg {box.group(0) if box else ""} xmlns="http://www.w3.org/2000/svg" aria-hidden="true">{rest}'
    text = text.replace("xlink:href", "href")
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return re.sub(r"\n\s*", "\n", text)


def shorten(text: str, length: int = 34) -> str:
    """``text`` in one line of at most ``length`` characters."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return line if len(line) <= length else line[: length - 1] + "…"
