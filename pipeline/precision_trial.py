"""One precision of a model, measured beside float32: how near its embeddings are, and how fast it is."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch

from neglabel import NeglabelError, corpora
from neglabel.pipeline.models import LoadedModel
from neglabel.pipeline.text_encoder import TextEncoder

#: Times each precision is run, and seconds after which no further round is begun.
ROUNDS, PATIENCE = 5, 20.0
#: A tower whose matrix products are this many times as fast as float32's, or less, is not tried: it can't win.
HOPELESS = 0.8


class Trial(NamedTuple):
    """What was measured of a precision: how many times as fast as float32, and the smallest cosine to it.

    ``cosine`` is None where the tower was not run, and ``why`` says why.
    """

    precision: str
    speed: float
    cosine: float | None
    why: str = ""


def try_out(
    exact: LoadedModel, load: Callable[[str], LoadedModel], precision: str, prompts: Sequence[str], batch_size: int
) -> Trial:
    """Measure the model that ``load`` gives in ``precision`` beside ``exact``, the same in float32."""
    products = product_speed(exact.device, precision)
    if products <= HOPELESS:
        return Trial(precision, products, None, f"its matrix products are {products:.2g} times as fast as fp32's here")
    try:
        towers = [TextEncoder.of(model, batch_size) for model in (exact, load(precision))]
        # Also the warm-up: paths are settled, words tokenised.
        truth, found = (tower.encode(prompts).astype(np.float64) for tower in towers)
        speed = in_turns(*(partial(tower.encode, prompts) for tower in towers))
    except (RuntimeError, NeglabelError) as error:
        gist = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        return Trial(precision, 0.0, None, f"it can't be run here ({gist})")
    cosine = float((truth * found).sum(axis=1).min())
    return Trial(precision, speed, cosine) if np.isfinite(cosine) else Trial(precision, speed, None, "it gives NaN")


def in_turns(exact: Callable[[], Any], other: Callable[[], Any]) -> float:
    """How many times as fast as ``exact`` the other is: the median of ratios within a round."""
    ratios: list[float] = []
    start = time.perf_counter()
    while len(ratios) < ROUNDS and (not ratios or time.perf_counter() - start < PATIENCE):
        times = [time.perf_counter()]
        for run in (exact, other):
            run()
            times.append(time.perf_counter())
        ratios.append((times[1] - times[0]) / (times[2] - times[1]))
    return median(ratios)


def product_speed(device: torch.device, precision: str) -> float:
    """How many times as fast as in float32 a text tower's matrix product is in ``precision``: seconds spare minutes."""
    kinds = (torch.float32, {"fp16": torch.float16, "bf16": torch.bfloat16}[precision])
    rows = 256 if device.type == "cpu" else 8_192

    def product(x: torch.Tensor, weight: torch.Tensor) -> None:
        torch.nn.functional.linear(x, weight)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    with torch.inference_mode():
        runs = [partial(product, torch.ones(rows, 512, dtype=kind, device=device),
                        torch.ones(2_048, 512, dtype=kind, device=device)) for kind in kinds]  # fmt: skip
        for run in runs:
            run()
        return in_turns(*runs)


def probes(count: int) -> list[str]:
    """``the nice {}`` with nouns and adjectives of the packaged WordNet 3.0, spread evenly over the alphabet."""
    words: list[str] = []
    with zipfile.ZipFile(Path(corpora.__file__).parent / "nltk_data" / "corpora" / "wordnet.zip") as archive:
        for name in ("index.noun", "index.adj"):
            with archive.open(f"wordnet/{name}") as file:
                # Lines of the licence begin with spaces.
                lines = (line for line in io.TextIOWrapper(file, "utf-8") if not line.startswith(" "))
                words += [line.split(" ", 1)[0].replace("_", " ") for line in lines]
    return [f"the nice {words[i * len(words) // count]}" for i in range(count)]
