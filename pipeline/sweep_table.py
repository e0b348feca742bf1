"""A sweep's results → ``results.csv``, ``summary.csv`` and ``summary.md``. Percentages throughout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from neglabel.pipeline.report.measure import AVERAGE, METRICS, Row, mean
from neglabel.pipeline.report.tables import CONVENTIONS, SCORE_NAMES, TITLES, md_escape, write_csv
from neglabel.pipeline.sweep_published import Figure, find, ood_key, same_row, sets_of
from neglabel.pipeline.sweep_work import Result

_BOUNDS = ("auroc_low", "auroc_high", "fpr95_low", "fpr95_high")
RESULTS = (
    "row", "repeat", "score", "id", "ood", "n_id", "n_ood", *METRICS, *_BOUNDS, "fpr95_convention", "status", "note",
    "folder",
)  # fmt: skip
#: What a summary has of every row; of other metrics where published figures are of them.
SUMMARISED = ("auroc", "fpr95")


@dataclass(frozen=True)
class Line:
    """One line of ``summary.csv``.

    ``mean`` over the ``n`` repeats that gave a figure, ``sd`` their sample standard deviation (None for one);
    ``low``, ``high``: the 95 % interval over pictures where there is one run; ``published`` and its ``published_sd``;
    ``difference`` and ``inside`` (``yes``, ``no``: the published value lies in the interval) where the two compare.
    ``status``: ``ok``, ``failed``, ``no row`` (published alone), or the published line's own.
    """

    row: str
    score: str
    id: str
    ood: str
    metric: str
    mean: float | None
    sd: float | None
    n: int
    low: float | None
    high: float | None
    published: float | None
    published_sd: float | None
    difference: float | None
    inside: str
    status: str
    note: str

    def plain(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def results_csv(results: Sequence[Result]) -> str:
    """A line a row, repeat, score, ID set and OOD set; a failed run is one line."""
    cells: list[list[Any]] = []
    for r in results:
        cell = r.planned.cell
        if r.failed:
            blank = [""] * (len(RESULTS) - 5)
            cells.append([cell.row, cell.repeat, *blank, "failed", r.failed, ""])
        for score, row in r.rows:
            figures = [_text(getattr(row, name)) for name in (*METRICS, *_BOUNDS)]
            where = f"../steps/{r.folders[score].name}"
            cells.append([
                cell.row, cell.repeat, score, row.id, row.ood, row.n_id, row.n_ood, *figures, r.planned.report.fpr,
                "ok", r.note, where,
            ])  # fmt: skip
    return write_csv(RESULTS, cells)


def summary(results: Sequence[Result], published: Sequence[Figure]) -> list[Line]:
    """A line a figure in the order of rows, then the published ones that have no row."""
    lines, used = list[Line](), list[Figure]()
    for row in dict.fromkeys(r.planned.cell.row for r in results):
        runs = [r for r in results if r.planned.cell.row == row]
        done = [r for r in runs if not r.failed]
        failed = "; ".join(dict.fromkeys(r.failed for r in runs if r.failed))
        notes = "; ".join(dict.fromkeys(r.note for r in done if r.note))
        if not done:
            lines.append(_line(row, "failed", failed))
        places = dict.fromkeys((score, one.id, one.ood) for r in done for score, one in r.rows)
        alone, one_id = len({p[0] for p in places}) == 1, len({p[1] for p in places}) == 1
        for score, inside, ood in places:
            found = [one for r in done for s, one in r.rows if (s, one.id, one.ood) == (score, inside, ood)]
            for metric in dict.fromkeys((*SUMMARISED, *(f.metric for f in published))):
                theirs = find(published, row, score, inside, ood, metric, alone, one_id)
                if theirs is not None:
                    used.append(theirs)
                some = f"{len(done)} of {len(runs)} runs, others failed: {failed}" if failed else ""
                said = "; ".join(filter(None, (some, notes, theirs.note if theirs else "")))
                same = ood != AVERAGE or _same_sets(places, published, row, score, inside)
                lines.append(_figures(row, score, inside, ood, metric, found, theirs, same, said))
    for f in published:
        if f not in used:
            mine = any(same_row(f.row, r.planned.cell.row) for r in results)
            lines.append(_line(f.row, f.status if f.status not in ("", "ok") else "no figure" if mine else "no row",
                               f.note, f))  # fmt: skip
    return lines


def _same_sets(
    places: Any, published: Sequence[Figure], row: str, score: str, inside: str
) -> bool:
    """Whether the average is over the OOD sets that the published row has, if it has any."""
    theirs = sets_of(published, row)
    ours = {ood_key(ood) for s, i, ood in places if (s, i) == (score, inside) and ood != AVERAGE}
    return not theirs or ours == theirs


def _figures(
    row: str, score: str, inside: str, ood: str, metric: str, found: Sequence[Row], theirs: Figure | None, same: bool,
    note: str,
) -> Line:  # fmt: skip
    values = [getattr(one, metric) for one in found]
    known = [value for value in values if value is not None]
    value, n = mean(values), len(known)
    sd = float(np.std(known, ddof=1)) if len(values) > 1 and n == len(values) else None
    low, high = (getattr(found[0], f"{metric}_{end}") for end in ("low", "high")) if len(found) == 1 else (None, None)
    difference, inside_of, status = None, "", "ok" if value is not None else "no evidence"
    if theirs is not None and not theirs.compared:
        status = theirs.status
    elif theirs is not None and not same:
        note = "; ".join(filter(None, (note, "the published average is over other OOD sets")))
    elif theirs is not None and value is not None:
        difference = value - theirs.value
        if low is not None and high is not None:
            inside_of = "yes" if low <= theirs.value <= high else "no"
    return Line(row, score, inside, ood, metric, value, sd, n, low, high, theirs.value if theirs else None,
                theirs.sd if theirs else None, difference, inside_of, status, note)  # fmt: skip


def _line(row: str, status: str, note: str, f: Figure | None = None) -> Line:
    """Of a row without a figure of ours."""
    names = (f.score, f.id, f.ood, f.metric) if f else ("",) * 4
    value, sd = (f.value, f.sd) if f else (None, None)
    return Line(row, *names, None, None, 0, None, None, value, sd, None, "", status, note)


def summary_csv(lines: Sequence[Line]) -> str:
    """Four decimals; empty where there is nothing."""
    names = [field.name for field in fields(Line)]
    return write_csv(names, ([_text(getattr(line, name)) for name in names] for line in lines))


def summary_md(title: str, lines: Sequence[Line], results: Sequence[Result], picture: str | None = None) -> str:
    """For people: two decimals, spreads or intervals beside each figure, the published ones beside ours.

    Args:
        picture: a file beside it that shows the same.
    """
    conventions = dict.fromkeys(r.planned.report.fpr for r in results)
    text = [f"# {md_escape(title)}", "", f"Percentages. {' '.join(CONVENTIONS[c] + '.' for c in conventions)}"]
    text += ["± is the sample standard deviation over repeats (n − 1); in brackets, 95 % intervals by pictures drawn "
             "again. Published figures are of other pictures or another machine's rounding at best: a difference is "
             "no test.", ""]  # fmt: skip
    if picture:
        text += [f"![the averages of each row]({picture})", ""]
    heads = ["row", "score", "ID", "OOD", "metric", "ours", "published", "difference", "status"]
    text += ["| " + " | ".join(heads) + " |", "|" + " --- |" * 5 + " ---: |" * 3 + " --- |"]
    for line in lines:
        status = line.status + (f": {line.note}" if line.note else "")
        names = (line.row, SCORE_NAMES.get(line.score, line.score), line.id, line.ood)
        cells = [*map(md_escape, names), TITLES.get(line.metric, ""), _ours(line), _theirs(line),
                 "" if line.difference is None else f"{line.difference:+.2f}", md_escape(status)]  # fmt: skip
        text.append("| " + " | ".join(cells) + " |")
    return "\n".join(text) + "\n"


def _ours(line: Line) -> str:
    if line.mean is None:
        return ""
    if line.sd is not None:
        return f"{line.mean:.2f} ± {line.sd:.2f} ({line.n})"
    bracket = "" if line.low is None or line.high is None else f" [{line.low:.2f}, {line.high:.2f}]"
    return f"{line.mean:.2f}{bracket}"


def _theirs(line: Line) -> str:
    if line.published is None:
        return ""
    return f"{line.published:.2f}" + ("" if line.published_sd is None else f" ± {line.published_sd:.2f}")


def _text(value: Any) -> Any:
    return "" if value is None else f"{value:.4f}" if isinstance(value, float) else value
