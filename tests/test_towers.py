"""Every kind of text tower: the path it takes, the embeddings of open_clip's own encode_text, and no influence."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neglabel import NeglabelError
from neglabel.pipeline.causal_layer import CausalLayer
from neglabel.pipeline.models import load_model
from neglabel.pipeline.text_encoder import TextEncoder
from neglabel.pipeline.towers import inspect

from .tower_zoo import CONTEXT, ZOO, build

SYLLABLES = ["ba", "dog", "sea", "ice", "the", "a", "!", "nice", "犬", "é", "x y", "🙂", "!!"]


def prompts(count: int = 150) -> list[str]:
    dice = np.random.default_rng(7)
    made = [" ".join(dice.choice(SYLLABLES, dice.integers(1, 7))) for _ in range(count)]
    hard = ["", "!", "! ! !", "a", "a", "dog <end_of_text> sea", "dog <mask> sea", "<start_of_text>", "x " * 90,
            *(" ".join(["a"] * n) for n in range(CONTEXT - 4, CONTEXT + 2))]  # fmt: skip
    return [*made, *hard, *made[:20]]


def reference(model: Any, tokenizer: Any, texts: list[str]) -> np.ndarray:
    with torch.inference_mode():
        features = model.encode_text(tokenizer(texts)).float()
    return torch.nn.functional.normalize(features, dim=-1).numpy()


@pytest.fixture(autouse=True)
def small_towers_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As large ones are."""
    monkeypatch.setattr("neglabel.pipeline.products.PACK_FROM", 0)


@pytest.mark.parametrize("kind", ZOO)
def test_every_kind_gives_open_clips_embeddings(kind: str) -> None:
    model, tokenizer = build(kind)
    notices: list[str] = []
    texts = prompts()
    encoder = TextEncoder(model, tokenizer, batch_size=64, token_budget=400, notice=notices.append)
    ours = encoder.encode(texts)
    assert encoder.path == ZOO[kind][1]
    assert len(notices) == (encoder.path == "plain")
    assert ours.dtype == np.float32
    assert np.abs(ours - reference(model, tokenizer, texts)).max() <= 2e-6
    # One by one, in another order, in one batch: neighbours are no part of an embedding.
    whole = TextEncoder(model, tokenizer, token_budget=100_000)
    assert np.abs(whole.encode(texts[::-1])[::-1] - ours).max() <= 1e-6
    few = texts[:5] + texts[150:165]
    alone = np.concatenate([whole.encode([text]) for text in few])
    assert np.abs(alone - np.concatenate([ours[:5], ours[150:165]])).max() <= 1e-6


@pytest.mark.parametrize("kind", ["CLIP, QuickGELU", "CLIP, tanh GELU", "layer scale", "custom attention, QuickGELU"])
def test_the_models_own_weights_do_where_they_are_not_packed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neglabel.pipeline.causal_tower.can_pack", lambda _: False)
    model, tokenizer = build(kind)
    encoder = TextEncoder(model, tokenizer, token_budget=300)
    texts = prompts(40)
    assert np.abs(encoder.encode(texts) - reference(model, tokenizer, texts)).max() <= 2e-6
    assert encoder.path == "prefix-tree"


