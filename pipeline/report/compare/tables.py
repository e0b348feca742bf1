"""The comparison as files: ``compare.csv``, ``overlap.csv``, and the words that hurt, for ``mine --exclude``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from neglabel.pipeline import files
from neglabel.pipeline.report.compare.gather import Comparison
from neglabel.pipeline.report.compare.hurting import Study
from neglabel.pipeline.report.tables import write_csv

#: Names of files that a comparison may leave in the report's folder.
OURS = ("compare.html", "compare.csv", "overlap.csv", "hurting-*.txt", "hurting-*.json")
_COMPARE = (
    "run", "score", "id", "ood", "n_id", "n_ood",
    *(f"{metric}{part}" for metric in ("auroc", "fpr95") for part in ("", "_difference", "_low", "_high")),
    "published_source", "published_auroc", "published_fpr95",
)  # fmt: skip


def compare_csv(comparison: Comparison) -> str:
    """A row a run and pair of data sets, and its average; differences are to the best run, with 95 % intervals."""
    return write_csv(_COMPARE, _compare_rows(comparison))


def _compare_rows(comparison: Comparison) -> Iterator[list[Any]]:
    for line in comparison.lines:
        for cell in line.cells:
            row: list[Any] = [line.run.name, comparison.score, cell.id, cell.ood, cell.n_id, cell.n_ood]
            for value, gap in ((cell.auroc, cell.auroc_difference), (cell.fpr95, cell.fpr95_difference)):
                row += [f"{number:.4f}" for number in (value, gap.value, gap.low, gap.high)]
            published = line.published.of(cell.ood) if line.published else None
            row += [line.published.source if line.published and published else "", *(published or ("", ""))]
            yield row


def overlap_csv(comparison: Comparison) -> str:
    """A row a run and other run: how many of the run's negatives the other has; empty where not known."""
    rows = (
        [
            o.run, o.other, o.negatives, o.exact, f"{100 * o.exact / o.negatives:.4f}",
            "" if o.near is None else o.near, "" if o.near is None else f"{100 * o.near / o.negatives:.4f}",
        ]
        for o in comparison.overlaps
    )  # fmt: skip
    return write_csv(("run", "other", "negatives", "exact", "exact_percent", "near", "near_percent"), rows)


def hurting_txt(study: Study) -> str:
    """One word a line, most activated first."""
    return "".join(" ".join(text.split()) + "\n" for text, _ in study.words)


def hurting_json(study: Study) -> str:
    value = {
        "format": "neglabel-hurting",
        "version": files.VERSION,
        "note": "The words were chosen on the pictures of half A: do not judge or calibrate a run mined with "
        "`--exclude` of this list on them.",
        **asdict(study),
        "verdict": study.verdict,
        "words": [{"text": text, "share": round(share, 6)} for text, share in study.words],
        "others": [{"count": count, **asdict(figures)} for count, figures in study.others],
        "half_a": {name: list(ids) for name, ids in study.half_a.items()},
    }
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def slugs(names: Sequence[str]) -> dict[str, str]:
    """By name, a part of a file's name: letters, digits, ``.``, ``_`` and ``-``; no two alike, in any case."""
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^\w.-]+", "-", name).strip("-.")[:60].strip("-.") or "run"
        slug, number = plain, 2
        while slug.casefold() in {other.casefold() for other in found.values()}:
            slug, number = f"{plain}-{number}", number + 1
        found[name] = slug
    return found
