"""What the score stage decides where nothing is asked, and what it says of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from neglabel.pipeline import config
from neglabel.pipeline.score_settings import ScoreSettings

from .make_world import make_world, options, rows, run, unit, write


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return make_world(tmp_path)


def test_fewer_than_a_hundred_negatives_are_one_group_unless_asked(world: Path) -> None:
    def groups(folder: Path = world / "out") -> tuple[int, int | None]:
        manifest = json.loads((folder / "manifest.json").read_text())
        assert config.make(ScoreSettings, {}, folder / "settings.toml").groups == manifest["settings"]["groups"]
        return manifest["settings"]["groups"], manifest["scores"][0]["groups"]

    seen = str(write(world / "seen.parquet", unit(np.random.default_rng(1), 9)))
    summary = run(options(world, groups=None, ood={}, score=["neglabel", "neglabel-ungrouped"], id={"in": seen}))
    assert len(summary["warnings"]) == 1
    assert "fewer than 100 negative labels: scored as one group" in summary["warnings"][0]
    assert groups() == (1, None)
    assert rows(world, "in")["neglabel_logit"] == rows(world, "in")["neglabel-ungrouped_logit"]
    assert run(options(world, groups=1, id={}))["warnings"] == []
    assert run(options(world, groups=None, score=["mcm"], id={}))["warnings"] == []
    many = unit(np.random.default_rng(2), 250)
    write(world / "many.parquet", many, text=[str(i) for i in range(250)])
    assert run(options(world, groups=None, negatives=world / "many.parquet", id={}))["warnings"] == []
    assert groups() == (100, 100)


def test_no_negatives_are_no_loss_to_scores_without(world: Path) -> None:
    (world / "none.txt").write_bytes(b"\xef\xbb\xbf\n \n")
    summary = run(options(world, negatives=world / "none.txt", groups=None, score=["mcm"], id={}))
    assert summary["warnings"] == []
    assert summary["negatives"] == 0


def test_labels_that_are_no_id_labels_are_said_and_counted(world: Path) -> None:
    vectors_ = unit(np.random.default_rng(4), 6)
    labels = ["class 1", "class_2", "3", "", " ", "nonsense"]
    write(world / "named.parquet", vectors_, label=labels)
    summary = run(options(world, id={"in": str(world / "named.parquet")}))
    assert rows(world, "in")["label"] == ["class 1", "class 2", "class 3", "", "", "nonsense"]
    (warning,) = summary["warnings"]
    assert "1 of 4 labelled pictures has a label that is no ID label; it is not in the accuracy" in warning
