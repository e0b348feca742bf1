"""Runs the report stage on folders of scores and reads what it wrote."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report import report
from neglabel.pipeline.settings import ReportSettings

FIGURES = ["run", "score", "id", "ood", "n_id", "n_ood", "auroc", "fpr95", "aupr_id", "aupr_ood"]
COLUMNS = [
    *FIGURES, "auroc_low", "auroc_high", "fpr95_low", "fpr95_high", "auroc_delong_low", "auroc_delong_high",
    "fpr95_convention", "stream",
]  # fmt: skip


def make(tmp_path: Path, *folders: Path, **options: object) -> tuple[dict[str, Any], Path]:
    out = tmp_path / "report"
    settings = ReportSettings.model_validate({"scores": folders, "out": out, **options})
    return report(settings, Reporter(quiet=True)), out


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
