"""Results as the page shows them: cards, tables with what holds marked, comparisons side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neglabel.pipeline.report.differences import LEVEL, Tested
from neglabel.pipeline.report.measure import AVERAGE, Against, Row, mean
from neglabel.pipeline.report.read import Run
from neglabel.pipeline.report.seeds import Spread
from neglabel.pipeline.report.tables import bounds
from neglabel.pipeline.settings import ReportSettings


def headline(run: Run, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A card a score: AUROC and FPR95 averaged over OOD sets (and ID sets, where there are several)."""
    cards = []
    for score in run.scores:
        ours = [row for row in rows if (row.run, row.score, row.ood) == (run.name, score, AVERAGE)]
        auroc, fpr95 = mean([row.auroc for row in ours]), mean([row.fpr95 for row in ours])
        if auroc is not None:
            # An interval of a mean over ID sets would need their joint draws; each table has its own.
            intervals = {m: bounds(ours[0], m) if len(ours) == 1 else None for m in ("auroc", "fpr95")}
            cards.append({"score": score, "auroc": auroc, "fpr95": fpr95, "intervals": intervals})
    return cards


def table(run: Run, inside: str, rows: Sequence[Row], tested: Sequence[Tested]) -> dict[str, Any]:
    """Lines of OOD sets, columns of scores; of each line's AUROCs and FPR95s those that nothing is shown to beat are
    marked, where they are not all of them."""
    # Who is shown to be worse than whom: (OOD set, metric) → (worse, better).
    worse: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for t in tested:
        if t.run == t.other_run == run.name and t.id == inside and t.holds:
            pair = (t.other_score, t.score) if t.better else (t.score, t.other_score)
            worse.setdefault((t.ood, t.metric), set()).add(pair)
    ours = {(row.ood, row.score): row for row in rows if (row.run, row.id) == (run.name, inside)}
    lines = []
    for ood in dict.fromkeys(ood for ood, _ in ours):
        cells = [ours[ood, score] for score in run.scores]
        marks = {m: _unbeaten(cells, m, worse.get((ood, m), set())) for m in ("auroc", "fpr95")}
        lines.append({"ood": ood, "n": cells[0].n_ood, "cells": cells, "marks": marks})
    return {"run": run.name, "id": inside, "n": next((r.n_id for r in ours.values()), 0), "scores": run.scores,
            "lines": lines}  # fmt: skip


def _unbeaten(cells: Sequence[Row], metric: str, worse: set[tuple[str, str]]) -> dict[str, str]:
    """By score: ``best`` where it leads or is not shown to be worse than the one that leads, else ``worse``; empty
    where no difference to the leader holds."""
    known = {row.score: value for row in cells if (value := getattr(row, metric)) is not None}
    if not known:
        return {}
    leader = (max if metric == "auroc" else min)(known, key=lambda score: known[score])
    beaten = {score for score in known if (score, leader) in worse}
    return {score: "worse" if score in beaten else "best" for score in known} if beaten else {}


def about_tests(settings: ReportSettings, tested: Sequence[Tested]) -> dict[str, Any]:
    """What the page says of its tests."""
    kinds = {t.test for t in tested}
    return {
        "count": len(tested), "delong": "DeLong" in kinds, "bootstrap": "bootstrap" in kinds,
        "draws": settings.bootstrap, "by_class": settings.bootstrap_by == "class", "level": LEVEL,
    }  # fmt: skip


def side_by_side(found: Sequence[Tested] | Sequence[Spread]) -> list[dict[str, Any]]:
    """AUROC and FPR95 of one comparison in one line, averages first (they are the answer)."""
    lines: dict[tuple[Any, ...], dict[str, Any]] = {}
    for item in found:
        of = (item.run,) if isinstance(item, Tested) else item.runs
        line = lines.setdefault((of, item.score, item.id, item.ood), {"of": item, "auroc": None, "fpr95": None})
        line[item.metric] = item
    return sorted(lines.values(), key=lambda line: line["of"].ood != AVERAGE)


def pairs(against: Sequence[Against]) -> list[dict[str, Any]]:
    """AUROC and FPR95 of one score and OOD set side by side, averages first (they are the answer)."""
    found: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    for item in against:
        found.setdefault((item.run, item.score, item.id, item.ood), {})[item.metric] = item
    whole = [pair for pair in found.values() if len(pair) == 2]
    return sorted(whole, key=lambda pair: pair["auroc"].ood != AVERAGE)
