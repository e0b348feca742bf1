"""Sources of words compared, all else being equal: which makes better negatives, is the difference real, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from neglabel.corpora.uri import Location
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report.compare import page, tables
from neglabel.pipeline.report.compare.gather import Comparison, gather
from neglabel.pipeline.report.read import Run
from neglabel.pipeline.settings import ReportSettings

__all__ = ["Compared", "compare_sources", "remove_stale"]


@dataclass(frozen=True)
class Compared:
    """What a comparison writes: ``files`` by name, and its ``summary`` for the manifest."""

    comparison: Comparison
    files: dict[str, str]

    @property
    def summary(self) -> dict[str, Any]:
        """``score``, ``best``, ``runs`` (averages and differences to the best), ``hurting`` (verdicts), ``lacking``."""
        found = self.comparison
        averages = [{"run": line.run.name, **asdict(line.average)} for line in found.lines]
        for entry in averages:
            for metric in ("auroc", "fpr95"):
                entry[f"{metric}_shown"] = getattr(
                    next(x for x in found.lines if x.run.name == entry["run"]).average, f"{metric}_difference"
                ).shown
        return {
            "score": found.score,
            "candidates": found.candidates,
            "best": found.lines[0].run.name,
            "runs": averages,
            "hurting": {study.run: study.verdict for study in found.studies},
            "lacking": list(found.lacking),
            "files": sorted(self.files),
        }

    def notes(self, out: Location) -> list[str]:
        """Sentences for the terminal."""
        return [page.verdict(self.comparison), *page.missing(self.comparison), f"comparison: {out / 'compare.html'}"]


def compare_sources(runs: Sequence[Run], settings: ReportSettings, reporter: Reporter) -> Compared:
    """Gather, draw and render; writes nothing. Errors as :func:`neglabel.pipeline.report.compare.gather.gather`."""
    found = gather(runs, settings, reporter)
    names = tables.slugs([run.name for run in found.runs])
    made = {"compare.csv": tables.compare_csv(found), "overlap.csv": tables.overlap_csv(found)}
    for study in found.studies:
        made[f"hurting-{names[study.run]}.txt"] = tables.hurting_txt(study)
        made[f"hurting-{names[study.run]}.json"] = tables.hurting_json(study)
    made["compare.html"] = page.render(found, settings, names)
    return Compared(found, made)


def remove_stale(out: Location, compared: Compared | None) -> None:
    """Remove files of an earlier comparison in the report's folder that this report didn't write."""
    for pattern in tables.OURS:
        for path in out.glob(pattern):
            if compared is None or path.name not in compared.files:
                path.unlink(missing_ok=True)
