"""The paper's tables as sweep files: published figures match their rows, and each has a small form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neglabel.pipeline.report.compare.published import SETS, TABLE_11
from neglabel.pipeline.sweep_grid import cells
from neglabel.pipeline.sweep_published import published_of, same_row, sets_of
from neglabel.pipeline.sweep_settings import SweepFile, read_sweep

from .conftest import ROOT

TABLES = sorted((ROOT / "examples" / "tables").glob("*.toml"))


@pytest.fixture(params=TABLES, ids=[path.stem for path in TABLES])
def file(request: pytest.FixtureRequest) -> SweepFile:
    return read_sweep(Path(request.param))


def test_every_published_row_is_a_row_or_says_why_not(file: SweepFile) -> None:
    figures, rows = published_of(file), {cell.row for cell in cells(file)}
    compared = {row for row in rows if any(same_row(f.row, row) and f.compared for f in figures)}
    assert compared or not figures


def test_published_averages_are_those_of_their_columns(file: SweepFile) -> None:
    """Within rounding: a slip of a digit shows."""
    figures = [f for f in published_of(file) if f.compared]
    for average in (f for f in figures if f.ood == "average" and sets_of(figures, f.row)):
        place = (average.row, average.score, average.id, average.metric)
        columns = [f.value for f in figures if (f.row, f.score, f.id, f.metric) == place and f.ood != "average"]
        assert abs(np.mean(columns) - average.value) < 0.0151, place


def test_the_small_form_has_rows_that_differ(file: SweepFile) -> None:
    small = cells(file, small=True)
    assert len(small) < 30
    assert len({repr(sorted(cell.values.items(), key=str)) for cell in small}) == len(small)
    for cell in small:
        assert cell.values["model"] == "emoji" or "tiny" in str(cell.values["model"])
        assert not any("dataset:" in str(value) for value in cell.values.values()), cell.row


def test_table_11_is_the_same_here_and_on_the_comparison_page() -> None:
    figures = published_of(read_sweep(next(path for path in TABLES if path.stem == "table11")))
    there = {(f.row, f.ood, f.metric): f.value for f in figures}
    here = {}
    for line in TABLE_11:
        for ood, auroc, fpr95 in zip((*SETS, "average"), line.auroc, line.fpr95, strict=True):
            here |= {(line.source, ood, "auroc"): auroc, (line.source, ood, "fpr95"): fpr95}
    assert there == here
