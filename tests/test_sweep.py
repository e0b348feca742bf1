"""Sweeps that run: what is shared, what is redone and when, what fails, and that figures are those of `run`."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import neglabel.pipeline.mine as mine_stage
from neglabel import NeglabelError, UsageError
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report.read import read_runs
from neglabel.pipeline.run import run_file

from .make_sweep import finished, make_place, run_sweep, table, write_sweep
from .make_world import unit, write

M_AXIS = [{"name": "M", "key": "mine.top", "values": [4, 10]}]


@pytest.fixture
def place(tmp_path: Path, tiny_model: Path) -> tuple[Path, dict[str, Any]]:
    return tmp_path / "in", make_place(tmp_path / "in", tiny_model)


def test_figures_are_those_of_a_run(place: tuple[Path, dict[str, Any]]) -> None:
    folder, values = place
    values["report"]["bootstrap"] = 30
    out = folder / "swept"
    file = write_sweep(folder / "t.toml", values, axes=M_AXIS, baseline="10")
    made = run_sweep(out, file, page=True)
    write_sweep(folder / "r.toml", values, out="ran")
    run_file(folder / "r.toml", Reporter(quiet=True))
    ran = {(r["score"], r["ood"]): r for r in table(folder / "ran" / "report" / "metrics.csv")}
    swept = {(r["score"], r["ood"]): r for r in table(out / "t" / "results.csv") if r["row"] == "10"}
    assert ran.keys() == swept.keys()
    assert len(ran) == 6
    for key, row in ran.items():
        for name in ("auroc", "fpr95", "aupr_id", "aupr_ood", "auroc_low", "auroc_high", "fpr95_low", "fpr95_high"):
            assert swept[key][name] == row[name] != "", (key, name)
    summary = {(r["row"], r["score"], r["ood"], r["metric"]): r for r in table(out / "t" / "summary.csv")}
    assert summary["10", "mcm", "average", "auroc"]["mean"] == ran["mcm", "average"]["auroc"]
    report = json.loads((out / "t" / "report" / "manifest.json").read_text())
    assert [run["name"] for run in report["runs"]] == ["10", "4"]
    assert Path(made["files"][0]["page"]).is_file()
    with pytest.raises(UsageError, match="--names gives 1 names for 2 folders"):
        read_runs(sorted((out / "steps").glob("score-*")), ["one"])
    before = (out / "t" / "report" / "index.html").stat().st_mtime_ns
    run_sweep(out, file, page=True)
    assert (out / "t" / "report" / "index.html").stat().st_mtime_ns == before


def test_what_files_share_is_done_once_and_what_is_finished_stays(place: tuple[Path, dict[str, Any]]) -> None:
    folder, values = place
    out = folder / "out"
    one = write_sweep(folder / "one.toml", values, axes=M_AXIS)
    rows = [
        {"name": "same", "set": {"mine.top": 10, "score.score": ["neglabel"]}},
        {"name": "cold", "set": {"score.score": ["neglabel@0.002"]}},
        {"name": "hot", "set": {"score.score": ["neglabel"], "score.temperature": {"neglabel": 0.5}}},
        {"name": "max", "set": {"score.score": ["maxlogit"]}},
        {"name": "said", "set": {"mine.percentile": 0.05, "encode.prompt": {"": "The nice {}."}}},
    ]
    two = write_sweep(folder / "two.toml", values, rows=rows)
    run_sweep(out, one)
    before = finished(out)
    assert [len(finished(out, stage)) for stage in ("mine", "score", "measure")] == [2, 2, 2]
    run_sweep(out, one, two)
    after = finished(out)
    assert before.items() <= after.items()
    # One pass more for three scores; nothing else, since defaults that are said are no other step.
    assert [name.split("-")[0] for name in sorted(after.keys() - before.keys())] == ["measure", "score"]
    run_sweep(out, two, one)
    assert finished(out) == after
    figures = {(r["row"], r["score"], r["ood"]): r["auroc"] for r in table(out / "two" / "results.csv")}
    mined = {(r["row"], r["score"], r["ood"]): r["auroc"] for r in table(out / "one" / "results.csv")}
    assert figures["same", "neglabel", "average"] == mined["10", "neglabel", "average"]
    assert figures["cold", "neglabel@0.002", "average"] != figures["same", "neglabel", "average"]
    assert figures["said", "mcm", "average"] == mined["10", "mcm", "average"]


def test_scores_at_their_own_temperatures_are_those_of_passes_apart(place: tuple[Path, dict[str, Any]]) -> None:
    folder, values = place
    rows = [
        {"name": "together", "set": {"score.score": ["neglabel@0.02", "neglabel", "mcm@0.5"]}},
    ]
    together = write_sweep(folder / "together.toml", values, rows=rows)
    apart = write_sweep(folder / "apart.toml", {**values, "score": {
        **values["score"], "score": ["neglabel", "mcm"], "temperature": {"neglabel": 0.02, "mcm": 0.5},
    }}, out="apart-run")  # fmt: skip
    run_sweep(folder / "out", together)
    run_file(apart, Reporter(quiet=True))
    (step,) = (folder / "out" / "steps").glob("score-*")
    for name in ("in", "far"):
        ours = pq.read_table(step / f"scores-{name}.parquet").to_pydict()
        theirs = pq.read_table(folder / "apart-run" / "mined" / f"scores-{name}.parquet").to_pydict()
        # The sweep's columns: the first temperature asked for has the plain name.
        np.testing.assert_array_equal(ours["neglabel_logit"], theirs["neglabel_logit"])
        np.testing.assert_array_equal(ours["mcm_logit"], theirs["mcm_logit"])
        assert not np.array_equal(ours["neglabel@0.01_logit"], ours["neglabel_logit"])


def test_steps_are_redone_when_contents_change_and_only_then(place: tuple[Path, dict[str, Any]]) -> None:
    folder, values = place
    (folder / "never.txt").write_text("law\n")
    values["mine"]["exclude"] = ["never.txt"]
    out, file = folder / "out", folder / "t.toml"

    def made_by(change: Any = None, **given: Any) -> list[str]:
        """Stages of which a step was made anew."""
        before = finished(out)
        if change is not None:
            change()
        write_sweep(file, values)
        run_sweep(out, file, **given)
        return sorted({name.split("-")[0] for name, at in finished(out).items() if before.get(name) != at})

    everything = ["measure", "mine", "score"]
    assert made_by() == everything
    assert made_by() == []
    for name in ("labels.txt", "never.txt", "words.txt", "inside.parquet"):
        os.utime(folder / name, (1, 1))
    assert made_by() == []
    values["score"].update(batch_size=3, workers=2)
    values["encode"] = {"workers": 0}
    assert made_by() == []
    values["report"]["fpr"] = "nearest-recall"
    assert made_by() == ["measure"]
    values["score"]["seed"] = 3
    assert made_by() == ["measure", "score"]
    # Other words are excluded, none of them a negative: the same negatives, so nothing after them changes.
    assert made_by(lambda: (folder / "never.txt").write_text("law\nnot there\n")) == ["mine"]
    negatives = next(out.glob("steps/mine-*/negatives.parquet"))
    farthest = pq.read_table(negatives)["text"][0].as_py()
    assert made_by(lambda: (folder / "never.txt").write_text(f"{farthest}\n")) == everything
    assert made_by(lambda: (folder / "labels.txt").write_text("cat\ndog\ncow\n")) == everything
    other = unit(np.random.default_rng(9), 30, 32)
    assert made_by(lambda: write(folder / "far.parquet", other)) == ["measure", "score"]
    assert made_by(lambda: (folder / "words.txt").write_text("one\ntwo\nthree\nfour\nfive\nsix\n")) == everything
    # A file that isn't as its step left it is made again, to the same bytes: nothing after it changes.
    (spoilt,) = (p for p in out.glob("steps/mine-*/negatives.parquet") if pq.read_table(p).num_rows == 6)
    assert made_by(lambda: spoilt.write_bytes(b"spoilt")) == ["mine"]
    out.rename(folder / "elsewhere")
    out = folder / "elsewhere"
    assert made_by() == []


def test_a_failed_row_says_why_the_others_go_on_and_the_next_run_tries_it_alone(
    place: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, values = place
    out = folder / "out"
    rows = [
        {"name": "first", "set": {"mine.top": 4}},
        {"name": "grouped", "set": {"score.groups": 15}},
        {"name": "drawn", "repeats": {"mine.random": [0, 1, 2]}},
        {"name": "all", "set": {"mine.top": 500}},
    ]
    file = write_sweep(folder / "t.toml", values, rows=rows)
    inner, fail = mine_stage.mine, True

    def failing(settings: Any, reporter: Any) -> Any:
        if fail and settings.random == 1:
            raise NeglabelError("this draw is cursed; try again")
        return inner(settings, reporter)

    monkeypatch.setattr(mine_stage, "mine", failing)
    with pytest.raises(NeglabelError, match=r"2 of 6 runs failed .*the tables are written") as error:
        run_sweep(out, file)
    assert not isinstance(error.value, UsageError)
    lines = table(out / "t" / "results.csv")
    failed = {(r["row"], r["repeat"]): r["note"] for r in lines if r["status"] == "failed"}
    assert failed.keys() == {("grouped", ""), ("drawn", "mine.random=1")}
    assert "15" in failed["grouped", ""]
    assert "cursed" in failed["drawn", "mine.random=1"]
    summary = {(r["row"], r["score"], r["ood"], r["metric"]): r for r in table(out / "t" / "summary.csv")}
    drawn = summary["drawn", "neglabel", "average", "auroc"]
    values_ = [float(r["auroc"]) for r in lines if (r["row"], r["score"], r["ood"]) == ("drawn", "neglabel", "average")]
    assert (drawn["n"], len(values_)) == ("2", 2)
    assert "2 of 3 runs" in drawn["note"]
    assert float(drawn["mean"]) == pytest.approx(np.mean(values_), abs=1e-4)
    assert float(drawn["sd"]) == pytest.approx(np.std(values_, ddof=1), abs=2e-4)
    assert {r["note"] for r in lines if r["row"] == "all"} == {"20 of 500 negative labels: no more candidates"}
    before, fail = finished(out), False
    with pytest.raises(NeglabelError, match="1 of 6 runs failed"):
        run_sweep(out, file)
    assert before.items() <= finished(out).items()
    assert sorted(name.split("-")[0] for name in finished(out).keys() - before.keys()) == ["measure", "mine", "score"]


def test_a_full_disk_ends_everything(place: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, values = place

    def full(settings: Any, reporter: Any) -> Any:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise NeglabelError("can't write x: No space left on device; check free space") from error

    monkeypatch.setattr(mine_stage, "mine", full)
    with pytest.raises(NeglabelError, match=r"^can't write x"):
        run_sweep(folder / "out", write_sweep(folder / "t.toml", values, axes=M_AXIS))
    assert not (folder / "out" / "t").exists()


def test_all_that_is_missing_is_said_at_once_and_nothing_is_left(place: tuple[Path, dict[str, Any]]) -> None:
    folder, values = place
    rows = [
        {"name": "pictures", "set": {"score.ood": {"x": "nowhere.parquet", "y": "nothere"}}},
        {"name": "labels", "set": {"labels": "no-labels.txt"}},
        {"name": "words", "set": {"corpus": "no-words.txt"}},
        {"name": "score", "set": {"score.score": ["maxlogit@1"]}},
        {"name": "bank", "set": {"score.score": ["knn"]}},
        {"name": "work", "set": {"mine.work": "w"}},
    ]
    file = write_sweep(folder / "t.toml", values, rows=rows)
    with pytest.raises(UsageError) as error:
        run_sweep(folder / "out", file)
    said = str(error.value)
    for part in ("7 things are wrong", "nowhere.parquet", "nothere", "no-labels.txt", "no-words.txt",
                 "maxlogit has no temperature", "t, bank: score knn needs", "[mine] work"):  # fmt: skip
        assert part in said, said
    assert not (folder / "out").exists()
    with pytest.raises(UsageError, match="no row is called that"):
        run_sweep(folder / "out", file, only=["nobody"])


@pytest.mark.parametrize("lost", ["complete", "shards", "version"])
def test_a_damaged_store_is_named_with_the_folder_to_delete(place: tuple[Path, dict[str, Any]], lost: str) -> None:
    folder, values = place
    out, file = folder / "out", write_sweep(folder / "t.toml", values)
    run_sweep(out, file)
    (manifest,) = out.glob("steps/encode-*/manifest.json")
    kept = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({name: value for name, value in kept.items() if name != lost}))
    if lost == "complete":
        assert run_sweep(out, file, dry_run=True)["encode"]["finished"] == 0
    else:
        with pytest.raises(NeglabelError, match="damaged"):
            run_sweep(out, file, dry_run=True)


def test_a_dry_run_counts_and_writes_nothing(place: tuple[Path, dict[str, Any]]) -> None:
    folder, values = place
    out, file = folder / "out", write_sweep(folder / "t.toml", values, axes=M_AXIS)
    made = run_sweep(out, file, dry_run=True)
    assert (made["runs"], made["rows"], made["mine"]) == (2, ["t: 4", "t: 10"], {"steps": 2, "finished": 0})
    assert not out.exists()
    run_sweep(out, file, only=["M=4"])
    made = run_sweep(out, file, dry_run=True)
    assert {stage: made[stage]["finished"] for stage in ("encode", "mine", "score")} == {
        "encode": 1, "mine": 1, "score": 1}  # fmt: skip


def test_published_figures_stand_beside_ours(place: tuple[Path, dict[str, Any]]) -> None:
    folder, values = place
    values["report"]["bootstrap"] = 40
    header = "table,row,score,id,ood,metric,value,sd,n,status,note\n"
    lines = ["t,10,neglabel,,FAR,auroc,50,,,,", "t,10,neglabel,,farther,auroc,50,,,contradictory,shifted",
             "t,10,neglabel,,average,auroc,50,,,,", "t,4,neglabel,,far,auroc,50,,,,",
             "t,4,neglabel,,average,auroc,50,,,,", 
             "t,MSP,,,average,fpr95,99,,,not-reproducible,fine-tuned"]  # fmt: skip
    (folder / "p.csv").write_text(header + "\n".join(lines) + "\n")
    file = write_sweep(folder / "t.toml", values, axes=M_AXIS, published={"file": "p.csv", "table": "t"})
    run_sweep(folder / "out", file)
    found = {(r["row"], r["score"], r["ood"], r["metric"]): r for r in table(folder / "out" / "t" / "summary.csv")}
    for row, ood in (("10", "far"), ("10", "average"), ("4", "far")):
        ours = found[row, "neglabel", ood, "auroc"]
        assert float(ours["difference"]) == pytest.approx(float(ours["mean"]) - 50, abs=2e-4)
        inside = float(ours["low"]) <= 50 <= float(ours["high"])
        assert ours["inside"] == ("yes" if inside else "no")
    shifted = found["10", "neglabel", "farther", "auroc"]
    assert (shifted["published"], shifted["difference"], shifted["status"]) == ("50.0000", "", "contradictory")
    # Row 4 is published over one OOD set, so its average is of another quantity.
    other = found["4", "neglabel", "average", "auroc"]
    assert other["difference"] == ""
    assert "other OOD sets" in other["note"]
    alone = found["MSP", "", "average", "fpr95"]
    assert (alone["mean"], alone["published"], alone["status"]) == ("", "99.0000", "not-reproducible")
    assert "fine-tuned" in (folder / "out" / "t" / "summary.md").read_text()


_KILLED = """
import os, signal, sys
from pathlib import Path
import open_clip
import neglabel.pipeline.encode, neglabel.pipeline.mine, neglabel.pipeline.score, neglabel.pipeline.models
from neglabel.pipeline import config
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.sweep import sweep
from neglabel.pipeline.sweep_settings import SweepSettings
file, out, *kills = sys.argv[1:]
settings = config.make(SweepSettings, {"file": [file], "out": out, "page": False})
real = os.replace
for kill in map(int, kills):
    child = os.fork()
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, kill
        continue
    calls = [0]
    def replace(a, b):
        calls[0] += 1
        if calls[0] == kill:
            os.kill(os.getpid(), signal.SIGKILL)
        real(a, b)
    os.replace = replace
    sweep(settings, Reporter(quiet=True))
    os._exit(0)
for path in sorted(Path(out, "steps").glob("*/step.json")):
    print(path.parent.name, path.stat().st_mtime_ns)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="os.fork is POSIX")
def test_a_killed_sweep_goes_on_where_it_was(place: tuple[Path, dict[str, Any]]) -> None:
    folder, values = place
    out, file = folder / "out", write_sweep(folder / "t.toml", values, axes=M_AXIS)
    # Each run dies later than the one before, counted in files that it puts in their place.
    command = [sys.executable, "-c", _KILLED, str(file), str(out), "3", "5", "9"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    before = {name: int(at) for name, at in (line.split() for line in result.stdout.splitlines())}
    assert before
    assert not any(name.startswith("measure") for name in before)
    run_sweep(out, file)
    assert before.items() <= finished(out).items()
    run_sweep(folder / "healthy", file)
    for name in ("results.csv", "summary.csv"):
        assert (out / "t" / name).read_bytes() == (folder / "healthy" / "t" / name).read_bytes()
    assert finished(out).keys() == finished(folder / "healthy").keys()
