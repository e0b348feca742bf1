"""The board → ``index.html``, one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from neglabel.pipeline.leaderboard_settings import LeaderboardSettings
from neglabel.pipeline.report.leaderboard import table
from neglabel.pipeline.report.leaderboard.entries import PEERS
from neglabel.pipeline.report.measure import AVERAGE
from neglabel.pipeline.report.page import environment, pct, script_json, span, styles
from neglabel.pipeline.report.tables import CONVENTIONS, SCORE_NAMES

_HERE = Path(__file__).parent
#: Columns: key, head, kind, the better end. Figures stand where a phone shows them.
COLUMNS = (
    ("method", "Method", "text", ""), ("run", "Run", "text", ""), ("auroc", "AUROC", "num", "↑"),
    ("fpr95", "FPR95", "num", "↓"), ("aupr_id", "AUPR-ID", "num", "↑"), ("aupr_ood", "AUPR-OOD", "num", "↑"),
    ("negatives", "Negatives", "num", ""), ("needs", "Needs", "text", ""), ("model", "Model", "text", ""),
)  # fmt: skip
METRICS = ("auroc", "fpr95", "aupr_id", "aupr_ood")


def render(settings: LeaderboardSettings, board: table.Board) -> str:
    conventions = list(dict.fromkeys(line.first.made.convention for line in board.lines))
    first = table.ordered(board, AVERAGE)
    return environment(_HERE).get_template("leaderboard.html.j2").render(
        title=settings.title,
        css=styles(_HERE / "leaderboard.css"),
        js=Markup((_HERE / "leaderboard.js").read_text(encoding="utf-8")),
        data=script_json(_data(board)),
        board=board,
        columns=COLUMNS,
        metrics=METRICS,
        first=[(_heading(group), [(line, _cells(line)) for line in lines]) for group, lines in first],
        apart=table.apart([group for group, _ in first]),
        runs=len({line.first.made.run for line in board.lines}),
        conventions=[CONVENTIONS[name] for name in conventions],
        streams=any(line.first.stream for line in board.lines),
        average=AVERAGE,
    )  # fmt: skip


def _heading(group: table.Peers) -> str:
    """What all figures of a group share."""
    inside, labels, model, convention, oods = group
    name = CONVENTIONS[convention].partition(":")[0]  # type: ignore[index]
    return f"ID {inside} · {labels} label{'s' * (labels != '1')} · {model} · {name} · OOD {oods or 'none'}"


def _cells(line: table.Line) -> dict[str, Any]:
    made = line.first.made
    return {
        "method": SCORE_NAMES.get(line.first.row.score, line.first.row.score), "run": made.run, "model": made.shown,
        "needs": ", ".join(line.first.needs), "tags": line.tags,
        "negatives": made.negatives if "negatives" in line.first.needs else None,
    }  # fmt: skip


def _data(board: table.Board) -> Mapping[str, Any]:
    """For the page's script. A figure: its value, which sorts, then itself and its interval as written."""
    lines = []
    for line in board.lines:
        figures = {
            ood: [line.groups[ood]]
            + [[getattr(entry.row, m), pct(getattr(entry.row, m)), span(entry.row, m)] for m in METRICS]
            for ood, entry in line.figures.items()
        }
        lines.append(_cells(line) | {"has": line.first.needs, "figures": figures})
    return {
        "average": AVERAGE, "oods": board.oods, "models": board.models, "needs": board.needs, "peers": PEERS,
        "groups": [list(group) for group in board.groups], "headings": [_heading(group) for group in board.groups],
        "columns": [[key, kind, better] for key, _, kind, better in COLUMNS], "lines": lines,
    }  # fmt: skip
