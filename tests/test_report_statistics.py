"""Intervals, paired tests and the spread over seeds in a report, against scikit-learn and float64 by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from neglabel import UsageError
from neglabel.pipeline.bootstrap import difference
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report import differences, intervals, measure, seeds
from neglabel.pipeline.report.read import Run, read_runs
from neglabel.pipeline.report.results import table

from .make_report import make, read_csv
from .make_scores import Set, write_run
from .test_statistics import by_components

SIZES = {"birds": 90, "food": 70, "cars": 50}
CENTRES = {"birds": 1.5, "food": 0.0, "cars": 0.4}
QUIET = Reporter(quiet=True)


def logits(seed: int, noise: float, shift: float = 0.0) -> dict[str, np.ndarray]:
    """The same pictures whatever ``seed``, with noise of its own."""
    shared, own = np.random.default_rng(0), np.random.default_rng(seed)
    return {
        name: shared.normal(CENTRES[name], 1, n) + own.normal(0, noise, n) + shift * (name == "birds")
        for name, n in SIZES.items()
    }


def folder(path: Path, by_score: dict[str, dict[str, np.ndarray]], labels: bool = True, **options: object) -> Path:
    sets = [
        Set(name, "id" if name == "birds" else "ood", n, logits={s: list(v[name]) for s, v in by_score.items()},
            labels=() if labels else [""] * n)
        for name, n in SIZES.items()
    ]  # fmt: skip
    return write_run(path, sets, scores=list(by_score), **options)  # type: ignore[arg-type]


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    one = {"neglabel": logits(1, 0.2, 1.0), "mcm": logits(2, 0.2), "msp": logits(3, 0.2)}
    other = {"neglabel": logits(4, 0.2, -1.0), "mcm": one["mcm"]}
    return read_runs([folder(tmp_path / "one", one), folder(tmp_path / "two", other)])


def drawn(runs: list[Run], count: int = 60, by: intervals.By = "picture") -> list[intervals.Drawings]:
    return intervals.drawn(runs, "id-positive", count, by, 7, QUIET)


def test_intervals_are_of_pictures_drawn_by_hand(runs: list[Run]) -> None:
    rows = [row for run in runs for row in measure.metric_rows(run, "id-positive")]
    found = intervals.with_intervals(rows, drawn(runs))
    data = {name: next(d for d in runs[0].sets if d.name == name).logit("mcm") for name in SIZES}
    values: dict[str, list[float]] = {"food": [], "cars": []}
    for draw in range(1, 61):
        taken = {
            name: data[name][np.random.default_rng([7, draw, place]).integers(0, n, n)]
            for place, (name, n) in enumerate(SIZES.items())
        }
        for ood, figures in values.items():
            inside, outside = taken["birds"], taken[ood]
            truth = np.repeat([1, 0], [len(inside), len(outside)])
            figures.append(100 * roc_auc_score(truth, np.concatenate([inside, outside])))
    values["average"] = [(a + b) / 2 for a, b in zip(values["food"], values["cars"], strict=True)]
    for row in found:
        assert row.fpr95_low is not None
        assert row.fpr95 is not None
        assert row.fpr95_high is not None
        assert row.fpr95_low <= row.fpr95 <= row.fpr95_high
        assert (row.auroc_delong_low is None) == (row.ood == "average")
        if row.score == "mcm":  # the same in both runs
            assert (row.auroc_low, row.auroc_high) == pytest.approx(tuple(np.quantile(values[row.ood], [0.025, 0.975])))
    exact = next(row for row in found if (row.score, row.ood) == ("mcm", "cars"))
    theta, covariance = by_components([(data["birds"], data["cars"])])
    reach = 1.959963984540054 * float(np.sqrt(covariance[0, 0]))
    assert exact.auroc_delong_low == pytest.approx(100 * (theta[0] - reach))
    assert exact.auroc_delong_high == pytest.approx(min(100, 100 * (theta[0] + reach)))


def test_pairs_are_tested_and_corrected_together(runs: list[Run]) -> None:
    found = drawn(runs)
    tested = [t for t in differences.between_scores(found) if t.run == "one"]
    assert len(tested) == 3 * 3 * 2 == tested[0].tests
    assert {(t.metric, t.ood == "average", t.test) for t in tested} == {
        ("auroc", False, "DeLong"), ("auroc", True, "bootstrap"), ("fpr95", False, "bootstrap"),
        ("fpr95", True, "bootstrap"),
    }  # fmt: skip
    data = {s: {d.name: d.logit(s) for d in runs[0].sets} for s in runs[0].scores}
    for t in tested:
        if t.test == "DeLong":
            systems = [(data[s]["birds"], data[s][t.ood]) for s in (t.score, t.other_score)]
            theta, c = by_components(systems)
            error = float(np.sqrt(c[0, 0] + c[1, 1] - 2 * c[0, 1]))
            assert t.difference == pytest.approx(100 * (theta[0] - theta[1]))
            assert t.high - t.low == pytest.approx(2 * 1.959963984540054 * 100 * error)
        else:
            ours, theirs = (found[0].of("one", s, "birds", t.ood, t.metric) for s in (t.score, t.other_score))
            assert ours is not None
            assert theirs is not None
            assert t.p == difference(ours, theirs).p
    # Holm, step by step: smallest first, until one is not small enough for those that are left.
    holds, left = set(), sorted(tested, key=lambda t: t.p)
    while left and left[0].p * len(left) <= differences.LEVEL:
        holds.add(id(left.pop(0)))
    assert {id(t) for t in tested if t.holds} == holds
    # NegLabel is a standard deviation ahead of both; MCM and MSP differ by noise alone.
    assert all(t.holds and t.better for t in tested if t.score == "neglabel" and t.metric == "auroc")
    assert not any(t.holds for t in tested if (t.score, t.other_score) == ("mcm", "msp"))
    rows = measure.metric_rows(runs[0], "id-positive")
    for line in table(runs[0], "birds", rows, tested)["lines"]:
        assert line["marks"]["auroc"] == {"neglabel": "best", "mcm": "worse", "msp": "worse"}
    assert all(not line["marks"]["auroc"] for line in table(runs[0], "birds", rows, [])["lines"])


def test_runs_are_compared_where_they_differ_and_share_their_pictures(tmp_path: Path, runs: list[Run]) -> None:
    found = drawn(runs)
    assert len(found) == 1
    assert len(found[0].systems) == 4  # MCM is the same in both runs
    tested = differences.between_runs(runs[0], runs, found)
    assert {(t.run, t.other_run, t.score) for t in tested} == {("two", "one", "neglabel")}
    assert all(t.holds and not t.better for t in tested if t.metric == "auroc")
    few = [Set(name, "id" if name == "birds" else "ood", n - 1) for name, n in SIZES.items()]
    both = [*runs, *read_runs([write_run(tmp_path / "few", few)])]
    apart = drawn(both)
    assert [len(one.runs) for one in apart] == [2, 1]
    assert {t.run for t in differences.between_runs(both[0], both, apart)} == {"two"}


def test_p_where_no_draw_is_beyond_zero() -> None:
    rng = np.random.default_rng(0)
    gap = np.concatenate([[5.0], rng.normal(5, 1, 200)])
    zero = np.zeros(201)
    assert difference(gap, zero).p == pytest.approx(5.7e-7, rel=2)  # a normal's five deviations, not 2/201
    near = np.concatenate([[2.0], rng.normal(2, 1, 2_000)])
    share = 2 * (1 + int((near[1:] <= 0).sum())) / 2_001
    assert difference(near, np.zeros(2_001)).p == pytest.approx(share)


def test_classes_are_drawn_on_request_and_need_labels(tmp_path: Path, runs: list[Run]) -> None:
    rows = measure.metric_rows(runs[0], "id-positive")
    by_class = drawn(runs, 40, "class")
    plain = intervals.with_intervals(rows, drawn(runs, 40))[0]
    found = intervals.with_intervals(rows, by_class)[0]
    assert found.auroc == plain.auroc
    assert (found.auroc_low, found.auroc_delong_low) != (plain.auroc_low, plain.auroc_delong_low)
    assert found.auroc_delong_low is None
    assert {t.test for t in differences.between_scores(by_class)} == {"bootstrap"}
    bare = read_runs([folder(tmp_path / "bare", {"mcm": logits(1, 0.1)}, labels=False)])
    with pytest.raises(UsageError, match="birds has 0 labelled class"):
        intervals.drawn(bare, "id-positive", 40, "class", 0, QUIET)


def seeded(path: Path, seed: int, noise: float, words: list[str]) -> Path:
    made = folder(path, {"neglabel": logits(seed, noise), "mcm": logits(0, 0.1)}, random=True, seed=seed, words=words)
    negatives = made / "negatives.parquet"
    kept = pq.read_table(negatives)
    facts = json.loads(kept.schema.metadata[b"neglabel"])
    facts["settings"]["random"] = seed
    pq.write_table(kept.replace_schema_metadata({b"neglabel": json.dumps(facts).encode()}), negatives)
    return made


def test_spread_over_seeds(tmp_path: Path) -> None:
    folders = [seeded(tmp_path / f"r{i}", i, 0.5, [f"w{i}{j}" for j in range(9)]) for i in range(3)]
    more = [
        seeded(tmp_path / "longer", 3, 0.5, ["a", "b"]),
        folder(tmp_path / "mined", {"neglabel": logits(9, 0.5), "mcm": logits(0, 0.1)}, words=["x"]),
    ]
    fitted = seeded(tmp_path / "fitted", 4, 0.5, [f"w4{j}" for j in range(9)])
    about = json.loads((fitted / "manifest.json").read_text(encoding="utf-8")) | {"bank": {"features_sha256": "ab"}}
    (fitted / "manifest.json").write_text(json.dumps(about), encoding="utf-8")
    runs = read_runs([*folders, *more, fitted])
    rows = [row for run in runs for row in measure.metric_rows(run, "id-positive")]
    found = seeds.spreads(runs, rows)
    assert {(s.runs, s.score) for s in found} == {(("r0", "r1", "r2"), "neglabel")}
    for s in found:
        values = [
            getattr(r, s.metric) for r in rows if r.run in s.runs and (r.score, r.ood) == ("neglabel", s.ood)
        ]
        assert (s.mean, s.deviation) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
        assert (s.least, s.most) == (min(values), max(values))


def test_the_stage_writes_them_and_zero_turns_them_off(tmp_path: Path) -> None:
    made = folder(tmp_path / "one", {"neglabel": logits(1, 0.2, 1.0), "mcm": logits(2, 0.2)})
    _, out = make(tmp_path, made, cases=0, bootstrap=40, fpr="nearest-recall")
    assert {row["test"] for row in read_csv(out / "differences.csv")} == {"DeLong", "bootstrap"}
    assert all(row["auroc_low"] for row in read_csv(out / "metrics.csv"))
    assert "[" in (out / "metrics.md").read_text(encoding="utf-8").splitlines()[4]
    assert json.loads((out / "manifest.json").read_text(encoding="utf-8"))["statistics"]["draws"] == 40
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "40 draws of the pictures" in page
    _, out = make(tmp_path, made, cases=0, bootstrap=0)
    rows = read_csv(out / "metrics.csv")
    assert not any(row["auroc_low"] or row["fpr95_high"] for row in rows)
    assert rows[0]["auroc_delong_low"]
    assert {row["test"] for row in read_csv(out / "differences.csv")} == {"DeLong"}
    assert "draws of the pictures" not in (out / "index.html").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="--bootstrap 5 is too few for a 95 % interval; give at least 20"):
        make(tmp_path, made, bootstrap=5)
    with pytest.raises(UsageError, match="--compare needs draws of the pictures; give --bootstrap 20 or more"):
        make(tmp_path, made, bootstrap=0, compare="corpus")
