"""What a sweep writes of each file: its tables, and the page of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from neglabel import NeglabelError
from neglabel.pipeline import files
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.sweep_chart import summary_svg
from neglabel.pipeline.sweep_published import Figure
from neglabel.pipeline.sweep_settings import SweepFile, SweepSettings
from neglabel.pipeline.sweep_steps import WITNESS, digest, settings_less
from neglabel.pipeline.sweep_table import results_csv, summary, summary_csv, summary_md
from neglabel.pipeline.sweep_work import Result, disk_full

WITNESS_OF_PAGE = "neglabel-sweep-page"
PICTURE = "summary.svg"
#: Folders of ``score`` on a page at most: a page holds every picture of all of them in memory.
ON_A_PAGE = 20


def write_tables(
    file: SweepFile, results: Sequence[Result], published: Sequence[Figure], settings: SweepSettings,
    reporter: Reporter,
) -> dict[str, Any]:  # fmt: skip
    """Write a file's tables and page."""
    folder, lines = settings.out / file.path.stem, summary(results, () if settings.small else published)
    title = (file.title or file.path.stem) + (" (small: the embedded world)" if settings.small else "")
    files.write_text(folder / "results.csv", results_csv(results))
    files.write_text(folder / "summary.csv", summary_csv(lines))
    picture = summary_svg(title, lines)
    if picture:
        files.write_text(folder / PICTURE, picture)
    else:
        (folder / PICTURE).unlink(missing_ok=True)
    files.write_text(folder / "summary.md", summary_md(title, lines, results, PICTURE if picture else None))
    page, failed = None, ""
    done = [r for r in results if not r.failed]
    if settings.page and done:
        try:
            page = _page(title, file.baseline, done, folder / "report", reporter)
        except NeglabelError as error:
            if disk_full(error):
                raise
            failed = str(error)
    return {
        "name": file.path.stem, "title": title, "folder": str(folder), "rows": [line.plain() for line in lines],
        "page": page, "page_failed": failed,
    }  # fmt: skip


def _page(title: str, baseline: str, results: Sequence[Result], out: Path, reporter: Reporter) -> str:
    """The report over the rows' scores, the baseline first, unless it is there and of the same."""
    from neglabel.pipeline.report import report

    names: dict[Path, list[str]] = {}
    for r in sorted(results, key=lambda r: r.planned.cell.row != baseline):
        cell = r.planned.cell
        for folder in dict.fromkeys(r.folders.values()):
            names.setdefault(folder, []).append(f"{cell.row} ({cell.repeat})" if cell.repeat else cell.row)
    if len(names) > ON_A_PAGE:
        reporter.warn(f"{out}: the page shows the first {ON_A_PAGE} of {len(names)} passes; the tables have all")
    shown = list(names)[:ON_A_PAGE]
    called = [_together(names[folder]) for folder in shown]
    called = [f"{name} [{n}]" if called.count(name) > 1 else name for n, name in enumerate(called, 1)]
    settings = results[0].planned.report.model_copy(
        update={"scores": tuple(shown), "out": out, "names": tuple(called), "title": title}
    )
    key = digest([[folder.name for folder in shown], settings_less(settings, {"scores", "out"})])
    witness, html = out / WITNESS, out / "index.html"
    with suppress(NeglabelError):
        if witness.is_file() and html.is_file() and files.read_json(witness, WITNESS_OF_PAGE).get("key") == key:
            return str(html)
    witness.unlink(missing_ok=True)
    page = str(report(settings, reporter)["page"])
    files.write_json(witness, {"format": WITNESS_OF_PAGE, "version": files.VERSION, "key": key})
    return page


def _together(rows: Sequence[str]) -> str:
    rows = list(dict.fromkeys(rows))
    return rows[0] if len(rows) == 1 else f"{rows[0]} and {len(rows) - 1} more"
