"""What ``--coverage`` found → the page's section."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup
from matplotlib.ticker import PercentFormatter

from neglabel.pipeline.report import svg
from neglabel.pipeline.report.page import environment
from neglabel.pipeline.report.read import Run
from neglabel.pipeline.report.tables import SCORE_NAMES

if TYPE_CHECKING:
    from neglabel.pipeline.report.coverage_part import Class, Half, Risk

#: Lines of the table of classes; the file has all.
SHOWN = 40
#: Figures at most.
PANELS = 12
_DASHES = ("solid", (0, (5, 2)), (0, (1.2, 1.6)), (0, (5, 2, 1, 2)), (0, (8, 3)))


def render(run: Run, classes: Sequence[Class], halves: Sequence[Half], risks: Sequence[Risk]) -> Markup:
    """``classes`` as they are to be read, all of ``run``."""
    ours = [c for c in classes if c.role == "ood"]
    pairs = list(dict.fromkeys((r.id, r.ood) for r in risks))
    curves = [(f"{a} against {b}", [r for r in risks if (r.id, r.ood) == (a, b)]) for a, b in pairs]
    lines: dict[tuple[str, str], dict[str, dict[str, Half]]] = {}
    for half in halves:
        lines.setdefault((half.id, half.ood), {}).setdefault(half.score, {})[half.part] = half
    html = environment(Path(__file__).parent).get_template("coverage.html.j2").render(
        run=run.name,
        classes=ours[:SHOWN],
        count=len(ours),
        bare=sum(c.margin < 0 for c in ours),
        inside=_together([c for c in classes if c.role == "id"]),
        sets=_together(ours),
        several=len({h.id for h in halves}) > 1,
        risks=[(name, Markup(curve(some)), some) for name, some in curves[:PANELS]],
        halves=[line for pair in lines.values() for line in pair.values()],
        by_picture=any(h.by == "picture" for h in halves),
    )  # fmt: skip
    return Markup(html)


def _together(classes: Sequence[Class]) -> list[tuple[str, float]]:
    """By data set, percent of pictures whose best word is a negative."""
    sets = dict.fromkeys(c.dataset for c in classes)
    shares = []
    for name in sets:
        mine = [c for c in classes if c.dataset == name]
        shares.append((name, sum(c.n * c.share for c in mine) / sum(c.n for c in mine)))
    return shares


def curve(found: Sequence[Risk]) -> str:
    """Selective risk over coverage."""
    with svg.axes(height=240, left=44, top=44) as ax:
        for index, risk in enumerate(found):
            name = svg.shorten(SCORE_NAMES.get(risk.score, risk.score), 20)
            ax.plot(risk.coverage / 100, risk.risk / 100, color=svg.SERIES[index % len(svg.SERIES)],
                    linestyle=_DASHES[index % len(_DASHES)], linewidth=1.7, label=name)  # fmt: skip
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(PercentFormatter(1, symbol=None))
        ax.set(xlim=(0, 1), ylim=(0, None))
        ax.set_xlabel("coverage: pictures accepted, %")
        ax.set_ylabel("of them wrong, %")
        ax.legend(loc="lower left", bbox_to_anchor=(-0.14, 1.0), ncols=2, fontsize=10, handlelength=2.2)
        return svg.inline(ax, f"risk {found[0].id} {found[0].ood}")
