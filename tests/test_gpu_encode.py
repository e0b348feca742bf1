"""Text encoding on a CUDA device: every tower, both half precisions, kills, memory that runs out. Skipped elsewhere."""

from __future__ import annotations

import copy
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from neglabel.pipeline.config import make
from neglabel.pipeline.encode import encode
from neglabel.pipeline.models import load_model
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.settings import EncodeSettings
from neglabel.pipeline.text_encoder import TextEncoder

from .on_gpu import device as device
from .on_gpu import needs_gpu
from .tower_zoo import ZOO, build, clip

pytestmark = needs_gpu
COMMAND = [sys.executable, "-c", "from neglabel.cli import main; main()"]


def prompts(count: int, seed: int = 7) -> list[str]:
    dice = np.random.default_rng(seed)
    syllables = ["ba", "dog", "sea", "ice", "the", "a", "!", "nice", "犬", "é", "x y", "🙂"]
    return ["", "a", "x " * 90, *(" ".join(dice.choice(syllables, dice.integers(1, 7))) for _ in range(count))]


def reference(model: Any, tokenizer: Any, texts: list[str]) -> np.ndarray:
    """open_clip's own ``encode_text``, where the model is."""
    place = next(model.parameters()).device
    with torch.inference_mode():
        features = model.encode_text(tokenizer(texts).to(place)).float()
    return torch.nn.functional.normalize(features, dim=-1).cpu().numpy()


@pytest.mark.parametrize("kind", ZOO)
def test_every_tower_equals_encode_text_on_the_cpu(device: str, kind: str) -> None:
    model, tokenizer = build(kind)
    texts = prompts(150)
    want = reference(model, tokenizer, texts)
    there = copy.deepcopy(model).to(device)
    encoder = TextEncoder(there, tokenizer, batch_size=64, token_budget=400)
    assert encoder.path == ZOO[kind][1]
    off = np.abs(encoder.encode(texts) - want).max()
    own = np.abs(reference(there, tokenizer, texts) - want).max()
    print(f"{kind}: ours {off:.1e}, encode_text on {device} {own:.1e}")
    assert off <= 2e-6
    for dtype in (torch.float16, torch.bfloat16):
        half = copy.deepcopy(model).to(device, dtype)
        try:
            own = (reference(half, tokenizer, texts) * want).sum(axis=1).min()
        except (RuntimeError, TypeError) as error:
            print(f"{kind}, {dtype}: its own encode_text fails ({str(error).splitlines()[0]})")
            continue
        ours = (TextEncoder(half, tokenizer, token_budget=400).encode(texts) * want).sum(axis=1).min()
        print(f"{kind}, {dtype}: cosine {ours:.5f}, its own {own:.5f}")
        # Where the tower's own encode_text is no closer, the kind is too rough for half precision, not our path.
        assert ours >= min(0.9995, own - 2e-4)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_of_a_loaded_model(device: str, tiny_model: Path, precision: str) -> None:
    texts = prompts(100)
    exact = TextEncoder.of(load_model(str(tiny_model), device="cpu")).encode(texts)
    encoder = TextEncoder.of(load_model(str(tiny_model), device=device, precision=precision))
    ours = encoder.encode(texts)
    assert encoder.path == "prefix-tree"
    assert (ours * exact).sum(axis=1).min() >= 0.9995
    assert np.abs(np.linalg.norm(ours, axis=1) - 1).max() <= 1e-6


def test_a_killed_run_ends_with_the_bytes_of_an_undisturbed_one(device: str, tmp_path: Path, tiny_model: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("\n".join(f"word {i % 700} {chr(97 + i % 26)}{i}" for i in range(12_000)) + "\n")
    given = {"corpus": [str(words)], "model": str(tiny_model), "device": device, "shard_rows": 300}

    def run(name: str) -> dict[str, Any]:
        summary: dict[str, Any] = encode(make(EncodeSettings, {**given, "out": tmp_path / name}), Reporter(quiet=True))
        return summary

    run("calm")
    shaken = tmp_path / "shaken"
    command = [*COMMAND, "encode", str(words), "--out", str(shaken), "--quiet"]
    command += ["--model", str(tiny_model), "--device", device, "--shard-rows", "300"]
    for aim in (3, 17):
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
            while process.poll() is None and len(list(shaken.glob("shard-*.parquet"))) < aim:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            assert process.stderr is not None
            assert process.wait() == -signal.SIGKILL, process.stderr.read()
    kept = len(json.loads((shaken / "manifest.json").read_text())["shards"])
    assert 0 < kept < 40
    assert run("shaken")["encoded"] <= 12_000 - 300 * kept + 300
    shards = [json.loads((tmp_path / name / "manifest.json").read_text())["shards"] for name in ("calm", "shaken")]
    assert shards[0] == shards[1]
    for shard in shards[0]:
        assert (tmp_path / "calm" / shard["file"]).read_bytes() == (shaken / shard["file"]).read_bytes()


def test_where_the_devices_memory_runs_out_the_budget_is_halved(device: str) -> None:
    if device != "cuda":
        pytest.skip("only a GPU's memory can be limited")
    model = clip(width=512, heads=8).to(device).eval().requires_grad_(False)
    tokenizer = open_clip.tokenizer.SimpleTokenizer(context_length=14)
    texts = [f"{i} {i * 7919 % 10_007} dog {i % 13}" for i in range(12_000)]
    encoder = TextEncoder(model, tokenizer, token_budget=32_768)
    encoder.encode(texts[:100])
    base = torch.cuda.memory_reserved()
    torch.cuda.reset_peak_memory_stats()
    calm = encoder.encode(texts)
    peak = torch.cuda.max_memory_reserved()
    assert encoder.budget_used == encoder.token_budget
    total = torch.cuda.get_device_properties(0).total_memory
    # A new encoder, so that no scratch memory is left over.
    encoder = TextEncoder(model, tokenizer, token_budget=32_768)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((base + 0.4 * (peak - base)) / total)
    cramped = encoder.encode(texts)
    print(f"{base >> 20} MB of {peak >> 20} MB; budget {encoder.token_budget:,} became {encoder.budget_used:,}")
    assert encoder.budget_used < encoder.token_budget
    assert np.abs(cramped - calm).max() <= 1e-6
