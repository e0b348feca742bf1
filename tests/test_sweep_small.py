"""Every table of the paper run on the embedded world, in its smallest form, in one sweep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neglabel.pipeline.sweep_grid import cells
from neglabel.pipeline.sweep_settings import read_sweep

from .make_sweep import run_sweep, table
from .test_sweep_tables import TABLES


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tables") / "out"
    run_sweep(out, *TABLES, small=True)
    return out


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_a_table_runs(out: Path, path: Path) -> None:
    expected = {cell.row for cell in cells(read_sweep(path), small=True)}
    results, summary = (table(out / path.stem / name) for name in ("results.csv", "summary.csv"))
    assert {line["row"] for line in results} == {line["row"] for line in summary} == expected
    assert {line["status"] for line in (*results, *summary)} == {"ok"}
    for line in results:
        assert 0 <= float(line["auroc"]) <= 100, line
        assert int(line["n_id"]) > 0 < int(line["n_ood"])
        if line["auroc_low"]:
            assert float(line["auroc_low"]) <= float(line["auroc"]) <= float(line["auroc_high"]), line
    repeated = [line for line in summary if int(line["n"]) > 1]
    for line in repeated:
        values = [float(r[line["metric"]]) for r in results
                  if all(r[key] == line[key] for key in ("row", "score", "id", "ood"))]  # fmt: skip
        assert np.isclose(float(line["mean"]), np.mean(values), atol=1e-4)
        assert np.isclose(float(line["sd"]), np.std(values, ddof=1), atol=1e-4)
    assert (out / path.stem / "summary.svg").read_text().startswith("<?xml")


def test_words_and_negatives_are_shared_between_tables(out: Path) -> None:
    rows = sum(len(cells(read_sweep(path), small=True)) for path in TABLES)
    steps = {stage: len(list((out / "steps").glob(f"{stage}-*"))) for stage in ("encode", "mine", "score")}
    assert steps["encode"] < steps["mine"] < steps["score"] < rows


def averages(out: Path, name: str, metric: str = "auroc") -> dict[tuple[str, str], float]:
    return {(line["row"], line["score"]): float(line["mean"]) for line in table(out / name / "summary.csv")
            if line["ood"] == "average" and line["metric"] == metric}  # fmt: skip


def test_negative_labels_help_where_the_embedded_world_has_them(out: Path) -> None:
    """The method's point: animals against food and vehicles, 2,000 nouns."""
    found = averages(out, "table01")
    assert found["NegLabel", "neglabel"] > found["MCM", "mcm"]
