"""``--precision auto``: the fastest precision here that is as good as float32.

Each candidate is the same checkpoint in another precision. It must be so near to float32 that the precision gate holds
whatever is mined (see :data:`GATE`), and be faster in turns with float32. The choice is made once: a store that is
continued goes on in the precision its manifest has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from neglabel import NeglabelError
from neglabel.corpora.uri import Location
from neglabel.pipeline.encode_manifest import FORMAT
from neglabel.pipeline.files import read_json
from neglabel.pipeline.models import PRECISIONS, LoadedModel, load_model
from neglabel.pipeline.precision_trial import Trial, probes, try_out
from neglabel.pipeline.settings import EncodeSettings

#: The smallest cosine to float32 that will do. The precision gate itself (cosine at least 0.9995, at least 99 % of the
#: top M as float32 has them, AUROC moved by at most 0.05 points) needs labels and pictures, which `encode` hasn't. So
#: this line is where `benchmarks/precision.py` finds the gate held in every world it draws, small ones too: fp16 holds
#: it (cosines from 0.999997 on), bf16 doesn't always (0.99987 to 0.99992), nor does anything farther off.
GATE = 0.99999
#: Precisions tried by device, besides float32: those that can reach the line.
CANDIDATES = {"cpu": ("fp16",), "cuda": ("fp16",)}
#: Words compared and timed: a GPU needs many to be busy.
PROBES = {"cpu": 256, "cuda": 16_384}
#: Less than this many times faster is a tie.
TIE = 1.05


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
