"""The command line on real CLIP features: the figures that an independent float64 reference gives."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

#: AUROC, FPR95 (ID positive) in percent, of the data's README.
PUBLISHED = {
    ("mcm", "food"): (82.266, 81.559), ("msp", "food"): (75.806, 80.260), ("neglabel", "food"): (90.824, 50.681),
    ("mcm", "sun8"): (79.522, 73.457), ("msp", "sun8"): (70.656, 80.069), ("neglabel", "sun8"): (69.257, 91.278),
    ("mcm", "dtd"): (85.213, 59.397), ("msp", "dtd"): (79.605, 64.953), ("neglabel", "dtd"): (78.146, 90.839),
    ("mcm", "sun"): (78.964, 75.189), ("msp", "sun"): (70.347, 79.824), ("neglabel", "sun"): (69.154, 91.033),
}  # fmt: skip


def test_mine_score_report_give_the_reference_figures(shared_data: Path, tmp_path: Path) -> None:
    data = shared_data / "clip_vitb32"
    if not data.is_dir():
        pytest.skip("../shared/data/clip_vitb32 is absent")

    def neglabel(*arguments: object) -> None:
        command = [sys.executable, "-c", "from neglabel.cli import main; main()", *map(str, arguments)]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr

    candidates = [data / f"candidates_{name}.parquet" for name in ("lvis", "openimages", "objects365")]
    labels = data / "labels_imagenet1k_a.parquet"
    oods = {"food": "food101_16shot", "sun8": "sun397_8shot", "dtd": "dtd", "sun": "sun397"}
    neglabel("mine", *candidates, "--labels", labels, "--out", tmp_path / "n.parquet", "-q")
    neglabel(
        "score", "--negatives", tmp_path / "n.parquet", "--labels", labels, "--groups", 1, "--out", tmp_path / "s",
        "--id", f"imagenet={data / 'images_imagenet_4shot.parquet'}", "-q",
        *(a for k, v in oods.items() for a in ("--ood", f"{k}={data / f'images_{v}.parquet'}")),
    )  # fmt: skip
    neglabel("report", tmp_path / "s", "--out", tmp_path / "r", "-q")
    with open(tmp_path / "r" / "metrics.csv", newline="") as file:
        rows = {(r["score"], r["ood"]): r for r in csv.DictReader(file)}
    for key, (auroc, fpr95) in PUBLISHED.items():
        assert float(rows[key]["auroc"]) == pytest.approx(auroc, abs=0.01)
        assert float(rows[key]["fpr95"]) == pytest.approx(fpr95, abs=0.01)
    assert {r["n_id"] for r in rows.values()} == {"4000"}
