"""The comparison's arithmetic against the formulas in float64, brute force and simulation."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neglabel.pipeline import metrics
from neglabel.pipeline.bootstrap import difference, draws
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report.compare import published
from neglabel.pipeline.report.compare.activation import mean_shares, pool
from neglabel.pipeline.report.compare.hurting import halves
from neglabel.pipeline.report.compare.kept import read_kept
from neglabel.pipeline.report.compare.makeup import NOT_THERE, OTHER_LANGUAGE, lexicographer_files
from neglabel.pipeline.report.compare.overlap import exact, nearest
from neglabel.pipeline.report.compare.removal import Removal
from neglabel.pipeline.report.read import read_runs
from neglabel.pipeline.scores import neglabel
from neglabel.pipeline.weighted_metrics import Pair

from .conftest import ROOT
from .make_kept import LABELS, T, World, unit, write_kept

QUIET = Reporter(quiet=True)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(-4, 4), st.integers(0, 3)), min_size=2, max_size=30),
    st.lists(st.tuples(st.integers(-4, 4), st.integers(0, 3)), min_size=2, max_size=30),
    st.sampled_from(["id-positive", "ood-positive"]),
)
def test_weighted_figures_are_those_of_repeated_pictures(
    inside: list[tuple[int, int]], outside: list[tuple[int, int]], convention: metrics.Convention
) -> None:
    (a, wa), (b, wb) = (map(np.array, zip(*side, strict=True)) for side in (inside, outside))
    if not wa.sum() or not wb.sum():
        wa, wb = wa + 1, wb + 1
    auroc, fpr95 = Pair(a.astype(float), b.astype(float), convention).measure(wa, wb)
    many, more = np.repeat(a, wa), np.repeat(b, wb)
    assert auroc == pytest.approx(100 * metrics.auroc(many, more), abs=1e-9)
    assert fpr95 == pytest.approx(100 * metrics.fpr95(many, more, convention), abs=1e-9)


def test_intervals_hold_a_known_difference() -> None:
    """Two detectors on the same pictures whose true AUROCs are known: N(μ, 1) against N(0, 1) has Φ(μ/√2)."""
    from math import erf

    draw = np.random.default_rng(5)
    truth = 50 * (erf(1.5 / 2) - erf(1.2 / 2))
    held = shown = 0
    for simulation in range(60):
        shared_a, shared_b = draw.normal(size=150), draw.normal(size=150)
        systems = [
            {name: m + 0.8 * both + 0.6 * draw.normal(size=150) for name, m, both in
             (("id", centre, shared_a), ("ood", 0.0, shared_b))}
            for centre in (1.5, 1.2)
        ]
        drawn = draws(systems, [("id", "ood")], "id-positive", 100, simulation)[:, :, 0, 0]
        gap = difference(drawn[:, 0], drawn[:, 1])
        held += gap.low <= truth <= gap.high
        shown += gap.shown
    # 95 % of 60 is 57; binomial chance of fewer than 51 is below 0.1 % (and 100 draws make intervals a little narrow).
    assert held >= 51
    assert shown > 30  # pairing and 150 pictures are enough to see it mostly


def test_no_difference_is_shown_between_equals() -> None:
    draw = np.random.default_rng(6)
    shown = 0
    for simulation in range(40):
        systems = [{"id": draw.normal(1, 1, 80), "ood": draw.normal(0, 1, 80)} for _ in range(2)]
        drawn = draws(systems, [("id", "ood")], "id-positive", 100, simulation)[:, :, 0, 0]
        shown += difference(drawn[:, 0], drawn[:, 1]).shown
    assert shown <= 7


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 6), st.sampled_from([0.01, 0.001, 0.5]))
def test_removal_equals_scoring_without_these_negatives(
    seed: int, n_groups: int, size: int, temperature: float
) -> None:
    draw = np.random.default_rng(seed)
    positive, negative = draw.uniform(-1, 1, (3, 4)), draw.uniform(-1, 1, (3, n_groups * size + 2))
    groups = draw.permutation(n_groups * size).reshape(n_groups, size)
    choices = [np.flatnonzero(draw.random(negative.shape[1]) < share) for share in (0.0, 0.3, 0.7)]
    found = Removal(groups, choices, temperature).logits(positive, negative)
    for choice, logits in zip(choices, found, strict=True):
        left = [[j for j in group if j not in choice] for group in groups]
        left = [group for group in left if group]
        if not left:
            assert np.isnan(logits).all()
            continue
        # The mean over groups, each by the formula, in exact log space through the stage's own ungrouped score.
        z = np.stack([neglabel(positive, negative[:, g], temperature)[1] for g in left], axis=1)
        wanted = np.logaddexp.reduce(-np.logaddexp(0, -z), axis=1) - np.logaddexp.reduce(-np.logaddexp(0, z), axis=1)
        np.testing.assert_allclose(logits, wanted, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found[0], neglabel(positive, negative, temperature, groups)[1], rtol=1e-9, atol=1e-9)


def test_a_group_that_loses_its_largest_member_keeps_the_others_exactly() -> None:
    negative = np.array([[0.9, -0.9, -0.8, 0.1]])
    logits = Removal(np.array([[0, 1], [2, 3]]), [np.array([0])], 0.001).logits(np.array([[0.0]]), negative)
    wanted = np.array([900.0, -100.0])  # z of each group: exp(±1,700) would have cancelled to nothing
    assert logits[0, 0] == pytest.approx(
        np.logaddexp.reduce(-np.logaddexp(0, -wanted)) - np.logaddexp.reduce(-np.logaddexp(0, wanted))
    )


def test_mean_shares_are_the_formula(tmp_path: Path) -> None:
    world = World(pictures={"animals": 30, "food": 25})
    a, b = world.words(12, "food"), world.words(9, "animals", seed=2)
    write_kept(tmp_path / "a", world, a, [f"word {i}" for i in range(12)])
    write_kept(tmp_path / "b", world, b, ["WORD_3", *(f"b{i}" for i in range(8))])
    kept = [read_kept(run) for run in read_runs([tmp_path / "a", tmp_path / "b"])]
    words = pool(kept)
    assert len(words.embedding) == 20  # "WORD_3" is "word 3"
    assert words.places["b"][0] == words.places["a"][3]
    np.testing.assert_allclose(words.embedding[words.places["a"]], a, atol=1e-6)
    np.testing.assert_allclose(words.embedding[words.places["b"][1:]], b[1:], atol=1e-6)
    rows = np.arange(25) % 3 > 0
    data = next(d for d in kept[0].run.sets if d.name == "food")
    shares = mean_shares(kept[0], data, words.embedding, QUIET, rows)
    h = world.embeddings["food"][rows].astype(np.float64)
    up, down = np.exp(h @ words.embedding.T.astype(float) / T), np.exp(h @ world.labels.T.astype(float) / T)
    wanted = (up / (up.sum(axis=1) + down.sum(axis=1))[:, None]).mean(axis=0)
    np.testing.assert_allclose(shares, wanted, rtol=2e-4, atol=1e-9)


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40))
def test_neighbours_against_brute_force(seed: int, n: int, m: int) -> None:
    draw = np.random.default_rng(seed)
    a, b = unit(draw.normal(size=(n, 3))), unit(draw.normal(size=(m, 3)))
    ours, theirs = nearest(a, b)
    np.testing.assert_allclose(ours, [max(float(x @ y) for y in b) for x in a], atol=1e-6)
    np.testing.assert_allclose(theirs, [max(float(x @ y) for x in a) for y in b], atol=1e-6)


def test_neighbours_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(1)
    a, b = unit(draw.normal(size=(50, 8))), unit(draw.normal(size=(30, 8)))
    whole = nearest(a, b)
    monkeypatch.setattr("neglabel.pipeline.report.compare.overlap.BLOCK_VALUES", 100)
    for one, other in zip(whole, nearest(a, b), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_exact_overlap_is_of_normalised_words() -> None:
    assert exact(["Ice_Cream", "straße", "owl"], ["ice  cream", "STRASSE"]).tolist() == [True, True, False]


def test_halves_are_disjoint_stratified_and_stay(tmp_path: Path) -> None:
    world = World(pictures={"animals": 83, "food": 10})
    write_kept(tmp_path / "a", world, world.words(8), list("abcdefgh"))
    kept = read_kept(read_runs([tmp_path / "a"])[0])
    found = halves(kept, 3)["animals"]
    assert abs(2 * found.sum() - 83) == 1
    for label in LABELS:
        members = np.array(world.truth["animals"]) == label
        assert abs(2 * found[members].sum() - members.sum()) <= 1
    assert (found == halves(kept, 3)["animals"]).all()
    assert (found != halves(kept, 4)["animals"]).any()


def test_lexicographer_files() -> None:
    texts = ["truck", "lorries", "red", "Hund", "zzqx", "bank", "Dog"]
    poses = ["noun", "noun", "adjective", "noun", "", "noun", "verb"]
    languages = ["en", "", "en-GB", "de", "en", "en", "en"]
    sources, keys = ["list"] * 5 + ["wordnet-3.0", "list"], ["1"] * 5 + ["savings_bank.n.02", "7"]
    found = lexicographer_files(texts, poses, languages, sources, keys)
    assert found == [
        "noun.artifact", "noun.artifact", "adj.all", OTHER_LANGUAGE, NOT_THERE, "noun.artifact", "verb.motion",
    ]  # fmt: skip


def test_published_figures_are_the_papers() -> None:
    paper = ROOT.parent / "shared" / "reference" / "neglabel_iclr2024.txt"
    if not paper.is_file():
        pytest.skip("../shared/reference is absent: the paper's text is not part of the repository")
    text = paper.read_text(encoding="utf-8")
    table = text[text.index("Table 11: Comparison") :].split("A.5 ABLATION")[0]
    lines = [re.findall(r"\d+\.\d\d", line) for line in table.splitlines()]
    wanted = [[float(x) for x in line] for line in lines if len(line) == 10]
    ours = [[x for pair in zip(row.auroc, row.fpr95, strict=True) for x in pair] for row in published.TABLE_11]
    assert ours == wanted
    for row in published.TABLE_11:
        assert np.mean(row.auroc[:4]) == pytest.approx(row.auroc[4], abs=0.011)
    assert published.WORDNET.of("DTD") == (90.22, 43.56)
    assert published.WORDNET.of("food") is None
