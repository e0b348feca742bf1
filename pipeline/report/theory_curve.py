"""``report --theory``: FPR95 of the toy score as negatives are added, beside what the theory expects of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from neglabel.pipeline import theory
from neglabel.pipeline.metrics import fpr95
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report import svg
from neglabel.pipeline.report.compare.kept import Kept
from neglabel.pipeline.report.kept_runs import Part, kept_runs
from neglabel.pipeline.report.page import environment
from neglabel.pipeline.report.read import DataSet, Run
from neglabel.pipeline.report.tables import write_csv

#: Figures at most; the file has every pair.
PANELS = 12


@dataclass(frozen=True)
class Point:
    """FPR95 (percent, ID positive) with the first ``m`` negatives by rank; ``p1``, ``p2``: mean shares of their matches
    with ID and with OOD pictures; ``slope``: Equation 8, percentage points a negative."""

    run: str
    id: str
    ood: str
    threshold: float
    m: int
    p1: float
    p2: float
    measured: float
    binomial: float
    normal: float
    poisson_binomial: float
    slope: float


@dataclass(frozen=True)
class Matches:
    """Of one data set: ``shares`` (M,) of its pictures that match each negative, ``counts`` (n, sizes) of matches with
    the first m negatives."""

    shares: NDArray[np.float64]
    counts: NDArray[np.int64]


def matches(kept: Kept, data: DataSet, threshold: float, sizes: Sequence[int]) -> Matches:
    """A match is a cosine of at least ``threshold``, in float32 as the toy score counts."""
    total, counts = np.zeros(len(kept.negatives), np.int64), []
    starts = [0, *sizes[:-1]]
    for _, block in kept.pictures(data, len(kept.negatives)):
        hits = block @ kept.negatives.T >= threshold
        total += np.count_nonzero(hits, axis=0)
        counts.append(np.add.reduceat(hits, starts, axis=1, dtype=np.int64).cumsum(axis=1))
    return Matches(total / data.rows, np.concatenate(counts))


def points(run: Run, pair: tuple[DataSet, DataSet], found: dict[str, Matches], threshold: float,
           sizes: Sequence[int]) -> list[Point]:  # fmt: skip
    """The curve of one ID and one OOD set."""
    inside, outside = (found[data.name] for data in pair)
    own = zip(theory.growing(inside.shares, sizes), theory.growing(outside.shares, sizes), strict=True)
    made = []
    for place, (m, (each1, each2)) in enumerate(zip(sizes, own, strict=True)):
        p1, p2 = float(inside.shares[:m].mean()), float(outside.shares[:m].mean())
        values = [
            fpr95(-inside.counts[:, place], -outside.counts[:, place]),
            theory.fpr(theory.binomial(m, p1), theory.binomial(m, p2)),
            theory.normal_fpr(m, p1, p2),
            theory.fpr(each1, each2),
            theory.normal_slope(m, p1, p2),
        ]
        names = (run.name, pair[0].name, pair[1].name)
        made.append(Point(*names, threshold, m, p1, p2, *(100 * value for value in values)))
    return made


def theory_part(runs: Sequence[Run], threshold: float, reporter: Reporter) -> Part:
    """Every run that kept embeddings; the page shows the first. Errors as :func:`.kept_runs.kept_runs`."""
    every: list[Point] = []
    words: list[list[Any]] = []
    kept = kept_runs(runs, "--theory")
    for one in kept:
        run, sizes = one.run, theory.sizes(len(one.negatives))
        sets = [data for role in ("id", "ood") for data in run.of_role(role) if data.rows]
        reporter.say(f"report: matches of {run.name} at a cosine of {threshold:g}")
        found = {data.name: matches(one, data, threshold, sizes) for data in sets}
        for a, b in ((a, b) for a in sets if a.role == "id" for b in sets if b.role == "ood"):
            every += points(run, (a, b), found, threshold, sizes)
        for data in sets:
            shares = found[data.name].shares
            words += [[run.name, data.name, data.role, j, one.words[j], f"{p:.6f}"] for j, p in enumerate(shares)]
    shown = [p for p in every if p.run == kept[0].run.name]
    files = {
        "theory.csv": theory_csv(every),
        "theory-words.csv": write_csv(("run", "dataset", "role", "rank", "text", "share"), words),
    }
    return Part("theory", "Theory", files, _section(shown, threshold), _notes(every, threshold))


def theory_csv(found: Iterable[Point]) -> str:
    columns = [field.name for field in fields(Point)]
    heads = [f"fpr95_{name}" if name in _CURVES else name for name in columns]
    return write_csv(heads, ([f"{v:.6g}" if isinstance(v, float) else v for v in astuple(p)] for p in found))


def _notes(found: Sequence[Point], threshold: float) -> list[str]:
    ends = {(p.run, p.id, p.ood): p for p in found}.values()
    silent = [p for p in ends if not p.p2]
    full = [p for p in ends if min(p.p1, p.p2) > 0.9]
    if silent:
        return [f"theory: no picture of {silent[0].ood} matches a negative at a cosine of {threshold:g}, which is for "
                "OpenAI's CLIP; give a lower --threshold"]  # fmt: skip
    if full:
        return [f"theory: nearly every picture of {full[0].ood} matches every negative at a cosine of {threshold:g}; "
                "give a higher --threshold"]  # fmt: skip
    return []


#: Curves: field, name, colour, dash, width.
_CURVES: dict[str, tuple[str, str, Any, float]] = {
    "measured": ("measured", svg.INK, "solid", 2.2),
    "poisson_binomial": ("Poisson-binomial", svg.SERIES[0], (0, (5, 2)), 1.6),
    "binomial": ("binomial", svg.SERIES[1], (0, (1.2, 1.6)), 1.6),
    "normal": ("normal, Eq. 7", svg.SERIES[2], (0, (5, 2, 1, 2)), 1.6),
}


def _section(found: Sequence[Point], threshold: float) -> Markup:
    pairs = list(dict.fromkeys((p.id, p.ood) for p in found))
    curves = [(pair, [p for p in found if (p.id, p.ood) == pair]) for pair in pairs]
    html = environment(Path(__file__).parent).get_template("theory.html.j2").render(
        run=found[0].run,
        threshold=threshold,
        figures=[(f"{a} against {b}", Markup(curve(some))) for (a, b), some in curves[:PANELS]],
        ends=[some[-1] for _, some in curves],
    )  # fmt: skip
    return Markup(html)


def curve(found: Sequence[Point]) -> str:
    """FPR95 over the number of negatives, measured and by the three distributions."""
    with svg.axes(height=250, left=44, top=44) as ax:
        for key, (name, colour, dash, width) in _CURVES.items():
            values = [getattr(p, key) / 100 for p in found]
            ax.plot([p.m for p in found], values, color=colour, linestyle=dash, linewidth=width, label=name,
                    zorder=3 if key == "measured" else 2)  # fmt: skip
        ax.set_xscale("log")
        ax.minorticks_off()
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        ax.yaxis.set_major_formatter(PercentFormatter(1, symbol=None))
        ax.set(ylim=(0, 1.01), xlim=(1, max(2, found[-1].m)), yticks=np.linspace(0, 1, 5))
        ax.set_xlabel("negatives, the farthest first")
        ax.set_ylabel("FPR95, %")
        ax.legend(loc="lower left", bbox_to_anchor=(-0.14, 1.0), ncols=2, fontsize=10, handlelength=2.2)
        return svg.inline(ax, f"theory {found[0].id} {found[0].ood}")
