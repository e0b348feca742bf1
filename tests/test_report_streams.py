"""A report whose scores are of a stream says so, and where they stand beside static ones."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from neglabel import NeglabelError

from .make_report import make
from .make_scores import Set, write_run

FILES = ("index.html", "metrics.md", "metrics.tex")


def streaming_run(folder: Path, protocol: object, *static: str) -> Path:
    run = write_run(folder, [Set("a", "id", 20, 2.0), Set("b", "ood", 20)], scores=[*static, "adaneg"])
    manifest = json.loads((run / "manifest.json").read_text())
    for entry in manifest["scores"]:
        streaming = entry["name"] == "adaneg"
        entry["stream"] = {"protocol": protocol, "seed": 0, "sees": "earlier pictures"} if streaming else None
    (run / "manifest.json").write_text(json.dumps(manifest))
    return run


@pytest.mark.parametrize("protocol", ["separate", "mixed"])
def test_streaming_beside_static_is_said_everywhere(tmp_path: Path, protocol: str) -> None:
    result, out = make(tmp_path, streaming_run(tmp_path / "run", protocol, "neglabel", "mcm"), bootstrap=0)
    how = {"separate": "each data set alone, in the order of its file",
           "mixed": "ID and OOD pictures shuffled together"}  # fmt: skip
    said = f"Streaming scores depend on the pictures that came before (AdaNeg: {how[protocol]})."
    beside = "NegLabel and MCM see one picture at a time, so the two kinds are not compared like with like."
    for text in (*result["notes"], *((out / name).read_text() for name in FILES)):
        assert said in text
        assert beside in text
    page = (out / "index.html").read_text()
    assert "AdaNeg, streaming" in page
    assert page.count('id="streaming"') == 1
    with open(out / "metrics.csv", newline="") as file:
        assert {(r["score"], r["stream"]) for r in csv.DictReader(file)} == {
            ("neglabel", ""), ("mcm", ""), ("adaneg", protocol)
        }  # fmt: skip


def test_tests_between_a_stream_and_a_static_score_are_marked(tmp_path: Path) -> None:
    _, out = make(tmp_path, streaming_run(tmp_path / "run", "mixed", "neglabel", "mcm"), bootstrap=20)
    with open(out / "differences.csv", newline="") as file:
        marks = {(r["score"], r["other_score"]): r["stream"] for r in csv.DictReader(file)}
    assert marks == {("neglabel", "mcm"): "", ("neglabel", "adaneg"): "other", ("mcm", "adaneg"): "other"}


def test_streaming_alone_and_static_alone(tmp_path: Path) -> None:
    result, out = make(tmp_path / "1", streaming_run(tmp_path / "run", "mixed"), bootstrap=0)
    assert "like with like" not in result["notes"][0]
    assert "Streaming scores depend" in (out / "index.html").read_text()
    result, out = make(tmp_path / "2", write_run(tmp_path / "static", [Set("a", "id"), Set("b", "ood")]), bootstrap=0)
    assert result["notes"] == []
    for name in FILES:
        assert not re.search("Streaming scores|, streaming", (out / name).read_text())


def test_names_with_a_comma_are_told_apart_in_a_list(tmp_path: Path) -> None:
    run = streaming_run(tmp_path / "run", "mixed", "tempered-msp", "neglabel")
    result, _ = make(tmp_path, run, bootstrap=0)
    assert "MSP (T = 10) and NegLabel see one picture" in result["notes"][0]


def test_of_two_protocols_each_names_its_runs(tmp_path: Path) -> None:
    runs = [streaming_run(tmp_path / name, name) for name in ("separate", "mixed")]
    result, _ = make(tmp_path, *runs, bootstrap=0)
    assert "AdaNeg of separate: each data set alone" in result["notes"][0]
    assert "AdaNeg of mixed: ID and OOD pictures" in result["notes"][0]


def test_a_damaged_stream_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NeglabelError, match=r"is damaged \(scores\.1\.stream\.protocol\); run `score` again"):
        make(tmp_path, streaming_run(tmp_path / "run", 3, "mcm"))
