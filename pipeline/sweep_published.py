"""Published figures beside a sweep's: a CSV file's lines, by row, score, ID set, OOD set and metric."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from neglabel import UsageError
from neglabel.corpora.text import normalise
from neglabel.pipeline.report.compare.published import ALIASES
from neglabel.pipeline.report.measure import AVERAGE, METRICS
from neglabel.pipeline.sweep_grid import cells
from neglabel.pipeline.sweep_settings import SweepFile

COLUMNS = ("table", "row", "score", "id", "ood", "metric", "value", "sd", "n", "status", "note")
#: What a line may say of itself. Figures of the last two are printed and not compared; the middle one has no row here.
STATUSES = ("", "ok", "not-reproducible", "contradictory")


@dataclass(frozen=True)
class Figure:
    """One line of the file; ``value`` and ``sd`` in percent, ``sd`` and ``n`` None where the source gives none."""

    row: str
    score: str
    id: str
    ood: str
    metric: str
    value: float
    sd: float | None
    n: int | None
    status: str
    note: str

    @property
    def compared(self) -> bool:
        return self.status in ("", "ok")


def published_of(file: SweepFile) -> list[Figure]:
    """The published figures of a file's table.

    Raises:
        UsageError: as :func:`read_published`; a line that no row of the file matches and that doesn't say so.
    """
    if file.published is None:
        return []
    path = file.path.parent / file.published.file
    figures = read_published(path, file.published.table)
    if strange := without_row(figures, {cell.row for cell in cells(file)}):
        raise UsageError(
            f"{path}: table {file.published.table} has the row {strange[0]!r}, which {file.path} has not; "
            "correct the name, or give the line the status not-reproducible"
        )
    return figures


def read_published(path: Path, table: str) -> list[Figure]:
    """The lines of ``table``, in order.

    Raises:
        UsageError: no file, other columns, no line of that table, or one that can't be read.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            lines = list(enumerate(reader, 2))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"published figures {path} can't be read: {error}; give a CSV file") from None
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise UsageError(f"published figures {path}: the columns are {', '.join(COLUMNS)}")
    found = [_figure(path, number, line) for number, line in lines if line["table"] == table]
    if not found:
        tables = ", ".join(dict.fromkeys(line["table"] or "" for _, line in lines))
        raise UsageError(f"published figures {path} have no table {table!r}; there are: {tables}")
    return found


def _figure(path: Path, number: int, line: dict[str, str | None]) -> Figure:
    if None in line.values() or None in line:
        raise UsageError(f"{path}, line {number}: {len(COLUMNS)} columns are needed")
    cells = {key: (value or "").strip() for key, value in line.items()}
    if cells["metric"] not in METRICS or cells["status"] not in STATUSES:
        known = f"metric is one of {', '.join(METRICS)}, status one of {', '.join(filter(None, STATUSES))}, or empty"
        raise UsageError(f"{path}, line {number}: {known}")
    try:
        value, sd, n = float(cells["value"]), cells["sd"], cells["n"]
        numbers = value, float(sd) if sd else None, int(n) if n else None
    except ValueError:
        raise UsageError(f"{path}, line {number}: value, sd and n are numbers") from None
    return Figure(
        cells["row"], cells["score"], cells["id"], cells["ood"], cells["metric"], *numbers, cells["status"],
        cells["note"],
    )  # fmt: skip


def same_row(one: str, other: str) -> bool:
    """Names of rows are equal, part by part between commas; numbers as numbers."""
    parts, others = one.split(", "), other.split(", ")
    return len(parts) == len(others) and all(map(_same, parts, others))


def _same(one: str, other: str) -> bool:
    try:
        return one == other or float(one) == float(other)
    except ValueError:
        return False


def ood_key(name: str) -> str:
    """Equal for names of the same OOD set."""
    plain = normalise(name).replace(" ", "").replace("-", "").replace("_", "")
    return ALIASES.get(plain, plain)


def without_row(figures: Sequence[Figure], rows: Iterable[str]) -> list[str]:
    """Names of published rows that are neither a row of the sweep nor said not to be one: slips."""
    known = list(rows)
    strange = dict.fromkeys(
        f.row for f in figures if f.compared and not any(same_row(f.row, row) for row in known)
    )  # fmt: skip
    return list(strange)


def find(
    figures: Sequence[Figure], row: str, score: str, inside: str, ood: str, metric: str, alone: bool, one_id: bool
) -> Figure | None:
    """The published figure of a place in the table; None where there is none.

    Args:
        alone: the row has one score, which an empty ``score`` then means.
        one_id: the row has one ID set, likewise.
    """
    for f in figures:
        if (
            f.metric == metric
            and ood_key(f.ood) == ood_key(ood)
            and (f.score == score or (not f.score and alone))
            and (f.id == inside or (not f.id and one_id))
            and same_row(f.row, row)
        ):
            return f
    return None


def sets_of(figures: Sequence[Figure], row: str) -> frozenset[str]:
    """The OOD sets that the published row has figures of, as :func:`ood_key`; its average is over those."""
    return frozenset(ood_key(f.ood) for f in figures if same_row(f.row, row)) - {AVERAGE}
