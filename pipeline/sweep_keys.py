"""What the steps of a sweep's cells are made of: a key a step, from settings and digests of what is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from neglabel import NeglabelError
from neglabel.pipeline.model_source import CONFIG, PACKAGED
from neglabel.pipeline.scores.neglabel import N_GROUPS
from neglabel.pipeline.sweep_plan import Planned
from neglabel.pipeline.sweep_steps import (
    ENCODE_HOW,
    HOW,
    Digests,
    Steps,
    key_of,
    negatives_digest,
    settings_less,
    store_digest,
)

Given = TypeVar("Given")
#: The file of negative labels in its step's folder.
NEGATIVES = "negatives.parquet"


class Keys:
    """Keys of cells' steps; everything is read once."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.digests = steps, Digests()
        self._once: dict[str, Any] = {}
        self._failed: dict[str, str] = {}

    def once(self, key: str, work: Callable[[], Given]) -> Given:
        """What ``work`` gives, or the error that it gave before. Raises NeglabelError."""
        if key in self._failed:
            raise NeglabelError(self._failed[key])
        if key not in self._once:
            try:
                self._once[key] = work()
            except NeglabelError as error:
                self._failed[key] = str(error)
                raise
        found: Given = self._once[key]
        return found

    def encode_key(self, p: Planned) -> str:
        inputs = [*(self.digests.corpus(spec) for spec in p.encode.corpus), *self._model(p)]
        return key_of("encode", {**settings_less(p.encode, ENCODE_HOW), **_tag(p)}, inputs)

    def store(self, p: Planned) -> Path:
        """The folder of the cell's candidates, finished or not."""
        return self.steps.place("encode", f"{p.encode.model} {p.encode.corpus[0]}", self.encode_key(p))

    def mine_key(self, p: Planned) -> str:
        """Of candidates that are there."""
        store = self.store(p)
        words = self.once(f"digest {store}", lambda: store_digest(store))
        labels, excluded = self.digests.labels(p.mine.label_sets[0]), [self.digests.of(path) for path in p.mine.exclude]
        inputs = [words, labels, excluded, *self._model(p)]
        return key_of("mine", settings_less(p.mine, HOW | {"candidates", "labels", "exclude"}), inputs)

    def base(self, p: Planned) -> str:
        """Of negatives that are there: the key of a ``score`` step but for the scores asked for."""
        score, mined = p.score, self.mine_key(p)
        roles = {
            role: [(name, self._pictures(spec)) for name, spec in getattr(score, role).items()]
            for role in ("id", "ood", "images")
        }
        apart = {"negatives", "labels", "id", "ood", "images", "bank", "score", "temperature"}
        settings = {**settings_less(score, HOW | apart), **_tag(p), "groups": self.groups(p)}
        bank = self._pictures(score.bank) if score.bank else ""
        negatives = self.steps.place("mine", "", mined) / NEGATIVES
        words = self.once(f"digest {negatives}", lambda: negatives_digest(negatives))
        inputs = [words, self.digests.labels(score.labels), roles, bank, *self._model(p)]
        return key_of("score", settings, inputs)

    def _pictures(self, spec: str) -> str:
        return self.once(f"pictures {spec}", lambda: self.digests.pictures(spec))

    def _model(self, p: Planned) -> list[str]:
        return self.digests.model(p.encode.model, p.encode.pretrained)

    def groups(self, p: Planned) -> int:
        """The number of groups, given or by default; of negatives that are there."""
        return p.score.groups or (1 if self.steps.facts(self.mine_key(p))["kept"] < N_GROUPS else N_GROUPS)


def _tag(p: Planned) -> dict[str, Any]:
    """The weights' tag, given or not."""
    own = p.encode.model in PACKAGED or (Path(p.encode.model) / CONFIG).is_file()
    return {"pretrained": p.encode.pretrained or (None if own else "openai")}
