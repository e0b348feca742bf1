"""The command line as people use it: help, JSON, errors in one sentence, exit codes, interruption."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w

from neglabel.cli import main

from .conftest import ROOT

COMMAND = [sys.executable, "-c", "from neglabel.cli import main; main()"]


def neglabel(*arguments: object) -> subprocess.CompletedProcess[str]:
    """A command as a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "160"}
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, env=environment, encoding="utf-8"
    )


def here(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The same in this process, which has imported torch already; an error that would be a traceback is raised."""
    out, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(errors):
        for name, value in (("NO_COLOR", "1"), ("COLUMNS", "160")):
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["neglabel", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
    return subprocess.CompletedProcess(sys.argv, int(end.value.code or 0), out.getvalue(), errors.getvalue())


def vectors(path: Path, texts: list[str], seed: int, column: str = "text") -> Path:
    rows = np.random.default_rng(seed).normal(size=(len(texts), 12)).astype(np.float32)
    values = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), 12)
    pq.write_table(pa.table({column: texts, "embedding": values}), path)
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return {
        "words": vectors(tmp_path / "words.parquet", [f"word{i}" for i in range(200)], 0),
        "labels": vectors(tmp_path / "labels.parquet", ["dog", "cat", "owl"], 1),
        "id": vectors(tmp_path / "id.parquet", ["dog", "cat", "owl"] * 7, 2, "label"),
        "ood": vectors(tmp_path / "ood.parquet", ["car"] * 15, 3, "label"),
    }


def test_three_stages_speak_json(files: dict[str, Path], tmp_path: Path) -> None:
    mined = neglabel("mine", files["words"], "--labels", files["labels"], "--out", tmp_path / "n.parquet", "--json")
    assert mined.returncode == 0, mined.stderr
    assert json.loads(mined.stdout)["counts"]["kept"] == 200
    assert len(json.loads(mined.stdout)["farthest"]) == 10
    scored = here(
        "score", "--negatives", tmp_path / "n.parquet", "--labels", files["labels"], "--id", f"pets={files['id']}",
        "--ood", f"cars={files['ood']}", "--out", tmp_path / "s", "--json",
    )  # fmt: skip
    assert scored.returncode == 0, scored.stderr
    reported = here("report", tmp_path / "s", "--out", tmp_path / "r", "--json")
    assert reported.returncode == 0, reported.stderr
    rows = json.loads(reported.stdout)["rows"]
    assert {r["score"] for r in rows} == {"neglabel", "mcm", "msp"}
    assert {r["ood"] for r in rows} == {"cars", "average"}
    # The settings beside an output are a config that gives the same output.
    again = here("mine", "--config", tmp_path / "n.parquet.settings.toml", "--out", tmp_path / "m.parquet", "-q")
    assert (again.returncode, again.stdout) == (0, ""), again.stderr
    assert pq.read_table(tmp_path / "m.parquet").equals(pq.read_table(tmp_path / "n.parquet"))


def test_config_keys_are_option_names_and_options_win(files: dict[str, Path], tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text(tomli_w.dumps({
        "candidates": str(files["words"]), "labels": str(files["labels"]), "out": str(tmp_path / "n.parquet"),
        "top-share": 0.1,
    }))  # fmt: skip
    assert here("mine", "--config", config, "-q").returncode == 0
    assert pq.read_metadata(tmp_path / "n.parquet").num_rows == 20
    assert here("mine", "--config", config, "--top", 7, "-q").returncode == 0
    assert pq.read_metadata(tmp_path / "n.parquet").num_rows == 7
    config.write_text(config.read_text() + "colour = 1\n")
    wrong = here("mine", "--config", config)
    assert wrong.returncode == 2
    assert "unknown option `colour`" in wrong.stderr
    assert str(config) in wrong.stderr


MINE = ["mine", "{words}", "--labels", "{labels}", "--out", "{tmp}/n.parquet"]
SCORE = ["score", "--negatives", "{words}", "--labels", "{labels}", "--out", "{tmp}/s"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([*MINE, "--percentile", "5"], 2, "--percentile: is a share between 0 and 1"),
        ([*MINE, "--device", "gpu"], 2, "--device: input should be 'auto', 'cpu' or 'cuda', got 'gpu'"),
        ([*MINE, "--preset", "papre"], 2, "--preset: input should be 'paper', 'official' or 'csp'"),
        (["mine", "--labels", "{labels}", "--out", "{tmp}/n.parquet"], 2, "CANDIDATES is required"),
        (["mine", "{tmp}/no.parquet", "--labels", "{labels}", "--out", "{tmp}/n.parquet"], 2, "does not exist"),
        (["mine", "{words}", "--labels", "{tmp}/no.txt", "--out", "{tmp}/n.parquet"], 2, "no.txt"),
        ([*MINE, "--exclude", "{tmp}/no.txt"], 2, "--exclude {tmp}/no.txt can't be read"),
        (["mine", "{words}", "--labels", "{loop}", "--out", "{tmp}/n.parquet"], 2, "{loop} does not exist"),
        ([*MINE, "--exclude", "{loop}"], 2, "--exclude {loop} can't be read"),
        (["report", "{loop}", "--out", "{tmp}/r"], 2, "{loop} is not a folder"),
        ([*MINE, "--work", ""], 2, "--work: is empty; name a file or a folder"),
        ([*MINE[:2], "--labels", " ", "--out", "{tmp}/n.parquet"], 2, "--labels: is empty; name a file"),
        ([*SCORE], 2, "no pictures"),
        ([*SCORE, "--id", "a={id}", "--score", "ncm"], 2, "valid: neglabel, neglabel-ungrouped, mcm, msp"),
        ([*SCORE, "--id", "a={id}", "--ood", "b={id}"], 2, "are the same pictures"),
        ([*SCORE, "--id", "{id}"], 2, "--id: is NAME=VALUE"),
        (["encode", "nowhere.txt", "--out", "{tmp}/o"], 2, "no corpus or file `nowhere.txt`"),
        (["encode", "wordnet", "--out", "{tmp}/o", "--prompt", "a photo"], 2, "needs {{}} once"),
        (["encode", "wordnet", "--out", "{tmp}/o", "--prompt", "nuon=a {{}}"], 2, "`nuon` is no part of speech"),
        (["encode", "wordnet", "--out", "{tmp}/o", "--model", "VIT-B16"], 2, "no such open_clip model"),
        (["encode", "wordnet", "--out", "{tmp}"], 2, "holds something else"),
        (["encode", "wordnet", "--out", "{words}"], 2, "is a file; name a folder"),
        (["encode", "wordnet", "--out", "x" * 5_000], 2, "x" * 100),
        (["encode", "x" * 5_000, "--out", "{tmp}/o"], 2, "x" * 100),
        (["report", "{tmp}/no", "--out", "{tmp}/r"], 2, "{tmp}/no"),
        (["run", "{tmp}/no.toml"], 2, "can't read config"),
        (["mine", "{broken}", "--labels", "{labels}", "--out", "{tmp}/n.parquet"], 1, "not a whole Parquet file"),
    ],
)
def test_bad_input_gets_one_sentence_and_leaves_nothing(
    files: dict[str, Path], tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(files["words"].read_bytes()[:200])
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    before = {p: p.read_bytes() for p in tmp_path.iterdir() if p != loop}
    names = {**files, "tmp": tmp_path, "broken": broken, "loop": loop}
    result = here(*(a.format(**names) for a in arguments))
    assert result.returncode == code, result.stderr
    assert says.format(**names) in result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if not line.startswith("warning")]
    assert len(lines) == 1, result.stderr
    assert {p: p.read_bytes() for p in tmp_path.iterdir() if p != loop} == before


def test_run_does_all_stages_from_one_file_in_another_folder(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("id/dog", "id/cat", "other/x"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8)).save(tmp_path / "data" / name / f"{i}.png")
    (tmp_path / "data" / "labels.txt").write_text("dog\ncat\n")
    (tmp_path / "data" / "words.csv").write_text("text,pos\n" + "".join(f"thing {i},noun\n" for i in range(300)))
    (tmp_path / "data" / "my.toml").write_text(tomli_w.dumps({
        "out": "made", "labels": "labels.txt", "corpus": ["words.csv"], "model": str(tiny_model), "random_seeds": 2,
        "mine": {"top": 100}, "score": {"id": {"pets": "id"}, "ood": {"things": "other"}, "groups": 10},
    }))  # fmt: skip
    monkeypatch.chdir(tmp_path)
    result = here("run", tmp_path / "data" / "my.toml")
    assert result.returncode == 0, result.stderr
    made = tmp_path / "data" / "made"
    assert (made / "report" / "index.html").is_file()
    assert "AUROC" in result.stdout
    assert "index.html" in result.stdout
    assert pq.read_metadata(made / "negatives.parquet").num_rows == 100
    assert {p.name for p in made.iterdir()} >= {"candidates", "mined", "random-0", "random-1", "report", "cache"}
    (tmp_path / "data" / "my.toml").write_text((tmp_path / "data" / "my.toml").read_text() + "[report]\ncasse = 2\n")
    wrong = here("run", tmp_path / "data" / "my.toml")
    assert wrong.returncode == 2
    assert "[report] unknown option `casse`" in wrong.stderr


def test_the_example_file_is_valid() -> None:
    from neglabel.pipeline.config import make
    from neglabel.pipeline.run import stages
    from neglabel.pipeline.run_settings import RunSettings

    plan = stages(make(RunSettings, {}, ROOT / "examples" / "run.toml"), ROOT / "examples")
    assert len(plan["pairs"]) == 6
    assert plan["encode"].pretrained == "openai"
    assert plan["pairs"][0][1].id == {"val": str(ROOT / "examples" / "pictures" / "val")}


def test_ctrl_c_ends_cleanly_and_resumably(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "w.txt").write_text("\n".join(f"word {i}" for i in range(20_000)))
    command = [
        *COMMAND, "encode", str(tmp_path / "w.txt"), "--out", str(tmp_path / "o"), "--model", str(tiny_model),
        "--shard-rows", "100", "--device", "cpu",
    ]  # fmt: skip
    # A test run in the background of a shell may ignore SIGINT, and so would its children.
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stderr is not None
    process.stderr.readline()
    manifest = tmp_path / "o" / "manifest.json"
    while process.poll() is None and not (manifest.exists() and json.loads(manifest.read_text())["shards"]):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "goes on from there" in errors
    assert not list((tmp_path / "o").glob(".*.part"))
    done = json.loads((tmp_path / "o" / "manifest.json").read_text())
    assert 0 < len(done["shards"]) < 200
    assert not done["complete"]
    assert subprocess.run([*command, "--quiet"], capture_output=True).returncode == 0
    assert json.loads((tmp_path / "o" / "manifest.json").read_text())["counts"]["candidates"] == 20_000


def test_help_names_every_option_and_version_is_the_packages() -> None:
    import neglabel as package

    assert neglabel("--version").stdout.strip() == f"neglabel {package.__version__}"
    for stage, option in (("encode", "--shard-rows"), ("mine", "--top-share"), ("score", "--group-order"),
                          ("report", "--fpr"), ("quickstart", "--seeds"), ("run", "FILE.toml")):  # fmt: skip
        shown = neglabel(stage, "--help")
        assert shown.returncode == 0
        assert option in shown.stdout
    shown = neglabel("encode", "--help")
    assert "(default: ViT-B-16)" in shown.stdout
    assert "'neglabel[ray]'" in shown.stdout  # brackets are no style of rich's


def test_help_and_import_load_nothing_heavy() -> None:
    heavy = ["torch", "open_clip", "faiss", "datasets", "pyarrow", "nltk", "sklearn", "matplotlib", "numpy"]
    for code in ("import neglabel", "import neglabel.cli"):
        probe = f"{code}; import sys; print([m for m in {heavy} if m in sys.modules])"
        assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True).stdout.strip() == "[]"


def test_completion_is_offered_for_choices() -> None:
    environment = {**os.environ, "_NEGLABEL_COMPLETE": "complete_bash", "COMP_WORDS": "neglabel mine --preset of",
                   "COMP_CWORD": "3"}  # fmt: skip
    shown = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'neglabel'; from neglabel.cli import main; main()"],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert shown.stdout.split() == ["official"], shown.stderr
