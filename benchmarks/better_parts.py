"""The parts of `softmargin`, each taken out or put in its place, from a formula of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
from better_worlds import log_sum

from neglabel.pipeline.scores.softmargin import LEVEL, MARGIN, REACH, SLOPE, WIDTH

Floats = np.ndarray
#: Part of the score taken out or put in its place → settings of :func:`formula`.
PARTS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "no negatives (λ = 0)": {"slope": 0.0},
    "no level (β = 0)": {"level": 0.0},
    "whole level (β = 1)": {"level": 1.0},
    "no reach (κ = 0)": {"far": 0.0},
    "twice the reach (κ = 0.2)": {"far": 0.2},
    "slope 1": {"slope": 1.0},
    "slope 10": {"slope": 10.0},
    "no margin (δ = 0)": {"margin": 0.0},
    "sharp bend (s = 0.5)": {"width": 0.5},
    "no nearness (z = 0)": {"near": 0.0},
    "no nearness, negatives at T/2": {"near": 0.0, "cold": 0.5},
    "linear in place of softplus": {"linear": True},
    "Energy in place of the largest cosine": {"energy": True},
}


def formula(
    a: Floats, b: Floats, z: Floats, reach: Floats, t: float, far: float = REACH,
    level: float = LEVEL, slope: float = SLOPE, margin: float = MARGIN,
    width: float = WIDTH, near: float = 1.0, cold: float = 1.0, linear: bool = False, energy: bool = False,
) -> Floats:  # fmt: skip
    """The score's formula with its parts as options, apart from the package."""
    ours, theirs = log_sum(a, t), log_sum(b - np.float32(near * t) * z.astype(np.float32), cold * t)
    excess = (theirs - ours) / t - margin
    bent = excess if linear else width * np.logaddexp(0, excess / width)
    top = ours if energy else a.max(axis=1).astype(np.float64)
    mean = (a.sum(axis=1, dtype=np.float64) + b.sum(axis=1, dtype=np.float64)) / (a.shape[1] + b.shape[1])
    return np.asarray(top - level * mean + far * reach - slope * t * bent)
