"""The negative labels as the page shows them: which words, how far, and which of them pictures answered to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from neglabel.pipeline.report.read import Negatives, Run

#: Words embedded in the page at most: the farthest, and the last of the kept.
FARTHEST, LAST = 9_000, 1_000
#: Longest text shown of a word; a line of a corpus can be of any length.
LONGEST = 120


@dataclass(frozen=True)
class Active:
    """A negative label, and its mean softmax share in percent over OOD and over ID pictures (None: no pictures)."""

    text: str
    ood: float | None
    id: float | None


def data(negatives: Negatives) -> dict[str, Any]:
    """Compact JSON for the page's script: columns, with parts of speech and ID labels by index.

    ``kept``: negatives by rank; ``nearest``: the candidates nearest to the ID labels, kept or not. Distances and
    cosines are null where unknown (a plain list of words).
    """
    index: dict[str, int] = {}
    poses: dict[str, int] = {}
    count = negatives.table.num_rows
    rows = [*range(min(count, FARTHEST)), *range(max(FARTHEST, count - LAST), count)]
    columns = {
        name: negatives.column(name) or [None] * count
        for name in ("rank", "text", "pos", "distance", "nearest_label", "nearest_cosine")
    }
    kept = (tuple(columns[name][row] for name in columns) for row in rows)
    nearest = (
        (None, w.get("text"), w.get("pos"), w.get("distance"), w.get("nearest_label"), w.get("nearest_cosine"))
        for w in negatives.metadata.get("nearest") or []
        if isinstance(w, dict)
    )
    return {
        "kept": _columns(kept, index, poses),
        "nearest": _columns(nearest, index, poses),
        "labels": list(index),
        "pos": list(poses),
        "count": count,
    }


def _columns(words: Iterable[Sequence[Any]], index: dict[str, int], poses: dict[str, int]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {key: [] for key in ("rank", "text", "pos", "d", "near", "cos")}
    for place, (rank, text, pos, distance, label, cosine) in enumerate(words):
        found["rank"].append(place if rank is None else int(rank))
        found["text"].append(_cut(str(text or "")))
        found["pos"].append(poses.setdefault(str(pos or ""), len(poses)))
        found["d"].append(None if distance is None else round(float(distance), 4))
        found["near"].append(None if not label else index.setdefault(_cut(str(label)), len(index)))
        found["cos"].append(None if cosine is None else round(float(cosine), 4))
    return found


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def first(table: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """The first ``count`` kept words as the template writes them, for readers without scripts."""
    kept = table["kept"]
    return [
        {
            "rank": kept["rank"][i],
            "text": kept["text"][i],
            "pos": table["pos"][kept["pos"][i]],
            "d": kept["d"][i],
            "near": "" if kept["near"][i] is None else table["labels"][kept["near"][i]],
        }
        for i in range(min(count, len(kept["text"])))
    ]


def cut(negatives: Negatives) -> float | None:
    """The smallest distance kept; None where words were not chosen by distance."""
    distances = [d for d in negatives.column("distance") or [] if d is not None]
    return min(distances) if distances and not negatives.random else None


def active(run: Run, count: int = 12) -> list[Active]:
    """The negatives with the largest mean share over OOD (else unknown, else ID) pictures, of each picture's top five.

    A word that takes more share from ID than from OOD pictures costs accuracy; here it can be seen.
    """
    totals: dict[str, Counter[str]] = {role: Counter() for role in ("id", "ood", "unknown")}
    pictures: Counter[str] = Counter()
    for part in run.sets:
        pictures[part.role] += part.rows
        names, shares = (part.table.column(f"top_negative{end}").to_pylist() for end in ("s", "_shares"))
        for words, numbers in zip(names, shares, strict=True):
            for word, number in zip(words or (), numbers or (), strict=False):
                totals[part.role][word] += number
    by = next((role for role in ("ood", "unknown", "id") if totals[role]), None)
    if by is None:
        return []
    side = by if by != "id" else "ood"

    def share(role: str, word: str) -> float | None:
        return 100 * totals[role][word] / pictures[role] if pictures[role] else None

    return [Active(_cut(word), share(side, word), share("id", word)) for word, _ in totals[by].most_common(count)]
