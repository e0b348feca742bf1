"""Is a difference real? :mod:`neglabel.pipeline.bootstrap`, under the names that this package uses."""

from __future__ import annotations

from neglabel.pipeline.bootstrap import Difference, Floats, difference, draws
from neglabel.pipeline.weighted_metrics import Pair

__all__ = ["Difference", "Floats", "Pair", "difference", "draws"]
