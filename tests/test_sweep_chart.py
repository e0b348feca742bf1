"""The picture of a sweep's averages: what is shown, where, and that names are text."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

from neglabel.pipeline.sweep_chart import ROWS, heights, shown, summary_svg
from neglabel.pipeline.sweep_table import Line

BASE = Line("a", "neglabel", "ID", "average", "auroc", 90.0, None, 1, 88.0, 92.0, None, None, None, "", "ok", "")


def words(svg: str) -> list[str]:
    return ["".join(e.itertext()) for e in ET.fromstring(svg).iter() if e.tag.endswith("}text")]


def test_the_average_is_shown_or_the_only_set_and_nothing_else() -> None:
    far, near = replace(BASE, ood="far"), replace(BASE, ood="near")
    assert shown([far, near, BASE]) == [BASE]
    assert shown([far]) == [far]
    assert shown([far, near]) == []
    failed, other = replace(BASE, mean=None, status="failed"), replace(BASE, metric="aupr_id")
    assert shown([failed, other]) == []
    theirs = replace(BASE, row="b", mean=None, published=80.0, status="no row")
    assert shown([theirs]) == [theirs]


def test_names_are_text_and_odd_ones_harm_nothing() -> None:
    odd = '<script>&$\\frac{1}{0}$ "é" 狗\n'
    lines = [BASE, replace(BASE, row=odd, score="mcm"), replace(BASE, metric="fpr95", mean=20.0, low=None, high=None)]
    found = words(summary_svg(odd, lines))
    assert {"a", "NegLabel", "MCM", "AUROC, % (higher is better)", "FPR95, % (lower is better)"} <= set(found)
    assert sum("<script>&$\\frac{1}{0}$" in text for text in found) == 2
    assert "published" not in found
    assert summary_svg(odd, lines) == summary_svg(odd, lines)


def test_scores_of_a_row_lie_apart_and_one_alone_on_its_line() -> None:
    places = [("1", "mcm"), ("2", "msp"), ("3", "mcm"), ("3", "msp"), ("4", "mcm"), ("4", "msp"), ("4", "energy")]
    found = heights([*places, *places], ["1", "2", "3", "4"])
    assert (found["1", "mcm"], found["2", "msp"]) == (0, 1)
    assert found["3", "mcm"] < 2 < found["3", "msp"]
    assert found["3", "mcm"] + found["3", "msp"] == 4
    assert found["4", "mcm"] < found["4", "msp"] == 3 < found["4", "energy"] < 3.5
    theirs = replace(BASE, row="b", published=91.0, difference=-1.0)
    assert "published" in words(summary_svg("t", [BASE, theirs]))
    assert "published" not in words(summary_svg("t", [BASE, replace(theirs, difference=None)]))


def test_many_rows_are_cut_and_none_is_no_picture() -> None:
    assert summary_svg("t", []) == ""
    found = words(summary_svg("t", [replace(BASE, row=f"row {n}") for n in range(ROWS + 5)]))
    assert f"row {ROWS - 1}" in found
    assert f"row {ROWS}" not in found
    assert f"t (the first {ROWS} of {ROWS + 5} rows)" in found


def test_several_id_sets_are_named() -> None:
    found = words(summary_svg("t", [BASE, replace(BASE, id="birds")]))
    assert {"a: ID", "a: birds"} <= set(found)
