"""``score --bank``: training pictures of the ID classes → the frozen features that some scores are fitted to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neglabel import NeglabelError, UsageError
from neglabel.pipeline import store
from neglabel.pipeline.images import Item, Source, open_images
from neglabel.pipeline.item_columns import taken
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.score_model import ModelOnDemand
from neglabel.pipeline.score_plan import DataSet, shared_with
from neglabel.pipeline.score_rows import ClassNames
from neglabel.pipeline.score_settings import ScoreSettings
from neglabel.pipeline.scores import SCORES, Bank, fit_all
from neglabel.pipeline.scores.bank import Fitted

#: The bank's head is that of CLIP: cosines to the labels over T.
TEMPERATURE = 0.01
#: Scores that ask which class a picture of the bank is of.
_BY_CLASS = ("mahalanobis", "mahalanobis-mcm")


def bank_set(settings: ScoreSettings, sets: Sequence[DataSet], reporter: Reporter) -> list[DataSet]:
    """The bank's pictures as one data set; none where no score is fitted to it.

    Raises:
        UsageError: a score needs a bank and there is none; pictures that are not there, or that are judged as well.
        NeglabelError: pictures that can't be listed.
    """
    wanting = [name for name in settings.score if SCORES[name].banked]
    if wanting and settings.bank is None:
        raise UsageError(
            f"--score {wanting[0]} needs a bank of ID features; give --bank IMAGES: training pictures of the ID "
            "classes as --id takes them, or Parquet with embedding, label"
        )
    if settings.bank is None:
        return []
    if not wanting:
        banked = ", ".join(name for name, spec in SCORES.items() if spec.banked)
        reporter.warn(f"--bank {settings.bank} is not used: no score asked for is fitted to it ({banked})")
        return []
    bank = DataSet("bank", "id", open_images(settings.bank))
    if (shared := shared_with(bank.source, sets)) is not None:
        data, place = shared
        raise UsageError(
            f"--bank {settings.bank} and {data.name}={data.source.spec} both hold {place}; a picture that a score "
            "was fitted to can't be judged by it: keep training and test pictures apart"
        )
    return [bank]


@dataclass(frozen=True, eq=False)
class Fit:
    """Scores fitted to the bank, by name, and what the manifest says of it; nothing without a bank."""

    fitted: Mapping[str, Fitted] = field(default_factory=dict)
    about: dict[str, Any] | None = None


def fit_bank(
    bank: Sequence[DataSet], settings: ScoreSettings, model: ModelOnDemand, names: Sequence[str],
    labels: NDArray[np.float32], reporter: Reporter,
) -> Fit:  # fmt: skip
    """Read or encode the bank (through ``--cache``) and fit every score asked for that needs it.

    All of its features are held: N × D float32, while ViM and Mahalanobis are fitted also in float64. Pictures whose
    label is no ID label are left out, with a warning.

    Args:
        bank: of :func:`bank_set`.
        names: K ID labels; labels: (K, D) float32 unit vectors.

    Raises:
        UsageError: no picture is left, or pictures without a label where a score needs each one's class.
        NeglabelError: with ``strict`` a picture that can't be decoded; a damaged embedding; a bank that a score can't
            be fitted to.
    """
    if not bank:
        return Fit()
    source, spec = bank[0].source, settings.bank
    kept: list[NDArray[np.float32]] = []
    classes: list[NDArray[np.int64]] = []
    strange = failed = 0
    lookup = _Classes(names)
    blocks = reporter.track(
        _blocks(source, model), "bank", len(source.items), "pictures", size=lambda block: len(block[0])
    )
    for rows, embedding, failures in blocks:
        if failures and settings.strict:
            item = source.items[failures[0][0]]
            raise NeglabelError(
                f"--bank: {item.path or item.id} can't be decoded: {failures[0][1]}; "
                "remove it, or leave --strict out to go on without it"
            )
        failed += len(failures)
        if not len(rows):
            continue
        found = lookup.of(taken(source.items, rows))
        ours = found != _STRANGE
        strange += int((~ours).sum())
        kept.append(embedding[ours])
        classes.append(found[ours])
    features = np.concatenate(kept) if kept else np.empty((0, labels.shape[1]), np.float32)
    of_class = np.concatenate(classes) if classes else np.empty(0, np.int64)
    if not len(features):
        raise UsageError(f"--bank {spec}: none of its {len(source.items):,} pictures is of an ID label; name others")
    unknown = of_class == _UNKNOWN
    if unknown.any() and (by_class := [name for name in settings.score if name in _BY_CLASS]):
        raise UsageError(
            f"--bank {spec}: {int(unknown.sum()):,} of {len(features):,} pictures have no label, and {by_class[0]} "
            "needs each one's class; give a folder of folders named by class, or Parquet with a `label` column"
        )
    for count, why in ((strange, "a label that is no ID label"), (failed, "can't be decoded")):
        if count:
            reporter.warn(f"--bank {spec}: {count:,} of {len(source.items):,} pictures left out: {why}")
    weights = labels.astype(np.float64) / TEMPERATURE
    made = Bank(features, np.where(unknown, 0, of_class), weights)
    about = {
        "source": source.spec, "rows": len(features), "classes": len(np.unique(of_class[~unknown])),
        "unlabelled": int(unknown.sum()), "left_out": strange, "unreadable": failed,
        "features_sha256": hashlib.sha256(np.ascontiguousarray(features, "<f4").tobytes()).hexdigest(),
        "classes_sha256": hashlib.sha256(np.ascontiguousarray(of_class, "<i8").tobytes()).hexdigest(),
    }  # fmt: skip
    return Fit(fit_all(settings.score, made), about)


_UNKNOWN, _STRANGE = -1, -2


class _Classes:
    """Labels of pictures → rows of the head; of equal names the first, as that one is predicted."""

    def __init__(self, names: Sequence[str]) -> None:
        self._spelled = ClassNames(names)
        self._row = {name: row for row, name in reversed(list(enumerate(names)))}
        self._count = len(names)

    def of(self, items: Sequence[Item]) -> NDArray[np.int64]:
        return np.array([self._one(item.label) for item in items], np.int64)

    def _one(self, label: str | int | None) -> int:
        if label is None:
            return _UNKNOWN
        if isinstance(label, int):
            return label if label < self._count else _STRANGE
        return self._row.get(self._spelled.of(label, "id"), _STRANGE)


def _blocks(
    source: Source, model: ModelOnDemand
) -> Iterator[tuple[Sequence[int], NDArray[np.float32], Sequence[tuple[int, str]]]]:
    """Rows, unit vectors and failures, from the file of embeddings or the image tower."""
    if source.embeddings is None:
        for batch in model.pictures(source):
            yield batch.rows, batch.embedding, batch.failures
        return
    for block in store.stream(source.embeddings):
        yield range(block.start, block.start + len(block.embedding)), store.unit(block.embedding), ()
