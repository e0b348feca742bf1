"""What a report says where scores of a stream stand beside static ones."""

from __future__ import annotations

from collections.abc import Sequence

from neglabel.pipeline.report.read import Run
from neglabel.pipeline.report.tables import SCORE_NAMES

_PROTOCOLS = {
    "mixed": "ID and OOD pictures shuffled together",
    "separate": "each data set alone, in the order of its file",
}


def notice(runs: Sequence[Run]) -> str:
    """One or two sentences about all runs' streaming scores; empty where there is none."""
    streams: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for run in runs:
        for score, protocol in run.streaming.items():
            names, of = streams.setdefault(_PROTOCOLS.get(protocol, protocol), ({}, {}))
            names[_plain(score)] = of[run.name] = None
    if not streams:
        return ""
    saw = "; ".join(
        f"{_listed(list(names))}{f' of {_listed(list(of))}' if len(streams) > 1 else ''}: {what}"
        for what, (names, of) in streams.items()
    )
    static = dict.fromkeys(_plain(score) for run in runs for score in run.scores if score not in run.streaming)
    beside = (
        f" {_listed(list(static))} see{'s' * (len(static) == 1)} one picture at a time, so the two kinds are not "
        "compared like with like." if static else ""
    )  # fmt: skip
    return (
        f"Streaming scores depend on the pictures that came before ({saw}).{beside} Intervals and tests are about "
        "other pictures with the same scores, not about another order of the stream."
    )


def _plain(score: str) -> str:
    """Its name in a list: what stands behind a comma goes into brackets."""
    name, _, rest = SCORE_NAMES.get(score, score).removesuffix(", streaming").partition(", ")
    return f"{name} ({rest})" if rest else name


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
