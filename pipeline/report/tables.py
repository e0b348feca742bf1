"""Metric rows → CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from neglabel.pipeline.metrics import Convention
from neglabel.pipeline.report.measure import AVERAGE, METRICS, Accuracy, Row

_BOUNDS = ("auroc_low", "auroc_high", "fpr95_low", "fpr95_high", "auroc_delong_low", "auroc_delong_high")
#: Of a row; ``metrics.csv`` has ``fpr95_convention`` behind them.
COLUMNS = ("run", "score", "id", "ood", "n_id", "n_ood", *METRICS, *_BOUNDS)
SCORE_NAMES = {
    "neglabel": "NegLabel", "neglabel-ungrouped": "NegLabel, one group", "mcm": "MCM", "msp": "MSP",
    "odin": "ODIN", "tempered-msp": "MSP, T = 10", "maxlogit": "MaxLogit", "energy": "Energy",
    "linear-sum": "linear sum",
    "linear-binarised": "linear, binarised", "toy": "toy score", "max-exp": "max-exp", "sum-cos": "sum-cos",
    "max-cos": "max-cos", "binarised": "binarised", "neglabel-l1": "NegLabel, L1", "neglabel-kl": "NegLabel, KL",
    "gradnorm": "GradNorm", "knn": "KNN", "vim": "ViM", "mahalanobis": "Mahalanobis",
    "mahalanobis-mcm": "Mahalanobis, MCM's", "adaneg": "AdaNeg, streaming", "clipscope": "CLIPScope, streaming",
    "tanl": "TANL, streaming", "softmargin": "soft margin",
}  # fmt: skip
#: What FPR95 means in a table, in full; written into every one.
CONVENTIONS: dict[Convention, str] = {
    "id-positive": "FPR95, ID positive: the share of OOD pictures at or above the highest threshold that accepts "
    "at least 95 % of the ID pictures",
    "ood-positive": "FPR95, OOD positive: the share of ID pictures at or below the lowest threshold that rejects "
    "at least 95 % of the OOD pictures",
    "nearest-recall": "FPR95, ID positive at the nearest recall (as the NegLabel authors' code counts it): the share "
    "of OOD pictures above the next ID score below the threshold whose share of accepted ID pictures is nearest to "
    "95 %, be it less or more",
}
TITLES = {"auroc": "AUROC", "fpr95": "FPR95", "aupr_id": "AUPR-ID", "aupr_ood": "AUPR-OOD"}


def metrics_csv(rows: Iterable[Row], convention: Convention, streams: Mapping[tuple[str, str], str]) -> str:
    """Percentages with four decimals; empty cells where a score has no evidence, or where there is no interval.

    Args:
        streams: what the scores of a stream saw, by run and score.
    """
    cells = (
        [*(_cell(getattr(row, column), 4) for column in COLUMNS), convention, streams.get((row.run, row.score), "")]
        for row in rows
    )
    return write_csv((*COLUMNS, "fpr95_convention", "stream"), cells)


def accuracy_csv(found: Iterable[Accuracy]) -> str:
    cells = ([a.run, a.dataset, a.n, _cell(a.accuracy, 4)] for a in found)
    return write_csv(("run", "dataset", "n", "accuracy"), cells)


def metrics_md(rows: Sequence[Row], found: Sequence[Accuracy], convention: Convention, notice: str = "") -> str:
    """GitHub Markdown: every metric with its interval, two decimals; above it the convention, and ``notice``."""
    heads = ("run", "score", "ID", "OOD", "n ID", "n OOD", *TITLES.values())
    intervals = " In brackets: 95 % intervals, by pictures drawn again." if _drawn(rows) else ""
    lines = [f"Percentages. {CONVENTIONS[convention]}.{intervals}", "", *([notice, ""] if notice else [])]
    columns = COLUMNS[: -len(_BOUNDS)]
    lines += _md_table(heads, [[_cell(getattr(r, c), 2) + _bracket(r, c) for c in columns] for r in rows], text=4)
    if found:
        lines += ["", "Zero-shot accuracy of ID pictures with known labels.", ""]
        cells = [[a.run, a.dataset, str(a.n), _cell(a.accuracy, 2)] for a in found]
        lines += _md_table(("run", "data set", "n", "accuracy"), cells, text=2)
    return "\n".join(lines) + "\n"


def metrics_tex(rows: Sequence[Row], convention: Convention, notice: str = "") -> str:
    """Tables in the paper's layout (booktabs): a line a run and score, a pair of columns an OOD set.

    One table for AUROC and FPR95 and one for AUPR, per ID set, with ``notice`` in the captions. Best values are not
    marked: which is best depends on what is compared.
    """
    text = "% \\usepackage{booktabs,graphicx}; names beyond Latin need XeLaTeX or LuaLaTeX\n"
    for inside in dict.fromkeys(row.id for row in rows):
        ours = [row for row in rows if row.id == inside]
        said = f" {tex_escape(notice)}" if notice else ""
        intervals = r" Small: 95\,\% intervals, by pictures drawn again." if _drawn(ours) else ""
        caption = f"ID: {tex_escape(inside)}. Percentages. {tex_escape(CONVENTIONS[convention])}.{intervals}{said}"
        text += "\n" + _tex_table(ours, ("auroc", "fpr95"), caption)
        text += "\n" + _tex_table(ours, ("aupr_id", "aupr_ood"), f"ID: {tex_escape(inside)}. Percentages.{said}")
    return text


def _tex_table(rows: Sequence[Row], pair: tuple[str, str], caption: str) -> str:
    oods = [name for name in dict.fromkeys(row.ood for row in rows) if name != AVERAGE] + [AVERAGE]
    cells = {(row.run, row.score, row.ood): row for row in rows}
    arrows = [TITLES[m] + (r" $\downarrow$" if m == "fpr95" else r" $\uparrow$") for m in pair]
    rules = " ".join(f"\\cmidrule(lr){{{3 + 2 * i}-{4 + 2 * i}}}" for i in range(len(oods)))
    lines = [
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{caption}}}",
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
        f"\\begin{{tabular}}{{ll{'rr' * len(oods)}}}",
        "\\toprule",
        " & ".join(["", "", *(f"\\multicolumn{{2}}{{c}}{{{tex_escape(ood)}}}" for ood in oods)]) + " \\\\",
        rules,
        " & ".join(["Run", "Score", *(arrows * len(oods))]) + " \\\\",
        "\\midrule",
    ]
    for run, score in dict.fromkeys((row.run, row.score) for row in rows):
        line = [tex_escape(run), tex_escape(SCORE_NAMES.get(score, score))]
        for ood in oods:
            row = cells.get((run, score, ood))
            line += [_cell(getattr(row, metric), 2) + _small(row, metric) if row else "" for metric in pair]
        lines.append(" & ".join(line) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}}", "\\end{table}", ""])


def _drawn(rows: Iterable[Row]) -> bool:
    return any(row.auroc_low is not None for row in rows)


def bounds(row: Row, metric: str) -> tuple[float, float] | None:
    """The interval of a figure, by pictures drawn again; None where there is none."""
    low, high = getattr(row, f"{metric}_low", None), getattr(row, f"{metric}_high", None)
    return None if low is None or high is None else (low, high)


def _bracket(row: Row, metric: str) -> str:
    found = bounds(row, metric)
    return f" [{found[0]:.2f}, {found[1]:.2f}]" if found else ""


def _small(row: Row, metric: str) -> str:
    found = bounds(row, metric)
    return rf"\,{{\tiny [{found[0]:.1f}, {found[1]:.1f}]}}" if found else ""


def tex_escape(text: str) -> str:
    """Text that LaTeX prints as it is; control characters become spaces."""
    special = {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    }  # fmt: skip
    return "".join(special.get(c) or ("\\" + c if c in "&%$#_{}" else c) for c in _one_line(text))


def md_escape(text: str) -> str:
    """Text that Markdown prints as it is, in a table cell as well."""
    escaped = re.sub(r"([\\`*_{}\[\]|~#$!:@])", r"\\\1", _one_line(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\u200d" else " " for c in text)


def _cell(value: Any, decimals: int) -> str:
    if value is None:
        return ""
    return f"{value:.{decimals}f}" if isinstance(value, float) else str(value)


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """CSV with a header, lines ending in a newline."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()


def _md_table(heads: Sequence[str], rows: Iterable[Sequence[str]], text: int) -> list[str]:
    """``text`` columns of text on the left, numbers to their right."""
    rule = ["---"] * text + ["---:"] * (len(heads) - text)
    body = [[md_escape(c) for c in row[:text]] + list(row[text:]) for row in rows]
    return ["| " + " | ".join(line) + " |" for line in [list(heads), rule, *body]]
