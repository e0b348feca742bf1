"""Single pictures: the most certain, the most wrong and the borderline, with the labels that decided."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from neglabel.pipeline.images import open_path
from neglabel.pipeline.metrics import acceptance_threshold, known_labels
from neglabel.pipeline.report.read import DataSet, Run

#: Longest side of an embedded picture.
THUMBNAIL = 128
#: Bars shown of the ID labels and of the negatives.
BARS = (3, 4)


@dataclass(frozen=True)
class Bar:
    """A label and its softmax share in percent, among all ID and negative labels."""

    text: str
    share: float
    negative: bool


@dataclass(frozen=True)
class Case:
    """One picture; ``path`` as in the scores, ``picture`` a data URI, or None where it can't be opened again."""

    id: str
    dataset: str
    role: str
    label: str
    predicted: str
    logit: float
    id_share: float | None
    #: Whether the threshold that accepts 95 % of ID accepts it; None where there are no ID pictures.
    accepted: bool | None
    bars: tuple[Bar, ...]
    path: str
    picture: str | None


@dataclass(frozen=True)
class Group:
    """Cases of one kind."""

    title: str
    note: str
    cases: tuple[Case, ...]


#: A picture: its data set, its row, its log-odds.
_Place = tuple[DataSet, int, float]


def choose(run: Run, count: int) -> list[Group]:
    """Groups of ``count`` cases each, by log-odds of the run's main score; empty where that has no evidence.

    Pictures of unknown kind get three times as many: they are what the user came to look at.
    """
    score = run.main_score
    sets = [data for data in run.sets if data.rows and not np.isnan(data.logit(score)).any()]
    inside = _ordered([d for d in sets if d.role == "id"], score)
    outside = _ordered([d for d in sets if d.role == "ood"], score)
    unknown = _ordered([d for d in sets if d.role == "unknown"], score)
    cut = acceptance_threshold([logit for _, _, logit in inside]) if inside else None
    plan: list[tuple[str, str, Sequence[_Place]]] = [
        ("Most suspicious", "of unknown kind, lowest score first", unknown[: 3 * count]),
        ("Most certain ID", "ID pictures with the highest scores", inside[::-1][:count]),
        ("Most certain OOD", "OOD pictures with the lowest scores", outside[:count]),
        ("ID that looks OOD", "ID pictures with the lowest scores: the most wrong", inside[:count]),
        ("OOD that looks ID", "OOD pictures with the highest scores: the most wrong", outside[::-1][:count]),
    ]
    if cut is not None and np.isfinite(cut) and outside:
        near = sorted([*inside, *outside], key=lambda place: abs(place[2] - cut))
        plan.append(("Borderline", "nearest the threshold that accepts 95 % of ID", near[:count]))
    return [
        Group(title, note, tuple(_case(run, place, cut) for place in places))
        for title, note, places in plan
        if places
    ]


def _ordered(sets: Sequence[DataSet], score: str) -> list[_Place]:
    """Pictures of ``sets``, lowest log-odds first, ties in the order of the files."""
    if not sets:
        return []
    places = [(data, row, float(logit)) for data in sets for row, logit in enumerate(data.logit(score))]
    return sorted(places, key=lambda place: place[2])


def _case(run: Run, place: _Place, cut: float | None) -> Case:
    data, row, logit = place
    line = data.table.slice(row, 1).to_pylist()[0]
    bars = [
        *_bars(line["top_labels"], line["top_label_shares"], BARS[0], negative=False),
        *_bars(line["top_negatives"], line["top_negative_shares"], BARS[1], negative=True),
    ]
    share = line["id_share"]
    return Case(
        id=line["id"] or "",
        dataset=data.name,
        role=data.role,
        label=_named(line["label"] or "", data.role, run.labels),
        predicted=line["predicted_label"] or "",
        logit=logit,
        id_share=None if share is None or np.isnan(share) else 100 * float(share),
        accepted=None if cut is None else logit >= cut,
        bars=tuple(sorted(bars, key=lambda bar: -bar.share)),
        path=line["path"] or "",
        picture=_thumbnail(line["path"] or ""),
    )


def _named(label: str, role: str, names: Sequence[str]) -> str:
    """What a label says to a reader; an index into the classes of an OOD set says nothing."""
    if role == "id" and label:
        return known_labels([label], names)[0] or label
    return "" if label.isdecimal() else label


def _bars(labels: Sequence[str] | None, shares: Sequence[float] | None, count: int, negative: bool) -> list[Bar]:
    pairs = zip(labels or (), shares or (), strict=False)
    return [Bar(text, 100 * float(share), negative) for text, share in pairs if np.isfinite(share)][:count]


def lost(groups: Sequence[Group]) -> tuple[int, int]:
    """Of the pictures shown that have a path, how many can't be opened again, and how many there are."""
    opened = {case.path: case.picture is not None for group in groups for case in group.cases if case.path}
    return list(opened.values()).count(False), len(opened)


def _thumbnail(path: str) -> str | None:
    """A data URI, or None: a picture that has gone must not cost the report."""
    if not path:
        return None
    try:
        return _data_uri(open_path(path))
    except Exception:  # decoders and data set libraries raise what they like
        return None


def _data_uri(image: Image.Image) -> str:
    picture = ImageOps.exif_transpose(image)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(ground, picture)
    picture = picture.convert("RGB")
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=85, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode("ascii")
