"""Where the time went, as the page says it: of stores that are still there, and of the pictures."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from neglabel.pipeline.report.times import times


def run(candidates: Any, score: Any) -> Any:
    settings = {"settings": {"candidates": candidates}}
    return SimpleNamespace(manifest={"time": score}, negatives=SimpleNamespace(metadata=settings))


def test_shares_of_encoding_and_of_scoring(tmp_path: Path) -> None:
    seconds = {"read": 1.0, "compute": 9.0, "wall": 10.0}
    manifest = {"format": "neglabel-candidates", "version": 1, "time": seconds}
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "manifest.json").write_text(json.dumps(manifest))
    found = times(run([str(tmp_path / "words"), str(tmp_path / "gone")], {"decode": 1.0, "tower": 3.0}))
    assert found == {
        "words: read": "1.0 s, 10 %",
        "words: compute": "9.0 s, 90 %",
        "pictures: decode": "1.0 s, 25 %",
        "pictures: tower": "3.0 s, 75 %",
    }
    twice = times(run([str(tmp_path / "words")] * 2, None))
    assert list(twice) == ["words: read", "words: compute", "words (2): read", "words (2): compute"]


@pytest.mark.parametrize("odd", [None, [], "x", {"read": "1"}, {"read": -1.0}, {"read": None}, {}, {"tower": 0.0}])
@pytest.mark.parametrize("candidates", [None, "words", [3], []])
def test_what_is_no_time_is_left_out(candidates: Any, odd: Any) -> None:
    assert times(run(candidates, odd)) == {}
