"""The fourth stage: folders of scores → tables, figures and one page."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from neglabel import UsageError
from neglabel.pipeline import config, files
from neglabel.pipeline.bootstrap import COVERAGE
from neglabel.pipeline.lock import one_writer
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report import cases, differences, intervals, measure, on_request, page, seeds, tables
from neglabel.pipeline.report.compare import compare_sources, remove_stale
from neglabel.pipeline.report.read import Run, read_runs
from neglabel.pipeline.report.streams import notice
from neglabel.pipeline.settings import ReportSettings

__all__ = ["report"]


@one_writer(lambda settings, *_: [("--out", settings.out)])
def report(settings: ReportSettings, reporter: Reporter) -> dict[str, Any]:
    """Measure, draw and write ``settings.out``; files as in ``docs/formats.md``.

    Everything is made before anything is written.

    Returns:
        ``rows`` and ``accuracy`` (as in the CSV files, unrounded, None without evidence), ``against_random``,
        ``convention``, ``page`` (its path), ``out``, ``compare`` (None, or what :mod:`.compare` found), ``notes``
        (sentences for the user).

    Raises:
        UsageError: a folder that is not ``score``'s output, a missing file or column, an ``out`` that is not ours; with
            ``compare``, runs that differ in more than their words.
        NeglabelError: a damaged file, or a disk that refuses.
    """
    out = settings.out
    runs = read_runs(settings.scores, settings.names)
    files.claim_folder(out, "neglabel-report", create=False)
    reporter.say(f"report: {len(runs)} run{'s' * (len(runs) != 1)}, FPR95 {settings.fpr}")
    if settings.compare and settings.bootstrap < intervals.LEAST:
        raise UsageError(f"--compare needs draws of the pictures; give --bootstrap {intervals.LEAST} or more")
    compared = compare_sources(runs, settings, reporter) if settings.compare else None
    drawings = intervals.drawn(
        runs, settings.fpr, settings.bootstrap, settings.bootstrap_by, settings.seed, reporter
    )
    rows = [row for run in runs for row in measure.metric_rows(run, settings.fpr)]
    rows = intervals.with_intervals(rows, drawings)
    shown = page.main_run(runs)
    tested = differences.between_scores(drawings)
    tested += differences.between_runs(shown, [run for run in runs if not run.random], drawings)
    spread = seeds.spreads(runs, rows)
    accuracies = [a for run in runs for a in measure.accuracies(run, reporter.warn)]
    against = measure.against_random(runs, rows)
    versions = _versions()
    said = notice(runs)
    groups = cases.choose(shown, settings.cases) if settings.cases else []
    gone, asked = cases.lost(groups)
    if gone:
        reporter.warn(
            f"{shown.name}: {gone:,} of {asked:,} picture{'s' * (asked != 1)} to show can't be opened again; "
            "the page has a blank where they were moved or deleted"
        )
    parts = on_request.asked_for(runs, settings, reporter)
    sections = [(part.id, part.name, part.section) for part in parts]
    html = page.render(settings, runs, rows, accuracies, against, tested, spread, groups, versions, sections)
    manifest = {
        "format": "neglabel-report",
        "version": files.VERSION,
        "convention": settings.fpr,
        "convention_text": tables.CONVENTIONS[settings.fpr],
        "settings": settings.model_dump(mode="json"),
        "versions": versions,
        "runs": [_described(run) for run in runs],
        "against_random": [asdict(item) | {"verdict": item.verdict} for item in against],
        "statistics": {
            "draws": settings.bootstrap,
            "by": settings.bootstrap_by,
            "seed": settings.seed,
            "coverage": COVERAGE,
            "level": differences.LEVEL,
            "tests": len(tested),
            "hold": sum(t.holds for t in tested),
        },
        "compare": compared.summary if compared else None,
    }
    streams = {(run.name, score): protocol for run in runs for score, protocol in run.streaming.items()}
    files.claim_folder(out, "neglabel-report")
    # The manifest first: it makes the folder ours, so that an interrupted report can be made again.
    files.write_json(out / "manifest.json", manifest)
    files.write_text(out / "settings.toml", config.dump(settings))
    files.write_text(out / "metrics.csv", tables.metrics_csv(rows, settings.fpr, streams))
    files.write_text(out / "metrics.md", tables.metrics_md(rows, accuracies, settings.fpr, said))
    files.write_text(out / "metrics.tex", tables.metrics_tex(rows, settings.fpr, said))
    files.write_text(out / "accuracy.csv", tables.accuracy_csv(accuracies))
    files.write_text(out / "differences.csv", differences.differences_csv(tested, settings.bootstrap, streams))
    files.write_text(out / "seeds.csv", seeds.seeds_csv(spread))
    extra = [*([compared.files] if compared else []), *(part.files for part in parts)]
    for name, text in (item for made in extra for item in made.items()):
        files.write_text(out / name, text)
    remove_stale(out, compared)
    on_request.remove_stale(out, parts)
    files.write_text(out / "index.html", html)
    reporter.say(f"report: {out / 'index.html'}")
    return {
        "rows": [asdict(row) for row in rows],
        "accuracy": [asdict(a) for a in accuracies],
        "against_random": manifest["against_random"],
        "convention": settings.fpr,
        "page": str(out / "index.html"),
        "out": str(out),
        "compare": manifest["compare"],
        "notes": [
            *_notes(runs, rows), *([said] if said else []), *(compared.notes(out) if compared else []),
            *(note for part in parts for note in part.notes),
        ],
    }


def _notes(runs: list[Run], rows: list[measure.Row]) -> list[str]:
    notes = []
    for run in runs:
        silent = [score for score in run.scores if not run.has_evidence(score)]
        if silent and any(data.rows for data in run.sets):
            notes.append(f"{run.name}: no evidence for {', '.join(silent)}: there were no negative labels")
        notes += [f"{run.name}: {data.name} has no readable picture" for data in run.sets if not data.rows]
    if not rows:
        notes.append("no metrics: they need pictures named with --id and with --ood; see the page for the scores")
    return notes


def _described(run: Run) -> dict[str, Any]:
    return {
        "name": run.name,
        "folder": str(run.folder.resolve()),
        "random": run.random,
        "negatives": run.negatives.count,
        "labels": len(run.labels),
        "scores": run.manifest["scores"],
        "datasets": [{"name": d.name, "role": d.role, "rows": d.rows, "unreadable": d.unreadable} for d in run.sets],
        "model": run.manifest.get("model"),
    }


def _versions() -> dict[str, str]:
    found = files.versions()
    for name in ("scikit-learn", "matplotlib", "jinja2", "pillow"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
