"""``--theory`` and ``--coverage``: which parts are asked for, their files, and those that an earlier report left."""

from __future__ import annotations

from collections.abc import Sequence

from neglabel.corpora.uri import Location
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report.coverage_part import coverage_part
from neglabel.pipeline.report.kept_runs import Part
from neglabel.pipeline.report.read import Run
from neglabel.pipeline.report.theory_curve import theory_part
from neglabel.pipeline.settings import ReportSettings

#: Every file that a part may write.
OURS = ("theory.csv", "theory-words.csv", "coverage.csv", "risk-coverage.csv", "near-far.csv")


def asked_for(runs: Sequence[Run], settings: ReportSettings, reporter: Reporter) -> list[Part]:
    """Made, not written. Errors as :func:`.kept_runs.kept_runs`."""
    parts = []
    if settings.theory:
        parts.append(theory_part(runs, settings.threshold, reporter))
    if settings.coverage:
        parts.append(coverage_part(runs, settings.fpr, reporter))
    return parts


def remove_stale(out: Location, parts: Sequence[Part]) -> None:
    """Remove files of parts that this report doesn't have."""
    for name in OURS:
        if not any(name in part.files for part in parts):
            (out / name).unlink(missing_ok=True)
