"""How many threads to work with."""

from __future__ import annotations

import os


def cores() -> int:
    """OMP_NUM_THREADS where it is set, else the processor cores that this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked):
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