@pytest.mark.parametrize("kind", ["CLIP, GELU", "XLM-R", "SigLIP"])
def test_batches_give_every_row_once_and_compute_duplicates_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = build(kind)
    encoder = TextEncoder(model, tokenizer, token_budget=200)
    assert encoder.path
    tower, computed = encoder._settled[1], []
    run = tower.run
    monkeypatch.setattr(tower, "run", lambda s, a, b: computed.append(b - a) or run(s, a, b))
    texts = prompts()
    blocks = list(encoder.batches(encoder.tokenise(texts)))
    assert sorted(np.concatenate([rows for rows, _ in blocks]).tolist()) == list(range(len(texts)))
    assert sum(computed) == len({tuple(row) for row in tokenizer(texts).tolist()} if kind != "CLIP, GELU" else {
        tuple(row[: row.index(max(row)) + 1]) for row in tokenizer(texts).tolist()
    })  # fmt: skip
    assert encoder.encode([]).shape == (0, 32)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("CLIP, QuickGELU", torch.cuda.OutOfMemoryError("CUDA out of memory")),
        ("XLM-R", RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to ...")),
        ("MobileCLIP", MemoryError("Unable to allocate 7 GiB")),
    ],
)
def test_the_budget_is_halved_where_memory_runs_out(
    kind: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = build(kind)
    encoder = TextEncoder(model, tokenizer, batch_size=100, token_budget=1_000)
    texts = prompts()
    calm = encoder.encode(texts)
    assert encoder.budget_used == encoder.token_budget
    tower = encoder._settled[1]
    run, room = tower.run, 20

    def cramped(sequences: Any, start: int, stop: int) -> torch.Tensor:
        if stop - start > room:
            raise error
        return run(sequences, start, stop)

    monkeypatch.setattr(tower, "run", cramped)
    assert np.abs(encoder.encode(texts) - calm).max() <= 1e-6
    assert encoder.budget_used < encoder.token_budget
    assert encoder.budget_used in [encoder.token_budget >> n for n in range(1, 8)]
    encoder.encode(texts[:3])
    assert encoder.budget_used == encoder.token_budget, "the next shard begins with the whole budget"
    room = 0
    with pytest.raises(NeglabelError, match="memory for one prompt"):
        encoder.encode(texts)


def test_another_error_of_the_tower_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TextEncoder(*build("CLIP, QuickGELU"))
    assert encoder.path

    def broken(*_: Any) -> torch.Tensor:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(encoder._settled[1], "run", broken)
    with pytest.raises(RuntimeError, match="multiplied"):
        encoder.encode(["dog"])


LIMITED = """
import resource
import numpy as np, torch
from neglabel import NeglabelError
from neglabel.pipeline.models import load_model
from neglabel.pipeline.text_encoder import TextEncoder
torch.set_num_threads(1)
loaded = load_model("emoji", device="cpu")
prompts = [f"the nice {i:x} {i * i:x}" for i in range(4_000)]
calm = TextEncoder.of(loaded).encode(prompts)
greedy = TextEncoder(loaded.model, loaded.tokenizer, token_budget=1 << 20)
tokenised = greedy.tokenise(prompts)
found = np.empty_like(calm)

def limited(room):
    data = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (data + room, -1))
    found.fill(np.nan)
    try:
        for rows, block in greedy.batches(tokenised):
            found[rows] = block
        return True
    except (NeglabelError, MemoryError):
        return False
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (-1, -1))

# What a single prompt needs hangs on the heap's holes and on what oneDNN makes for it: the least room that suffices.
room = next(room for room in (int(1.2**n * (24 << 20)) for n in range(15)) if limited(room))
print(greedy.token_budget // greedy.budget_used, np.abs(found - calm).max(), room >> 20)
"""


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA is Linux's")
def test_the_budget_is_halved_where_the_system_gives_no_more_memory() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", LIMITED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    halvings, off, _ = done.stdout.split()
    assert int(halvings) >= 2
    assert float(off) <= 1e-6


@pytest.mark.parametrize("wrong", [0.999, float("nan")])
def test_a_path_that_disagrees_is_not_taken(wrong: float, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = build("CLIP, GELU")
    finish = CausalLayer.finish
    monkeypatch.setattr(CausalLayer, "finish", lambda self, x, *rest: (finish(self, x, *rest), x[:, :3].mul_(wrong)))
    notices: list[str] = []
    encoder = TextEncoder(model, tokenizer, notice=notices.append)
    texts = prompts(10)
    assert np.abs(encoder.encode(texts) - reference(model, tokenizer, texts)).max() <= 2e-6
    assert encoder.path == "plain"
    assert len(notices) == 1
    assert "gave other embeddings" in notices[0]


def hooked(model: Any) -> None:
    model.transformer.resblocks[1].mlp.register_forward_hook(lambda *_: None)


def retrained(model: Any) -> None:
    model.train()


def parametrized(model: Any) -> None:
    nn.utils.parametrizations.weight_norm(model.transformer.resblocks[0].mlp.c_fc)


def quantised(model: Any) -> None:
    model.transformer.resblocks[0].mlp.c_fc.__class__ = type("Int8Linear", (nn.Linear,), {})


def windowed(model: Any) -> None:
    model.attn_mask[-1, 0] = float("-inf")


def replaced(model: Any) -> None:
    model.encode_text = lambda text: text.float()


def patched(model: Any) -> None:
    model.transformer.forward = lambda x, attn_mask=None: x


@pytest.mark.parametrize("change", [hooked, retrained, parametrized, quantised, windowed, replaced, patched])
def test_whatever_was_done_to_a_tower_takes_its_own_encode_text(change: Any) -> None:
    model, tokenizer = build("CLIP, GELU")
    assert inspect(model, tokenizer).path == "prefix-tree"
    change(model)
    found = inspect(model, tokenizer)
    assert found.path == "plain"
    assert found.why


def test_hugging_face_tokenizers_that_pad_elsewhere_are_left_alone() -> None:
    model, tokenizer = build("XLM-R")
    tokenizer.tokenizer.padding_side = "left"
    assert inspect(model, tokenizer).path == "plain"
    texts = prompts(20)
    ours = TextEncoder(model, tokenizer).encode(texts)
    assert np.abs(ours - reference(model, tokenizer, texts)).max() <= 2e-6


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_takes_the_same_path(tiny_model: Any, precision: str) -> None:
    exact, half = (TextEncoder.of(load_model(str(tiny_model), device="cpu", precision=p)) for p in ("fp32", precision))
    texts = prompts(60)
    assert half.path == "prefix-tree"
    ours = half.encode(texts)
    assert ours.dtype == np.float32
    assert np.abs(np.linalg.norm(ours, axis=1) - 1).max() <= 1e-6
    assert (ours * exact.encode(texts)).sum(axis=1).min() >= 0.9995
