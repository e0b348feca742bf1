"""A sweep's file → cells; published figures matched with rows. Nothing is computed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from neglabel import UsageError
from neglabel.pipeline import encode_manifest, score_resume
from neglabel.pipeline.config import make
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.remember import remembered, remembering
from neglabel.pipeline.report import seeds
from neglabel.pipeline.run_settings import RunSettings
from neglabel.pipeline.score_settings import ScoreSettings
from neglabel.pipeline.scores import SCORES, Block, compute_all, spec_of
from neglabel.pipeline.settings import EncodeSettings
from neglabel.pipeline.sweep_grid import cells, only
from neglabel.pipeline.sweep_plan import rooted
from neglabel.pipeline.sweep_published import COLUMNS, find, published_of, read_published, same_row, sets_of
from neglabel.pipeline.sweep_settings import SweepFile, read_sweep
from neglabel.pipeline.sweep_steps import ENCODE_HOW, HOW

KEYS = ("mine.top", "mine.percentile", "score.groups", "model", "score.seed")


def written(folder: Path, values: dict[str, Any]) -> Path:
    (folder / "t.toml").write_text(tomli_w.dumps(values))
    return folder / "t.toml"


def parsed(values: dict[str, Any]) -> SweepFile:
    run = {k: v for k, v in values.items() if k not in ("axes", "rows", "small")}
    rest = {k: v for k, v in values.items() if k in ("axes", "rows", "small")}
    return SweepFile.model_validate({"path": Path("t.toml"), "run": run, **rest})


@given(
    st.dictionaries(st.sampled_from(KEYS), st.integers(0, 9), max_size=4),
    st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True), min_size=1, max_size=3),
    st.lists(st.integers(0, 5), min_size=0, max_size=3, unique=True),
)
def test_axes_multiply_in_order_and_replace_what_the_file_says(
    base: dict[str, int], values: list[list[int]], seeds: list[int]
) -> None:
    axes: list[dict[str, Any]] = [{"name": f"a{i}", "key": KEYS[i], "values": v} for i, v in enumerate(values)]
    if seeds:
        axes.append({"name": "draws", "values": [{"name": "", "repeats": {"score.seed": seeds}}]})
    found = cells(parsed({**base, "axes": axes}))
    expected = [
        ({**base, **dict(zip(KEYS, point, strict=False)), **({"score.seed": seed} if seeds else {})}, point, seed)
        for point in product(*values) for seed in (seeds or [None])
    ]  # fmt: skip
    assert [dict(cell.values) for cell in found] == [values for values, _, _ in expected]
    assert [cell.row for cell in found] == [", ".join(map(str, point)) for _, point, _ in expected]
    assert [cell.repeat for cell in found] == ["" if s is None else f"score.seed={s}" for _, _, s in expected]
    value = values[0][0]
    assert only(found, [f"a0={value}"]) == [cell for cell in found if cell.values[KEYS[0]] == value]


def test_rows_set_unset_and_repeat(tmp_path: Path) -> None:
    file = read_sweep(written(tmp_path, {
        "labels": "l", "pretrained": "openai", "score": {"label-prompt": ["a {}"], "id": {"a": "x", "b": "y"}},
        "rows": [
            {"name": "plain"},
            {"name": "other", "set": {"score.id": {"c": "z"}, "mine": {"top": 5}}, "unset": ["pretrained"]},
            {"name": "drawn", "repeats": {"mine.random": [0, 1], "score.seed": [7]}},
        ],
    }))  # fmt: skip
    plain, other, *drawn = cells(file)
    assert plain.run == {"labels": "l", "pretrained": "openai",
                         "score": {"label_prompt": ["a {}"], "id": {"a": "x", "b": "y"}}}  # fmt: skip
    assert other.run == {"labels": "l", "mine": {"top": 5}, "score": {"label_prompt": ["a {}"], "id": {"c": "z"}}}
    assert [cell.repeat for cell in drawn] == ["mine.random=0, score.seed=7", "mine.random=1, score.seed=7"]
    assert drawn[1].run["mine"] == {"random": 1}
    assert make(RunSettings, {**other.run, "out": "o"}).mine == {"top": 5}


def test_a_run_file_is_a_sweep_of_one_row(tmp_path: Path) -> None:
    run = {"labels": "l", "corpus": ["a", "b"], "score": {"groups": 3}}
    (cell,) = cells(read_sweep(written(tmp_path, run)))
    assert (cell.row, cell.run, cell.repeat) == ("t", run, "")


def test_small_replaces_the_base_and_keeps_what_it_names(tmp_path: Path) -> None:
    file = read_sweep(written(tmp_path, {
        "labels": "l", "pretrained": "openai", "mine": {"top": 9},
        "axes": [
            {"name": "M", "key": "mine.top", "values": [1, 2, 3]},
            {"name": "model", "values": [
                {"name": "big", "set": {"model": "ViT-L-14"}, "small": {"set": {"encode.storage": "float32"}}},
                {"name": "no", "set": {"model": "RN50"}},
            ]},
        ],
        "small": {"set": {"score.groups": 2}, "values": {"M": ["1", "3"], "model": ["big"]}},
    }))  # fmt: skip
    found = cells(file, small=True)
    assert [cell.row for cell in found] == ["1, big", "3, big"]
    assert len(cells(file)) == 6
    for cell in found:
        assert cell.values["model"] == "emoji"
        assert "pretrained" not in cell.values
        assert (cell.values["score.groups"], cell.values["encode.storage"]) == (2, "float32")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"axes": [{"key": "mine.top", "values": [1]}], "rows": [{"name": "x"}]}, "exclude each other"),
        ({"axes": [{"name": "x", "values": [1]}]}, "needs a `key`"),
        ({"axes": [{"key": "encoder.model", "values": [1]}]}, "no key `encoder.model`"),
        ({"axes": [{"key": "mine.top", "values": []}]}, "axes.1.values"),
        ({"axes": [{"key": "mine.top", "values": [1, 1]}]}, "two rows are called '1'"),
        ({"rows": [{"name": "x", "sets": {}}]}, "rows.1.sets"),
        ({"rows": [{"name": "x", "repeats": {"mine.random": []}}]}, "needs values"),
        ({"rows": [{"name": "x", "unset": ["sources"]}]}, "not for sweeps"),
        ({"sources": {"a": "wordnet"}}, "not for sweeps"),
        ({"random_seeds": 3}, 'repeats = {"mine.random"'),
        ({"corpse": "wordnet"}, "no key `corpse`"),
        ({"baseline": "none"}, "baseline = 'none' is no row"),
        ({"small": {"rows": ["none"]}}, "there is no 'none'"),
        ({"small": {"values": {"M": ["1"]}}}, "there is no '1'"),
    ],
)
def test_what_a_file_may_not_say(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as error:
        cells(read_sweep(written(tmp_path, {"labels": "l", **change})))
    assert says in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_the_root_is_filled_in_where_a_data_set_has_none(tmp_path: Path) -> None:
    root = tmp_path.absolute()
    assert rooted("dataset:sun", tmp_path) == f"dataset:sun,root={root}"
    assert rooted("dataset:dtd,split=test", tmp_path) == f"dataset:dtd,split=test,root={root}"
    assert rooted("dataset:sun,root=/x", tmp_path) == "dataset:sun,root=/x"
    assert rooted("pictures/sun", tmp_path) == "pictures/sun"
    assert rooted("dataset:sun", None) == "dataset:sun"


def published(folder: Path, *lines: Sequence[Any]) -> Path:
    path = folder / "p.csv"
    path.write_text("\n".join([",".join(COLUMNS), *(",".join(map(str, line)) for line in lines)]) + "\n")
    return path


def test_published_rows_match_by_name_and_numbers_by_value(tmp_path: Path) -> None:
    path = published(
        tmp_path,
        ("t", "0.050", "", "", "DTD", "auroc", 90.22, "", "", "", ""),
        ("t", "0.05", "mcm", "in", "average", "fpr95", 25.4, 0.2, 10, "ok", "over ten"),
        ("t", "MSP", "", "", "average", "auroc", 77, "", "", "not-reproducible", "fine-tuned"),
        ("u", "1", "", "", "SUN", "auroc", 1, "", "", "", ""),
    )
    figures = read_published(path, "t")
    assert [f.row for f in figures] == ["0.050", "0.05", "MSP"]
    place = {"inside": "in", "metric": "auroc", "ood": "textures", "one_id": True}
    assert find(figures, "0.05", "neglabel", alone=True, **place) is figures[0]  # type: ignore[arg-type]
    assert find(figures, "0.05", "neglabel", alone=False, **place) is None  # type: ignore[arg-type]
    assert find(figures, "0.5", "neglabel", alone=True, **place) is None  # type: ignore[arg-type]
    other = find(figures, "0.05", "mcm", "in", "average", "fpr95", False, False)
    assert other is figures[1]
    assert (other.sd, other.n) == (0.2, 10)
    assert same_row("A, 1.0", "A, 1")
    assert not same_row("A, 1", "A")
    assert not same_row("a", "A")
    assert sets_of(figures, "0.05") == {"textures"}


@pytest.mark.parametrize(("status", "refused"), [("", True), ("ok", True), ("contradictory", False),
                                                 ("not-reproducible", False)])  # fmt: skip
def test_a_published_row_without_a_row_is_a_slip_unless_it_says_so(tmp_path: Path, status: str, refused: bool) -> None:
    published(tmp_path, ("t", "1", "", "", "x", "auroc", 1, "", "", "", ""),
              ("t", "3", "", "", "x", "auroc", 1, "", "", status, ""))  # fmt: skip
    file = read_sweep(written(tmp_path, {
        "labels": "l", "axes": [{"key": "mine.top", "values": [1, 2]}], "published": {"file": "p.csv", "table": "t"},
    }))  # fmt: skip
    if refused:
        with pytest.raises(UsageError, match="has the row '3'"):
            published_of(file)
    else:
        assert len(published_of(file)) == 2


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (("t", "1", "", "", "x", "auroc", "many", "", "", "", ""), "line 2: value, sd and n are numbers"),
        (("t", "1", "", "", "x", "auc", 1, "", "", "", ""), "line 2: metric is one of"),
        (("t", "1", "", "", "x", "auroc", 1, "", "", "maybe", ""), "status one of"),
        (("t", "1", "", "", "x", "auroc", 1), "11 columns"),
        (("u", "1", "", "", "x", "auroc", 1, "", "", "", ""), "no table 't'; there are: u"),
    ],
)
def test_a_published_line_that_cant_be_read(tmp_path: Path, line: Sequence[Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read_published(published(tmp_path, line), "t")


def test_what_is_how_the_work_is_done_agrees_with_the_other_lists_of_it() -> None:
    assert score_resume._APART - {"id", "ood", "images"} <= HOW
    assert seeds._APART - {"seed", "random", "negatives"} <= HOW
    assert not ENCODE_HOW & set(encode_manifest.IDENTITY)
    fields = {name for kind in (EncodeSettings, MineSettings, ScoreSettings) for name in kind.model_fields}
    assert fields >= HOW


def test_what_is_remembered_and_for_how_long() -> None:
    calls: list[int] = []

    @remembered(2)
    def twice(number: int) -> int:
        calls.append(number)
        if number < 0:
            raise ValueError
        return 2 * number

    assert (twice(1), twice(1), calls) == (2, 2, [1, 1])
    with remembering():
        assert [twice(n) for n in (1, 2, 1, 3, 1, 2)] == [2, 4, 2, 6, 2, 4]
        assert calls[2:] == [1, 2, 3, 2]
        for _ in range(2):
            with pytest.raises(ValueError, match=r"^$"):
                twice(-1)
        assert calls[-2:] == [-1, -1]
    twice(2)
    assert calls[-1] == 2


@pytest.mark.parametrize("name", ["neglabel@", "neglabel@x", "neglabel@0", "neglabel@inf", "knn@1", "none@1"])
def test_a_score_at_a_temperature_that_is_none(name: str) -> None:
    assert name not in SCORES
    with pytest.raises(UsageError, match=name.partition("@")[0]):
        spec_of(name)


def test_a_score_at_a_temperature_of_its_own() -> None:
    block = Block(np.array([[0.3, 0.2]], np.float32), np.array([[0.1, 0.25]], np.float32))
    found = compute_all({"neglabel": 0.02, "neglabel@0.02": None, "mcm@0.5": None}, block)
    again = compute_all({"mcm": 0.5}, block)
    np.testing.assert_array_equal(found["neglabel"], found["neglabel@0.02"])
    np.testing.assert_array_equal(found["mcm@0.5"], again["mcm"])
