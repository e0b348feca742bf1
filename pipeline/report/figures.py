"""Score distributions, ROC curves and the distances of the candidates, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from neglabel.pipeline.metrics import Convention, acceptance_threshold, fpr95
from neglabel.pipeline.report import svg
from neglabel.pipeline.report.read import DataSet, Run
from neglabel.pipeline.report.shapes import histogram_of
from neglabel.pipeline.report.tables import SCORE_NAMES

BINS = 56
_ROLE_COLOUR = {"id": svg.ID, "ood": svg.OOD, "unknown": svg.UNKNOWN}
_ROLE_NAME = {"id": "ID", "ood": "OOD", "unknown": "unknown"}
#: Colour is never the only difference between two curves.
_DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1.2, 1.6)), (0, (5, 2, 1, 2)), (0, (8, 3)))


def distributions(run: Run, score: str) -> str | None:
    """One histogram a data set on a common axis of log-odds, the threshold that accepts 95 % of ID marked.

    None where the score has no evidence.
    """
    sets = [data for data in run.sets if data.rows and not np.isnan(data.logit(score)).any()]
    if not sets:
        return None
    edges = _edges(np.concatenate([data.logit(score) for data in sets]))
    step = 50.0
    with svg.axes(height=44 + step * len(sets), top=4) as ax:
        for place, data in enumerate(sets):
            base = float(len(sets) - 1 - place)
            # Infinite and outlying log-odds are counted at the ends.
            values = np.clip(data.logit(score), edges[0], edges[-1])
            counts = np.histogram(values, edges)[0]
            colour = _ROLE_COLOUR[data.role]
            heights = base + 0.68 * counts / counts.max()
            ax.stairs(heights, edges, baseline=base, fill=True, color=colour, alpha=0.35, linewidth=0)
            ax.stairs(heights, edges, baseline=base, color=colour, linewidth=1.1)
            name = f"{svg.shorten(data.name)} · {_ROLE_NAME[data.role]} · {data.rows:,}"
            ax.text(0.0, base + 0.82, name, transform=ax.get_yaxis_transform(), fontsize=10.5, va="center")
        if run.of_role("id"):
            cut = acceptance_threshold(np.concatenate([d.logit(score) for d in sets if d.role == "id"]))
            if edges[0] <= cut <= edges[-1]:
                ax.axvline(cut, color=svg.INK, linewidth=1, linestyle=(0, (3, 2)))
        ax.set(ylim=(-0.02, len(sets)), xlim=(edges[0], edges[-1]), yticks=[])
        ax.spines["left"].set_visible(False)
        ax.grid(axis="y", visible=False)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.set_xlabel(f"log-odds of {svg.shorten(SCORE_NAMES.get(score, score))} (high = ID)")
        return svg.inline(ax, f"distribution {score}")


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bins over the middle 99.8 % of the finite values."""
    finite = values[np.isfinite(values)]
    low, high = np.quantile(finite, [0.001, 0.999]) if finite.size else (0.0, 0.0)
    margin = 0.03 * (high - low) or max(abs(high) * 1e-6, 0.5)
    return np.linspace(low - margin, high + margin, BINS + 1)


def roc(run: Run, inside: DataSet, ood: DataSet, convention: Convention) -> str | None:
    """ROC of every score for one pair of data sets, the 95 % point marked; positives follow ``convention``."""
    from sklearn.metrics import roc_curve

    with svg.axes(height=240, left=44, width=250) as ax:
        drawn = 0
        for index, score in enumerate(run.scores):
            a, b = inside.logit(score), ood.logit(score)
            if np.isnan(a).any() or np.isnan(b).any():
                continue
            if convention == "ood-positive":
                a, b = -b, -a
            _, ranks = np.unique(np.concatenate([a, b]), return_inverse=True)
            false, true, _ = roc_curve(np.arange(len(ranks)) < len(a), ranks)
            colour, dash = svg.SERIES[index % len(svg.SERIES)], _DASHES[index % len(_DASHES)]
            label = svg.shorten(SCORE_NAMES.get(score, score), 20)
            keep = _thin(false, true)
            ax.plot(false[keep], true[keep], color=colour, linestyle=dash, linewidth=1.7, label=label)
            at = fpr95(a, b, "nearest-recall" if convention == "nearest-recall" else "id-positive")
            ax.plot([at], [0.95], "o", color=colour, markersize=4, clip_on=False, zorder=3)
            drawn += 1
        if not drawn:
            return None
        ax.axhline(0.95, color=svg.MUTED, linewidth=0.8, linestyle=(0, (3, 2)))
        ax.set(xlim=(0, 1), ylim=(0, 1.005), xticks=np.linspace(0, 1, 5), yticks=np.linspace(0, 1, 5))
        ax.xaxis.set_major_formatter(PercentFormatter(1, symbol=None))
        ax.yaxis.set_major_formatter(PercentFormatter(1, symbol=None))
        positive, verb = ("OOD", "rejected") if convention == "ood-positive" else ("ID", "accepted")
        negative = "OOD" if positive == "ID" else "ID"
        ax.set_xlabel(f"{negative} pictures {verb}, %")
        ax.set_ylabel(f"{positive} pictures {verb}, %")
        ax.legend(loc="lower right", fontsize=10, handlelength=2.4, borderaxespad=0.2)
        return svg.inline(ax, f"roc {inside.name} {ood.name}")


def _thin(x: NDArray[Any], y: NDArray[Any], points: int = 160) -> NDArray[np.intp]:
    """Indices of at most about ``points`` corners, spread evenly along the curve, both ends kept."""
    way = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    targets = np.linspace(0, way[-1], points)
    return np.unique(np.clip(np.searchsorted(way, targets), 0, len(x) - 1))


def distances(metadata: Mapping[str, Any], cut: float | None) -> str | None:
    """Distances d of all candidates and of those kept, the cut marked; None where the negatives' metadata has no usable
    histogram."""
    found = histogram_of(metadata)
    if found is None:
        return None
    edges, every, kept = found
    shown = np.flatnonzero(every)
    first, last = shown[0], shown[-1] + 1
    with svg.axes(height=240, left=48, top=30) as ax:
        ax.stairs(every, edges, fill=True, color=svg.MUTED, alpha=0.35, linewidth=0, label="all candidates")
        ax.stairs(kept, edges, fill=True, color=svg.OOD, alpha=0.85, linewidth=0, label="kept as negatives")
        if kept.max() < 0.02 * every.max():
            ax.set_yscale("log")
        if cut is not None and np.isfinite(cut):
            ax.axvline(cut, color=svg.INK, linewidth=1, linestyle=(0, (3, 2)))
            room = (edges[last] - cut) / (edges[last] - edges[first])
            where = "left" if room > 0.33 else "right"
            text = f" cut: {cut:.3f} ".replace("-", "−")
            ax.text(cut, 0.97, text, transform=ax.get_xaxis_transform(), ha=where, va="top", fontsize=10)
        ax.set(xlim=(edges[first], edges[last]), xlabel="distance d to the ID labels (high = far)")
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        if ax.get_yscale() == "linear":
            ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        ax.legend(loc="lower left", bbox_to_anchor=(-0.12, 0.99), ncols=2, fontsize=10, handlelength=1.4)
        return svg.inline(ax, "distances")
