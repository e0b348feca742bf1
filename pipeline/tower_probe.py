"""What a text tower makes of some prompts: tokens, and prompts a second, with random weights.

A process of its own (``encode --dry-run`` starts it), so that torch's memory is not on top of the words'.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from neglabel import NeglabelError
from neglabel.pipeline.model_config import ModelConfig

#: Seconds of encoding that are timed.
TIMED = 4.0
#: Prompts a call, at most.
LARGEST = 1 << 16
SMALL = {"layers": 1, "width": 64, "head_width": 64, "patch_size": 16, "image_size": 32}


def probe(
    model: ModelConfig, device: str, precision: str, batch_size: int, prompts: Sequence[str], longer: Sequence[str]
) -> dict[str, Any]:
    """Measure in a child process.

    Args:
        prompts: a sample of all prompts, for the number of tokens and the time.
        longer: further prompts of which only is asked how many exceed the context.

    Returns:
        ``tokens`` (one number a prompt, start and end included, as if there were no limit), ``truncated`` of
        ``longer``, ``prompts_per_second``, ``device``; and ``unknown``, a reason for each of these that is missing.
    """
    with TemporaryDirectory() as folder:
        question, answer = Path(folder) / "question.json", Path(folder) / "answer.json"
        folder_name = str(model.folder) if model.folder else None
        asked = {"name": model.name, "config": model.config, "folder": folder_name, "device": device,
                 "precision": precision, "batch_size": batch_size, "prompts": list(prompts),
                 "longer": list(longer), "timed": TIMED}  # fmt: skip
        question.write_text(json.dumps(asked), encoding="utf-8")
        code = "import sys; from neglabel.pipeline.tower_probe import main; main(*sys.argv[1:])"
        done = subprocess.run(
            [sys.executable, "-c", code, str(question), str(answer)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            env={**os.environ, "HF_HUB_OFFLINE": "1"}, errors="replace", check=False,
        )  # fmt: skip
        if done.returncode or not answer.is_file():
            last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            why = f"the process that measures the tower ended ({last[:200]})"
            return {"unknown": dict.fromkeys(("tokens", "truncated", "prompts_per_second"), why)}
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return found


def main(question: str, answer: str) -> None:
    """The child process: paths of the question and of the answer."""
    asked = json.loads(Path(question).read_text(encoding="utf-8"))
    Path(answer).write_text(json.dumps(_measure(asked)), encoding="utf-8")


def _measure(asked: Mapping[str, Any]) -> dict[str, Any]:
    from neglabel.pipeline.text_encoder import TextEncoder

    try:
        model, tokenizer = _untrained(asked)
    except NeglabelError as error:
        return {"unknown": dict.fromkeys(("tokens", "truncated", "prompts_per_second"), str(error))}
    device = next(model.parameters()).device.type
    # On a CPU larger batches are no faster, and their activations would be most of the memory.
    encoder = TextEncoder(model, tokenizer, asked["batch_size"] if device == "cuda" else min(asked["batch_size"], 64))
    return {
        "tokens": encoder.lengths(asked["prompts"]),
        "truncated": int(encoder.truncated(asked["longer"]).sum()),
        "device": device,
        "prompts_per_second": _speed(encoder, asked["prompts"], asked["timed"]),
        "unknown": {},
    }


def _untrained(asked: Mapping[str, Any]) -> tuple[Any, Any]:
    """The model with random weights and the smallest of image towers, which isn't used; and its tokenizer."""
    from neglabel.pipeline import hf_models
    from neglabel.pipeline.hf_source import PREFIX
    from neglabel.pipeline.model_source import ModelSource, quiet
    from neglabel.pipeline.models import _build, _tokenizer, resolve_device

    if asked["name"].startswith(PREFIX):
        return hf_models.untrained(asked["name"], resolve_device(asked["device"]), asked["precision"])
    config = {**asked["config"], "vision_cfg": SMALL}
    folder = Path(asked["folder"]) if asked["folder"] else None
    tokenizer = f"local-dir:{folder}" if folder else asked["name"]
    gelu = bool(config.get("quick_gelu"))
    source = ModelSource(asked["name"], config, Path(), "", gelu, {}, tokenizer, folder)
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        model = _build(source, asked["precision"], resolve_device(asked["device"]))
        return model.eval().requires_grad_(False), _tokenizer(source, model)


def _speed(encoder: Any, prompts: Sequence[str], timed: float) -> float | None:
    """Prompts a second once warm; calls grow until one takes a quarter of ``timed`` seconds: slow towers too."""
    if not prompts:
        return None
    encoder.encode(prompts[:1])
    start, size, done, seconds = 0, 16, 0, 0.0
    while seconds < timed:
        block = [prompts[(start + i) % len(prompts)] for i in range(size)]
        before = time.perf_counter()
        encoder.encode(block)
        taken = time.perf_counter() - before
        start += size
        done, seconds = done + size, seconds + taken
        if taken < timed / 4 and size < LARGEST:
            # Only the largest block counts: small ones don't fill the machine.
            size, done, seconds = size * 2, 0, 0.0
    return done / seconds
