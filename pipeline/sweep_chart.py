"""A sweep's summary as a picture, ``summary.svg``: every row's AUROC and FPR95, ours beside the published figures."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from neglabel.pipeline.report.measure import AVERAGE
from neglabel.pipeline.report.svg import shorten
from neglabel.pipeline.report.tables import SCORE_NAMES, TITLES
from neglabel.pipeline.sweep_table import SUMMARISED, Line

#: Rows of a picture at most; the tables have all.
ROWS = 60
#: Okabe and Ito's colours, told apart by colour-blind eyes too; a ninth score begins anew with another mark.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
_MARKS = "os^vDPX*"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "text.parse_math": False, "font.size": 9.0, "font.family": "DejaVu Sans",
    "axes.spines.top": False, "axes.spines.right": False, "axes.spines.left": False, "axes.grid": True,
    "grid.color": "#dddddd", "axes.axisbelow": True, "legend.frameon": False, "svg.hashsalt": "summary",
}  # fmt: skip


def shown(lines: Sequence[Line]) -> list[Line]:
    """Of each row, score and ID set the average over OOD sets, or the only OOD set where there is no average."""
    places: dict[tuple[str, str, str, str], dict[str, Line]] = {}
    for line in lines:
        if line.metric in SUMMARISED and (line.mean is not None or line.published is not None):
            key = (line.row, line.score, line.id, line.metric)
            places.setdefault(key, {}).setdefault(line.ood, line)
    found = [sets.get(AVERAGE) or (next(iter(sets.values())) if len(sets) == 1 else None) for sets in places.values()]
    return [line for line in found if line is not None]


def summary_svg(title: str, lines: Sequence[Line]) -> str:
    """An SVG document, the same for the same lines; empty where there is no figure to show.

    A mark is ours, with its 95 % interval or the standard deviation over repeats; a hollow one is the published figure.
    """
    chosen = shown(lines)
    several = len({line.id for line in chosen if line.id}) > 1
    named = list(dict.fromkeys(_called(line, several) for line in chosen))
    rows = named[:ROWS]
    scores = list(dict.fromkeys(line.score for line in chosen))
    if not rows:
        return ""
    at = heights([(_called(line, several), line.score) for line in chosen], rows)
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the viewer has the glyphs that matplotlib's own font lacks
        height = 1.5 + 0.12 * len(scores) + 0.26 * len(rows)
        figure = Figure(figsize=(9, height), layout="constrained")
        for place, (ax, metric) in enumerate(zip(figure.subplots(1, 2, sharey=True), SUMMARISED, strict=True)):
            own = [line for line in chosen if line.metric == metric and _called(line, several) in rows]
            _panel(ax, [(line, at[_called(line, several), line.score]) for line in own], scores)
            ax.set_xlabel(f"{TITLES[metric]}, % ({'higher' if metric == 'auroc' else 'lower'} is better)")
            ax.tick_params(length=0)
            if not place:
                ax.set_yticks(range(len(rows)), [shorten(row, 44) for row in rows])
                ax.set_ylim(len(rows) - 0.4, -0.6)
        cut = f" (the first {ROWS} of {len(named)} rows)" if len(named) > ROWS else ""
        figure.suptitle(shorten(title, 90) + cut, fontsize=11, x=0.01, ha="left")
        handles, names = figure.axes[0].get_legend_handles_labels()
        if handles:
            figure.legend(handles, names, loc="outside lower left", ncols=min(4, len(handles)))
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def _called(line: Line, several: bool) -> str:
    return f"{line.row}: {line.id}" if several and line.id and line.id != line.row else line.row


def heights(places: Sequence[tuple[str, str]], rows: Sequence[str]) -> dict[tuple[str, str], float]:
    """Where (row, score) is drawn: scores of one row a little apart, so that none hides another."""
    found: dict[tuple[str, str], float] = {}
    for number, row in enumerate(rows):
        scores = list(dict.fromkeys(score for other, score in places if other == row))
        step = 0.5 / max(1, len(scores) - 1)
        found |= {(row, score): number + step * (n - (len(scores) - 1) / 2) for n, score in enumerate(scores)}
    return found


def _panel(ax: Any, lines: Sequence[tuple[Line, float]], scores: Sequence[str]) -> None:
    published = False
    for number, score in enumerate(scores):
        own = [(line, y) for line, y in lines if line.score == score]
        look = {"color": _COLOURS[number % 8], "marker": _MARKS[number // 8 % 8], "linestyle": "none", "markersize": 5}
        ours = [(line, y) for line, y in own if line.mean is not None]
        for line, y in ours:
            ax.plot(_ends(line), [y, y], color=look["color"], linewidth=1.4, solid_capstyle="butt")
        if ours:
            name = SCORE_NAMES.get(score, score) or "ours"
            ax.plot([line.mean for line, _ in ours], [y for _, y in ours], label=shorten(name), **look)
        # One that the table doesn't compare with ours (other OOD sets, contradictory) isn't drawn beside it.
        theirs = [
            (line.published, y) for line, y in own
            if line.published is not None and (line.mean is None or line.difference is not None)
        ]  # fmt: skip
        if theirs:
            first = {} if published else {"label": "published"}
            ax.plot(*zip(*theirs, strict=True), **{**look, "markerfacecolor": "none", "markersize": 8}, **first)
            published = True


def _ends(line: Line) -> tuple[float, float]:
    mean = line.mean or 0.0
    if line.sd is not None:
        return mean - line.sd, mean + line.sd
    return (mean, mean) if line.low is None or line.high is None else (line.low, line.high)
