"""Stage 1: shards, manifest, and resuming after a kill."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from neglabel import UsageError
from neglabel.pipeline.config import make
from neglabel.pipeline.encode import encode
from neglabel.pipeline.models import load_model
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.settings import EncodeSettings
from neglabel.pipeline.text_encoder import TextEncoder

COMMAND = [sys.executable, "-c", "from neglabel.cli import main; main()"]


def write_words(path: Path, count: int) -> Path:
    words = [f"word {i % 700} {chr(97 + i % 26)}{i}" for i in range(count)]
    words[3:3] = ["", "WORD 0 A0", "bell\x07", "a very " + "very " * 30 + "long word"]
    path.write_text("\n".join(words) + "\n", encoding="utf-8")
    return path


def run_encode(out: Path, words: Path, model: Path, **options: object) -> dict[str, object]:
    given = {"corpus": [str(words)], "out": out, "model": str(model), "device": "cpu", **options}
    return encode(make(EncodeSettings, given), Reporter(quiet=True))


def tables(folder: Path) -> dict[str, dict[str, list[object]]]:
    return {p.name: pq.read_table(p).to_pydict() for p in sorted(folder.glob("*.parquet"))}


def test_store_holds_what_the_model_says(tmp_path: Path, tiny_model: Path) -> None:
    words = write_words(tmp_path / "words.txt", 50)
    summary = run_encode(tmp_path / "out", words, tiny_model, shard_rows=20, storage="float32", prompt=["a {}!"])
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    shards = [pq.read_table(tmp_path / "out" / s["file"]) for s in manifest["shards"]]
    assert [t.num_rows for t in shards] == [20, 20, 11]
    assert summary["counts"] == manifest["counts"]
    assert manifest["counts"]["rejected"] == {"empty": 1, "duplicate": 1, "control-character": 1}
    assert manifest["counts"]["truncated"] == 1
    assert manifest["complete"] is True
    texts = [t for table in shards for t in table["text"].to_pylist()]
    stored = np.array([e for table in shards for e in table["embedding"].to_pylist()], np.float32)
    encoder = TextEncoder.of(load_model(str(tiny_model), device="cpu"))
    # One by one: a word's embedding doesn't depend on its neighbours.
    alone = np.concatenate([encoder.encode([f"a {text}!"]) for text in texts])
    assert np.abs(alone - stored).max() <= 1e-6
    assert np.abs(np.linalg.norm(stored, axis=1) - 1).max() < 1e-6
    rejected = [r for p in sorted((tmp_path / "out").glob("rejected-*")) for r in pq.read_table(p).to_pylist()]
    assert {(r["text"], r["reason"]) for r in rejected} == {
        ("", "empty"), ("WORD 0 A0", "duplicate"), ("bell\x07", "control-character"),
    }  # fmt: skip


def test_tokens_are_truncated_exactly_where_open_clip_cuts(tiny_model: Path) -> None:
    encoder = TextEncoder.of(load_model(str(tiny_model), device="cpu"))
    room = encoder.context_length - 2
    prompts = [" ".join(["a"] * n) for n in (1, room - 1, room, room + 1, 3 * room)]
    assert encoder.truncated(prompts).tolist() == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"prompt": ["a {}"]}, "prompts"),
        ({"shard_rows": 19}, "shard_rows"),
        ({"storage": "float32"}, "storage"),
        ({"limit": 5}, "limit"),
        ({"dedupe": "none"}, "dedupe"),
        ({"preset": "official"}, "preset"),
        ({"corpus": ["wordnet"]}, "corpus"),
    ],
)
def test_another_setting_is_refused_by_name(
    tmp_path: Path, tiny_model: Path, change: dict[str, object], names: str
) -> None:
    words = write_words(tmp_path / "words.txt", 30)
    run_encode(tmp_path / "out", words, tiny_model, shard_rows=20)
    before = tables(tmp_path / "out")
    with pytest.raises(UsageError, match=f"was encoded with {names}"):
        run_encode(tmp_path / "out", words, tiny_model, **{"shard_rows": 20, **change})
    assert tables(tmp_path / "out") == before


def test_the_manifest_says_how_the_tower_was_run_and_a_store_without_that_is_refused(
    tmp_path: Path, tiny_model: Path
) -> None:
    words = write_words(tmp_path / "words.txt", 30)
    run_encode(tmp_path / "out", words, tiny_model)
    path = tmp_path / "out" / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest["path"] == "prefix-tree"
    assert [shard["token_budget"] for shard in manifest["shards"]] == [manifest["token_budget"]]
    for changed, message in (
        ({**manifest, "planner": 0}, "was encoded with planner = 0"),
        ({k: v for k, v in manifest.items() if k != "planner"}, "by an earlier neglabel"),
    ):
        path.write_text(json.dumps(changed))
        with pytest.raises(UsageError, match=message):
            run_encode(tmp_path / "out", words, tiny_model)


def test_another_checkpoint_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    from .tiny_model import build_tiny

    words = write_words(tmp_path / "words.txt", 10)
    run_encode(tmp_path / "out", words, tiny_model)
    with pytest.raises(UsageError, match=r"model\.checkpoint_sha256"):
        run_encode(tmp_path / "out", words, build_tiny(tmp_path / "other", seed=1))


def test_a_changed_corpus_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    words = write_words(tmp_path / "words.txt", 30)
    run_encode(tmp_path / "out", words, tiny_model, shard_rows=20)
    words.write_text(words.read_text().replace("word 1 ", "bird 1 "))
    with pytest.raises(UsageError, match="other words for shard 0"):
        run_encode(tmp_path / "out", words, tiny_model, shard_rows=20)


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "reject"])
def test_damaged_shards_are_found_and_done_again(tmp_path: Path, tiny_model: Path, damage: str) -> None:
    words = write_words(tmp_path / "words.txt", 60)
    out = tmp_path / "out"
    run_encode(out, words, tiny_model, shard_rows=20)
    before = tables(out)
    victim = out / ("rejected-00000.parquet" if damage == "reject" else "shard-00001.parquet")
    data = bytearray(victim.read_bytes())
    if damage == "remove":
        victim.unlink()
    elif damage == "flip":
        data[len(data) // 3] ^= 255
        victim.write_bytes(data)
    else:
        victim.write_bytes(data[: len(data) // 2])
    summary = run_encode(out, words, tiny_model, shard_rows=20)
    assert summary["encoded"] == 20
    assert tables(out) == before


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.soak)])
def test_kills_leave_the_tables_of_an_undisturbed_run(tmp_path: Path, tiny_model: Path, kills: int) -> None:
    words = write_words(tmp_path / "words.txt", 6_000)
    options = ["--model", str(tiny_model), "--shard-rows", "300", "--batch-size", "4", "--device", "cpu"]

    def start(out: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*COMMAND, "encode", str(words), "--out", str(out), *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    calm = tmp_path / "calm"
    process = start(calm)
    _, errors = process.communicate()
    assert process.returncode == 0, errors

    dice = random.Random(20261124)
    killed, at, attempt = 0, [], 0
    shaken = tmp_path / "shaken0"
    while killed < kills:
        process = start(shaken)
        assert process.stderr is not None
        process.stderr.readline()
        # A random moment of the work, not of the clock: so many shards further, and somewhat into the next.
        aim = min(len(list(shaken.glob("shard-*"))) + dice.randrange(4), 19)
        while process.poll() is None and len(list(shaken.glob("shard-*"))) < aim:
            time.sleep(0.001)
        time.sleep(dice.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if process.returncode == -signal.SIGKILL:
            killed += 1
            at.append(len(list(shaken.glob("shard-*"))))
        else:  # it was done before the blow: the next kills fall on a new store
            assert tables(shaken) == tables(calm)
            attempt += 1
            shaken = tmp_path / f"shaken{attempt}"
    process = start(shaken)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert any(0 < shards < 20 for shards in at), "the kills must fall while shards are written"
    assert tables(shaken) == tables(calm)
    shards = [json.loads((f / "manifest.json").read_text())["shards"] for f in (shaken, calm)]
    assert shards[0] == shards[1]
    assert not list(shaken.glob("*.part*"))
