"""What must be equal before two sources of words may be compared: everything but the words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from neglabel import UsageError
from neglabel.pipeline.report.compare.equal import RULES, WHERE_KNOWN, considered
from neglabel.pipeline.report.read import Run

#: Scores that negatives change, the one of the paper first.
COMPARED = ("neglabel", "neglabel-ungrouped")


def fair(runs: Sequence[Run]) -> str:
    """Refuse runs that differ in more than their words. Returns the score that is compared.

    Raises:
        UsageError: naming what differs, both values, and the option that makes it equal.
    """
    if len(runs) < 2:
        raise UsageError("--compare needs at least two folders of scores with mined (not random) negatives")
    for run in runs:
        _comparable(run)
    first = runs[0]
    score = next(name for name in COMPARED if name in first.scores)
    for what, value, remedy in RULES:
        ours = value(first)
        for run in runs[1:]:
            theirs = value(run)
            if ours != theirs:
                a, b = _apart(ours, theirs)
                raise UsageError(
                    f"--compare: {what} differ: {a} in {first.name}, {b} in {run.name}; {_remedied(remedy, runs)}"
                )
    return score


def _comparable(run: Run) -> None:
    if not run.negatives.count:
        raise UsageError(f"--compare: {run.name} has no negative labels; leave it out, or mine at least one")
    counts = run.negatives.metadata.get("counts")
    if not isinstance(counts, dict) or "candidates" not in counts:
        raise UsageError(
            f"--compare: nothing says how many candidates the negatives of {run.name} were chosen from; "
            "score the file that `mine` wrote, not a list of words"
        )
    if not any(name in run.scores for name in COMPARED):
        raise UsageError(
            f"--compare: {run.name} has no score that negatives change (it has {', '.join(run.scores)}); "
            "score it with `--score neglabel`"
        )
    for role, option in (("id", "--id"), ("ood", "--ood")):
        if not any(data.rows for data in run.of_role(role)):
            kind = role.upper()
            raise UsageError(f"--compare: {run.name} has no {kind} pictures; score it with {option} NAME=IMAGES")


def fair_where_known(runs: Sequence[Run]) -> None:
    """As :func:`fair`, of what only some runs tell. Raises UsageError."""
    for what, value, remedy in WHERE_KNOWN:
        told = [(run, found) for run in runs if (found := value(run)) is not None]
        for run, theirs in told[1:]:
            if theirs != told[0][1]:
                a, b = _apart(told[0][1], theirs)
                raise UsageError(f"--compare: {what} differ: {a} in {told[0][0].name}, {b} in {run.name}; {remedy}")


def _remedied(remedy: str, runs: Sequence[Run]) -> str:
    return remedy.replace("{least}", str(min(considered(run) for run in runs)))


def _apart(a: Any, b: Any) -> tuple[str, str]:
    """Both as text; of lists, the first entries that differ; of tables, the entries that differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [key for key in a if a[key] != b.get(key)]
        return _said({key: a[key] for key in keys}), _said({key: b.get(key) for key in keys})
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b) and len(a) + len(b) > 12:
            return f"{len(a):,}", f"{len(b):,}"
        place = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        return tuple(_said(x[place]) if place < len(x) else "none" for x in (a, b))  # type: ignore[return-value]
    return _said(a), _said(b)


def _said(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "unknown"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else text[:99] + "…"
