"""The comparison's figures, as SVG: differences to the best run with their intervals, distances on one axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.ticker import MaxNLocator

from neglabel.pipeline.report import svg
from neglabel.pipeline.report.compare.gather import Line
from neglabel.pipeline.report.shapes import histogram_of

_STEP = 40.0


def differences(lines: Sequence[Line], metric: Literal["auroc", "fpr95"]) -> str:
    """A dot and an interval a run below the best, on one axis; hollow where no difference is shown."""
    rest = lines[1:]
    gaps = [line.average.auroc_difference if metric == "auroc" else line.average.fpr95_difference for line in rest]
    with svg.axes(height=52 + _STEP * len(rest), top=6) as ax:
        for place, (line, gap) in enumerate(zip(rest, gaps, strict=True)):
            base = float(len(rest) - 1 - place)
            worse = gap.shown and (gap.value < 0) == (metric == "auroc")
            colour = svg.MUTED if not gap.shown else svg.OOD if worse else svg.ID
            ax.plot([0, 0], [base + 0.02, base + 0.48], color=svg.INK, linewidth=1)
            ax.plot([gap.low, gap.high], [base + 0.25] * 2, color=colour, linewidth=2.4, solid_capstyle="butt")
            ax.plot([gap.value], [base + 0.25], "o", color=colour, markersize=7, markeredgewidth=1.8,
                    markerfacecolor=colour if gap.shown else "none", zorder=3)  # fmt: skip
            # A run's own hyphens stay hyphens.
            numbers = f"{gap.value:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]".replace("-", "−")
            text = f"{svg.shorten(line.run.name, 26)}  {numbers}"
            ax.text(0.0, base + 0.68, text, transform=ax.get_yaxis_transform(), fontsize=10.5, va="center")
        ends = [0.0, *(end for gap in gaps for end in (gap.low, gap.high))]
        margin = 0.08 * (max(ends) - min(ends)) or 0.5
        ax.set(xlim=(min(ends) - margin, max(ends) + margin), ylim=(-0.15, len(rest)), yticks=[])
        ax.spines["left"].set_visible(False)
        ax.grid(axis="y", visible=False)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        name, good = ("AUROC", "left: worse") if metric == "auroc" else ("FPR95", "right: worse")
        ax.set_xlabel(f"{name} minus that of {svg.shorten(lines[0].run.name, 16)}, points ({good})")
        return svg.inline(ax, f"differences {metric}")


def distances(lines: Sequence[Line]) -> str | None:
    """Distances of every candidate and of the negatives, a row a run, one axis; None where no run has a histogram."""
    found = [(line, parts) for line in lines if (parts := histogram_of(line.run.negatives.metadata)) is not None]
    if not found:
        return None
    with svg.axes(height=44 + 58.0 * len(found), top=4) as ax:
        low, high = np.inf, -np.inf
        for place, (line, (edges, every, kept)) in enumerate(found):
            base = float(len(found) - 1 - place)
            shown = np.flatnonzero(every + kept)
            low, high = min(low, edges[shown[0]]), max(high, edges[shown[-1] + 1])
            # Each to its own height: shapes are compared, and kept words may be few among many.
            for counts, colour, alpha in ((every, svg.MUTED, 0.3), (kept, svg.OOD, 0.55)):
                heights = base + 0.62 * counts / max(counts.max(), 1)
                ax.stairs(heights, edges, baseline=base, fill=True, color=colour, alpha=alpha, linewidth=0)
                ax.stairs(heights, edges, baseline=base, color=colour, linewidth=1.0)
            text = svg.shorten(line.run.name, 30)
            if line.distance is not None:
                ax.plot([line.distance] * 2, [base, base + 0.62], color=svg.INK, linewidth=1.2, linestyle=(0, (3, 2)))
                text += f" · median d {line.distance:.3f}".replace("d -", "d −")
            ax.text(0.0, base + 0.8, text, transform=ax.get_yaxis_transform(), fontsize=10.5, va="center")
        ax.set(xlim=(low, high), ylim=(-0.02, len(found)), yticks=[])
        ax.spines["left"].set_visible(False)
        ax.grid(axis="y", visible=False)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.set_xlabel("distance d to the ID labels (high = far)")
        return svg.inline(ax, "distances of sources")
