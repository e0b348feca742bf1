"""Coverage against loops, permutations and masks in float64; its files and section from kept embeddings."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from neglabel import UsageError
from neglabel.pipeline import coverage

from .make_kept import LABELS, World, unit, write_kept
from .make_report import make, read_csv
from .page_in_browser import Opened

PICTURES = st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=5)


@given(PICTURES)
def test_risk_is_the_mean_over_all_orders_that_the_scores_allow(pictures: list[tuple[int, bool]]) -> None:
    scores, wrong = [s for s, _ in pictures], [w for _, w in pictures]
    orders = [o for o in permutations(range(len(pictures))) if [-scores[i] for i in o] == sorted(-s for s in scores)]
    risks = [[sum(wrong[i] for i in order[: k + 1]) / (k + 1) for k in range(len(order))] for order in orders]
    covered, risk = coverage.risk_coverage(scores, wrong)
    np.testing.assert_allclose(risk, np.mean(risks, axis=0), atol=1e-12)
    np.testing.assert_allclose(covered, (np.arange(len(pictures)) + 1) / len(pictures))
    assert coverage.aurc(scores, wrong) == pytest.approx(np.mean(risks))
    assert coverage.aurc([-w for w in wrong], wrong) <= coverage.aurc(scores, wrong) + 1e-12


def test_no_picture_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one"):
        coverage.risk_coverage([], [])


def test_nearest_is_what_loops_find_whatever_the_blocks() -> None:
    draw = np.random.default_rng(5)
    labels, negatives = unit(draw.normal(size=(4, 8))), unit(draw.normal(size=(7, 8)))
    pictures, which = unit(draw.normal(size=(50, 8))), draw.permutation(np.arange(50) % 3)
    parts = [(start, pictures[start : start + 13]) for start in range(0, 50, 13)]
    found = coverage.nearest(parts, which, 3, labels, negatives)
    for c in range(3):
        mine = pictures[which == c].astype(np.float64)
        mean = mine.mean(axis=0) / np.linalg.norm(mine.mean(axis=0))
        for words, index, cosine in (
            (negatives, found.negative, found.negative_cosine), (labels, found.label, found.label_cosine)
        ):  # fmt: skip
            cosines = [float(mean @ word.astype(np.float64)) for word in words]
            assert index[c] == int(np.argmax(cosines))
            assert cosine[c] == pytest.approx(max(cosines), abs=1e-12)
        best = [max(range(11), key=lambda i: float(np.concatenate([labels, negatives])[i] @ p)) for p in mine]
        assert found.share[c] == pytest.approx(np.mean([i >= 4 for i in best]))
    assert found.n.tolist() == [17, 17, 16]
    opposite = coverage.nearest([(0, np.stack([pictures[0], -pictures[0]]))], np.zeros(2, int), 1, labels, negatives)
    assert opposite.margin[0] == 0.0


@given(st.lists(st.tuples(st.floats(-1, 1), st.integers(1, 9)), min_size=1, max_size=8))
def test_near_is_the_most_similar_half(classes: list[tuple[float, int]]) -> None:
    similarity, n = [s for s, _ in classes], [k for _, k in classes]
    near = coverage.near_half(similarity, n)
    inside, outside = ([s for s, chosen in zip(similarity, near, strict=True) if chosen == side] for side in (1, 0))
    assert outside
    assert bool(inside) == (len(classes) > 1)
    assert not inside or min(inside) >= max(outside)
    assert np.asarray(n)[near].sum() <= max(sum(n) / 2, n[int(np.argmax(similarity))])


#: Food has class names and negatives close by, cars have neither: they look like the first label.
WORLD = World(pictures={"animals": 60, "food": 50, "cars": 41}, noise=0.35)
WORLD.embeddings["cars"] = unit(WORLD.labels[0] + 0.15 * np.random.default_rng(1).normal(size=(41, 24)))
COUNT = 25


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    root = tmp_path_factory.mktemp("coverage")
    WORLD.truth["food"] = [f"dish <{i % 5}>" for i in range(50)]
    negatives = WORLD.words(COUNT, "food", strength=3.0)
    folder = write_kept(root / "run", WORLD, negatives, [f"word {i % 5}.{i // 5}" for i in range(COUNT)])
    return make(root, folder, coverage=True, theory=True, threshold=0.2, cases=0, bootstrap=0)


def test_classes_without_a_close_negative_come_first(made: tuple[dict[str, Any], Path]) -> None:
    summary, out = made
    rows = read_csv(out / "coverage.csv")
    ours = [row for row in rows if row["role"] == "ood"]
    assert [row["dataset"] for row in ours] == ["cars", *["food"] * 5]
    assert [float(row["margin"]) for row in ours] == sorted(float(row["margin"]) for row in ours)
    assert float(ours[0]["margin"]) < 0 < float(ours[1]["margin"])
    for row in ours[1:]:
        assert row["nearest_negative"].split(".")[0] == f"word {row['class'][6]}"  # its own theme's
        assert float(row["negative_share"]) > 50
    assert {row["class"] for row in rows if row["role"] == "id"} == set(LABELS)
    assert any("1 of 6 OOD classes has no negative" in note for note in summary["notes"])
    page = (out / "index.html").read_text(encoding="utf-8")
    assert page.count('id="coverage"') == 1
    assert "<b>1 of 6</b>" in page
    assert "dish &lt;0&gt;" in page


def test_halves_are_of_the_pictures_they_say(made: tuple[dict[str, Any], Path]) -> None:
    rows = {(row["ood"], row["part"]): row for row in read_csv(made[1] / "near-far.csv")}
    score = {name: pq.read_table(made[1].parent / "run" / f"scores-{name}.parquet") for name in WORLD.pictures}
    logit = {name: np.asarray(table["neglabel_logit"]) for name, table in score.items()}
    own = (WORLD.embeddings["cars"] @ WORLD.labels.T).max(axis=1)
    similar = np.argsort(-own)[:20]
    mean = {c: WORLD.embeddings["food"][c::5].mean(axis=0) for c in range(5)}
    by_class = sorted(mean, key=lambda c: -float((mean[c] @ WORLD.labels.T).max() / np.linalg.norm(mean[c])))
    near = {"cars": np.isin(np.arange(41), similar), "food": np.isin(np.arange(50) % 5, by_class[:2])}
    for (ood, part), row in rows.items():
        chosen = logit[ood][near[ood] == (part == "near")]
        assert (row["by"], int(row["n_ood"])) == ("class" if ood == "food" else "picture", len(chosen))
        truth = np.arange(60 + len(chosen)) < 60
        expected = 100 * roc_auc_score(truth, np.concatenate([logit["animals"], chosen]))
        assert float(row["auroc"]) == pytest.approx(expected, abs=1e-3)
    assert len(rows) == 4


def test_risk_at_full_coverage_is_the_share_of_all_that_is_wrong(made: tuple[dict[str, Any], Path]) -> None:
    rows = read_csv(made[1] / "risk-coverage.csv")
    table = pq.read_table(made[1].parent / "run" / "scores-animals.parquet")
    wrong = sum(a != b for a, b in zip(*(table[c].to_pylist() for c in ("label", "predicted_label")), strict=True))
    for ood, n in (("food", 50), ("cars", 41)):
        mine = [row for row in rows if row["ood"] == ood]
        assert float(mine[-1]["coverage"]) == 100
        assert float(mine[-1]["risk"]) == pytest.approx(100 * (wrong + n) / (60 + n), abs=1e-3)
        assert float(mine[0]["least_aurc"]) <= float(mine[0]["aurc"])
        assert len(mine) == 100


def test_without_known_labels_there_is_no_curve(made: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    folder = made[1].parent / "run"
    path = folder / "scores-animals.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("label")
    pq.write_table(table.set_column(place, "label", pa.array([""] * 60)), path)
    try:
        _, out = make(tmp_path, folder, coverage=True, cases=0, bootstrap=0)
    finally:
        pq.write_table(table, path)
    assert read_csv(out / "risk-coverage.csv") == []
    assert "Accepting or rejecting" not in (out / "index.html").read_text(encoding="utf-8")


def test_sections_in_a_browser(browser: Any, made: tuple[dict[str, Any], Path]) -> None:
    seen = Opened(browser, made[1] / "index.html", viewport={"width": 360, "height": 800})
    page = seen.page
    assert page.locator("nav a").evaluate_all("a => a.every(x => document.querySelector(x.hash))")
    assert page.locator("#coverage-table tbody tr").count() == 6
    assert page.locator("#theory svg, #coverage svg").count() == 2 * 2
    assert page.locator("#near-far tbody tr").count() == 2
    assert page.locator("th:not([scope]), table:not(:has(caption)), [role=img]:not([aria-label])").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert seen.troubles == []
    page.close()
