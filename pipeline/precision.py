"""``--precision auto``: the fastest precision here that gives the embeddings of float32.

Each candidate is the same checkpoint in another precision. It must pass the first line of the precision gate
(smallest cosine to float32 over some hundred words of WordNet at least 0.9995), and be faster in turns with float32.
The choice is made once: a store that is continued goes on in the precision its manifest has.
"""

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
from neglabel.corpora.uri import Location
from neglabel.pipeline.encode_manifest import FORMAT
from neglabel.pipeline.files import read_json
from neglabel.pipeline.models import PRECISIONS, LoadedModel, load_model
from neglabel.pipeline.settings import EncodeSettings
from neglabel.pipeline.text_encoder import TextEncoder

#: The smallest cosine to float32 that will do.
GATE = 0.9995
#: Precisions tried by device, besides float32. A GPU multiplies float32 much slower than either.
CANDIDATES = {"cpu": ("bf16",), "cuda": ("fp16", "bf16")}
#: Words compared and timed: a GPU needs many to be busy.
PROBES = {"cpu": 256, "cuda": 16_384}
#: Times each precision is run, and seconds after which no further round is begun.
ROUNDS, PATIENCE = 5, 20.0
#: Less than this many times faster is a tie.
TIE = 1.05
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


def choose(trials: Sequence[Trial]) -> str:
    """The fastest precision that passes the gate; among those within :data:`TIE` of it the one nearest to float32.

    float32 is one of them, of speed 1 and cosine 1, so it wins wherever nothing else is faster and near enough.
    """
    # Written so that NaN doesn't pass.
    passed = [("fp32", 1.0, 1.0), *((t.precision, t.speed, t.cosine) for t in trials if t.cosine and t.cosine >= GATE)]
    fastest = max(speed for _, speed, _ in passed)
    # A cosine may come out above 1 by rounding.
    return max((p for p in passed if p[1] * TIE >= fastest), key=lambda p: min(p[2], 1.0))[0]


def sentence(picked: str, trials: Sequence[Trial]) -> str:
    """What was picked and why, in one line."""
    return "; ".join([f"precision auto: {picked}", *map(_said, trials)])


def load_settled(settings: EncodeSettings, say: Callable[[str], None]) -> tuple[LoadedModel, dict[str, Any]]:
    """The model of ``settings`` at the precision asked for, or at the one that ``auto`` comes to.

    Args:
        say: gets the line of :func:`sentence`, with ``auto``.

    Returns:
        the model, and what its store's manifest is to say of the choice: with ``auto`` in a new store
        ``precision_auto`` (``gate``, ``probes``, ``trials``: a list of ``precision, speed, cosine, why``), or nothing.

    Raises:
        what :func:`neglabel.pipeline.models.load_model` raises; NeglabelError: a damaged manifest.
    """
    load = partial(load_model, settings.model, settings.pretrained, settings.quickgelu, settings.device)
    if settings.precision != "auto":
        return load(settings.precision), {}
    if known := _precision_of(settings.out):
        say(f"precision auto: {known}, in which --out {settings.out} was begun")
        return load(known), {}
    exact = load("fp32")
    others = CANDIDATES.get(exact.device.type, ())
    words = probes(PROBES.get(exact.device.type, 0))
    trials = [try_out(exact, load, precision, words, settings.batch_size) for precision in others]
    picked = choose(trials)
    say(sentence(picked, trials))
    choice = {"gate": GATE, "probes": len(words), "trials": [trial._asdict() for trial in trials]}
    return exact if picked == "fp32" else load(picked), {"precision_auto": choice}


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


def _precision_of(out: Location | None) -> str | None:
    """The precision that a store was begun in; None where there is none yet."""
    path = None if out is None else out / "manifest.json"
    if path is None or not path.exists():
        return None
    found = read_json(path, FORMAT).get("precision")
    if found not in PRECISIONS:
        raise NeglabelError(f"{path} is damaged (precision); encode into a new folder")
    return str(found)


def _said(trial: Trial) -> str:
    if trial.cosine is None:
        return f"{trial.precision} is out, {trial.why}"
    below = "" if trial.cosine >= GATE else f", below {GATE}"
    return f"{trial.precision} is {trial.speed:.2g} times as fast here (smallest cosine {trial.cosine:.6f}{below})"
