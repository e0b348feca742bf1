"""Everything measured and drawn → ``index.html``, one file that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from neglabel.pipeline.report import cases, figures, results, words
from neglabel.pipeline.report.differences import Tested
from neglabel.pipeline.report.measure import SPREADS, Accuracy, Against, Row, suspects
from neglabel.pipeline.report.read import Run
from neglabel.pipeline.report.seeds import Spread
from neglabel.pipeline.report.tables import CONVENTIONS, SCORE_NAMES, bounds
from neglabel.pipeline.report.times import times
from neglabel.pipeline.settings import ReportSettings

_HERE = Path(__file__).parent
#: ROC panels at most; the tables hold every pair.
PANELS = 12


def main_run(runs: Sequence[Run]) -> Run:
    """The first run whose negatives are not random, else the first."""
    return next((run for run in runs if not run.random), runs[0])


def render(
    settings: ReportSettings,
    runs: Sequence[Run],
    rows: Sequence[Row],
    found: Sequence[Accuracy],
    against: Sequence[Against],
    tested: Sequence[Tested],
    seeds: Sequence[Spread],
    groups: Sequence[cases.Group],
    versions: Mapping[str, str],
) -> str:
    """The page. Its details (figures, words, and ``groups`` of single pictures) are those of :func:`main_run`."""
    main = main_run(runs)
    table = words.data(main.negatives)
    compared = [run for run in runs if not run.random] or list(runs)
    return environment(_HERE).get_template("page.html.j2").render(
        title=settings.title,
        css=styles(),
        js=Markup(_text("page.js")),
        words_json=_script_json(table),
        settings=settings,
        convention=CONVENTIONS[settings.fpr],
        convention_name=CONVENTIONS[settings.fpr].partition(":")[0],
        suspects=suspects(main),
        runs=runs,
        main=main,
        model=(main.manifest.get("model") or {}).get("model"),
        compared=compared,
        draws=[run for run in runs if run.random],
        headline=results.headline(main, rows),
        tables=[
            results.table(run, inside.name, rows, tested)
            for run in compared
            for inside in run.of_role("id")
            if inside.rows
        ],
        tests=results.about_tests(settings, tested),
        run_tests=results.side_by_side([t for t in tested if t.run != t.other_run]),
        seeds=results.side_by_side(seeds),
        rows=rows,
        accuracies=found,
        against=results.pairs(against),
        spreads=SPREADS,
        silent=[score for score in main.scores if not main.has_evidence(score)],
        counts={role: sum(data.rows for data in main.of_role(role)) for role in ("id", "ood", "unknown")},
        unreadable=[(run.name, data.name, data.unreadable) for run in runs for data in run.sets if data.unreadable],
        distributions=_figures((s, figures.distributions(main, s)) for s in main.scores),
        rocs=_figures(_rocs(main, settings)),
        distances=_figures([("", figures.distances(main.negatives.metadata, words.cut(main.negatives)))]),
        words=table,
        first_words=words.first(table, 50),
        active=words.active(main),
        groups=groups,
        sources=[_source(run) for run in compared],
        own={"settings": flat(settings.model_dump(mode="json", exclude_none=True)), "versions": dict(versions)},
    )


def environment(folder: Path) -> Environment:
    """Templates of ``folder``, everything escaped; a name that isn't given is an error."""
    loader = FileSystemLoader(folder)
    made = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters.update(span=span, pct=pct, signed=signed, score=lambda name: SCORE_NAMES.get(name, name))
    return made


def styles(*more: Path) -> Markup:
    """The pages' style sheet, and ``more``."""
    return Markup("".join([_text("page.css"), _text("parts.css"), *(p.read_text(encoding="utf-8") for p in more)]))


def _rocs(run: Run, settings: ReportSettings) -> list[tuple[str, str | None]]:
    pairs = [(a, b) for a in run.of_role("id") for b in run.of_role("ood") if a.rows and b.rows]
    return [(f"{a.name} against {b.name}", figures.roc(run, a, b, settings.fpr)) for a, b in pairs[:PANELS]]


def _figures(found: Any) -> list[tuple[str, Markup]]:
    # Figures are markup that we wrote; matplotlib has escaped the names in them.
    return [(name, Markup(text)) for name, text in found if text is not None]


def _source(run: Run) -> dict[str, Any]:
    """What made a run, flat."""
    manifest = run.manifest
    return {
        "name": run.name,
        "folder": str(run.folder),
        "tables": [
            (title, flat(value))
            for title, value in (
                ("Scoring", manifest.get("settings")),
                ("Model", manifest.get("model")),
                ("Mining", run.negatives.metadata.get("settings")),
                ("Candidates", run.negatives.metadata.get("counts")),
                ("Where the time went", times(run)),
                ("Versions", manifest.get("versions")),
            )
            if isinstance(value, dict) and value
        ],
    }


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A table's entries as text, nested keys joined by dots."""
    found: dict[str, str] = {}
    for key, item in value.items():
        if isinstance(item, dict):
            found.update(flat(item, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
    return found


def _script_json(value: Any) -> Markup:
    """JSON that can't end its ``<script>`` element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def pct(value: float | None, decimals: int = 2) -> str:
    return "–" if value is None else f"{value:.{decimals}f}".replace("-", "−")


def span(row: Any, metric: str) -> str:
    """The 95 % interval of a row's figure; empty where there is none."""
    found = bounds(row, metric)
    return "" if found is None else f"{pct(found[0], 1)}–{pct(found[1], 1)}"


def signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
