"""`encode --dry-run`: the counts of the real thing, nothing written, no weights, no torch beside the words."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from neglabel import NeglabelError, UsageError
from neglabel.pipeline import estimate, tower_probe
from neglabel.pipeline.config import make
from neglabel.pipeline.encode import encode
from neglabel.pipeline.encode_summary import lines
from neglabel.pipeline.models import load_model
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.settings import EncodeSettings
from neglabel.pipeline.text_encoder import TextEncoder

from .tiny_model import build_tiny


def run(**options: object) -> dict[str, Any]:
    return encode(make(EncodeSettings, {"device": "cpu", **options}), Reporter(quiet=True))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tower_probe, "TIMED", 0.1)


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words.txt"
    found = [f"word {i} {'very ' * (i % 40 == 7) * 20}long" for i in range(3_000)]
    path.write_text("\n".join([*found, "", "WORD 3 LONG", "bell\x07"]) + "\n", encoding="utf-8")
    return path


def test_the_estimate_is_what_encode_then_does(tmp_path: Path, words: Path, tiny_model: Path) -> None:
    bare = tmp_path / "bare"  # a model folder without weights: none are opened
    bare.mkdir()
    shutil.copy(tiny_model / "open_clip_config.json", bare)
    before = sorted(tmp_path.rglob("*"))
    guess = run(corpus=[str(words)], model=str(bare), dry_run=True)
    assert sorted(tmp_path.rglob("*")) == before
    real = run(corpus=[str(words)], model=str(tiny_model), out=tmp_path / "out")
    del real["counts"]["by_source"]
    assert guess["counts"] == real["counts"]
    assert guess["words"] == real["words"]
    assert guess["tokens"]["exact"]
    assert guess["tokens"]["truncated"] == 75
    size = sum(path.stat().st_size for path in (tmp_path / "out").glob("*.parquet"))
    assert 0.7 * size < guess["disk_bytes"] < 1.3 * size
    assert guess["prompts_per_second"] > 0
    encoder = TextEncoder.of(load_model(str(tiny_model), device="cpu"))
    texts = [row["text"] for row in pq.read_table(next((tmp_path / "out").glob("shard-*"))).to_pylist()]
    lengths = np.sort([len(encoder.tokenizer.encode(f"The nice {text}.")) + 2 for text in texts])
    assert guess["tokens"]["median"] == lengths[(len(lengths) - 1) // 2]
    assert guess["tokens"]["p99"] == lengths[int(np.ceil(0.99 * len(lengths))) - 1]
    assert guess["tokens"]["longest"] == lengths[-1]
    said = "\n".join(lines(guess))
    assert "3,003 met = 2 rejected + 1 duplicate + 3,000 new" in said
    assert "75 longer than the context of 16 (all looked at)" in said


def test_of_a_sample_only_the_words_drawn_are_measured(
    tmp_path: Path, words: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def probe(*arguments: Any) -> dict[str, Any]:
        asked.extend(arguments[-2:])
        return {"unknown": dict.fromkeys(("tokens", "truncated", "prompts_per_second"), "not measured here")}

    monkeypatch.setattr(estimate, "probe", probe)
    options: dict[str, object] = {"corpus": [str(words)], "model": str(tiny_model), "sample": 400, "seed": 5}
    guess, real = run(**options, dry_run=True), run(**options, out=tmp_path / "out")
    assert guess["words"] == real["words"]
    assert guess["counts"]["by_pos"] == real["counts"]["by_pos"]
    table = pq.read_table(next((tmp_path / "out").glob("shard-*")))
    assert asked[0] == [f"The nice {text}." for text in table["text"].to_pylist()]
    assert set(asked[1]) <= set(asked[0])
    assert len(asked[1]) >= sum(table["truncated"].to_pylist())


def test_many_long_prompts_are_counted_by_the_sample(
    words: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "MAX_LONGER", 10)
    monkeypatch.setattr(estimate, "PROBED", 1_000)
    guess = run(corpus=[str(words)], model=str(tiny_model), dry_run=True)
    assert (guess["tokens"]["exact"], guess["tokens"]["of"]) == (False, 1_000)
    # 75 of 3,000 by a uniform sample of 1,000: five standard deviations are 60.
    assert 15 < guess["tokens"]["truncated"] < 135
    assert "by the sample" in "\n".join(lines(guess))


def test_a_tower_that_cannot_be_had_leaves_the_rest_known(tmp_path: Path, words: Path) -> None:
    text = {"hf_model_name": "nobody/nothing", "hf_tokenizer_name": "nobody/nothing", "context_length": 16}
    folder = tmp_path / "hub"
    folder.mkdir()
    config = {"embed_dim": 8, "vision_cfg": {"layers": 1, "width": 8, "image_size": 32}, "text_cfg": text}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    guess = run(corpus=[str(words)], model=str(folder), dry_run=True)
    assert guess["counts"]["candidates"] == 3_000
    assert guess["counts"]["truncated"] is guess["prompts_per_second"] is guess["tokens"]["median"] is None
    assert set(guess["unknown"]) == {"tokens", "truncated", "prompts_per_second"}
    assert guess["disk_bytes"] > 0
    assert "tokens a prompt: unknown (" in "\n".join(lines(guess))


def test_torch_is_not_beside_the_words_and_a_probe_that_dies_is_a_reason(words: Path) -> None:
    code = (
        "import sys; sys.executable = 'false'; from neglabel.pipeline.config import make; "
        "from neglabel.pipeline.encode import encode; from neglabel.pipeline.progress import Reporter; "
        "from neglabel.pipeline.settings import EncodeSettings; "
        f"guess = encode(make(EncodeSettings, dict(corpus=[{str(words)!r}], dry_run=True)), Reporter(quiet=True)); "
        "print(guess['unknown']['tokens'], guess['counts']['candidates'], "
        "[m for m in ('torch', 'open_clip', 'datasets') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "the process that measures the tower ended (exit status 1) 3000 []"


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"model": "ViT-B-61"}, UsageError, "no such open_clip model (did you mean ViT-B-16"),
        ({"corpus": ["nowhere.txt"]}, UsageError, "no corpus or file"),
        ({"prompt": ["no word"]}, UsageError, "needs {} once"),
    ],
)
def test_what_cannot_be_estimated_is_one_sentence(
    words: Path, options: dict[str, Any], error: type[NeglabelError], says: str
) -> None:
    with pytest.raises(error) as found:
        run(**{"corpus": [str(words)], "model": "emoji", "dry_run": True, **options})
    assert says in str(found.value)
    assert "\n" not in str(found.value)


def test_out_is_needed_otherwise(words: Path) -> None:
    with pytest.raises(UsageError, match="--out is required"):
        make(EncodeSettings, {"corpus": [str(words)]})


def test_a_damaged_configuration_is_named(tmp_path: Path, words: Path) -> None:
    folder = build_tiny(tmp_path / "model")
    (folder / "open_clip_config.json").write_text('{"model_cfg": {"embed_dim": "x"}}')
    with pytest.raises(NeglabelError, match="can't be read as an open_clip config"):
        run(corpus=[str(words)], model=str(folder), dry_run=True)
