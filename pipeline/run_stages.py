"""The settings of a run → the settings of its stages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neglabel import UsageError
from neglabel.corpora.uri import Location
from neglabel.pipeline import config
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.places import corpus_in, model_in, pictures_in
from neglabel.pipeline.run_settings import RunSettings
from neglabel.pipeline.score_settings import ScoreSettings
from neglabel.pipeline.settings import EncodeSettings, ReportSettings

#: What the run decides for each stage, so that the stages fit together.
FIXED: Mapping[str, frozenset[str]] = {
    "encode": frozenset({"corpus", "out", "model", "pretrained", "quickgelu", "preset", "device", "dry_run"}),
    "mine": frozenset({"candidates", "labels", "out", "preset", "model", "pretrained", "quickgelu", "device"}),
    "score": frozenset({"negatives", "labels", "out", "cache", "model", "pretrained", "quickgelu", "device"}),
    "report": frozenset({"scores", "out"}),
}


class Stages:
    """Makes the settings of each stage of one run; paths are taken from ``folder``.

    Args:
        fixed: options that a stage's table may not set, beside those of :data:`FIXED`.
    """

    def __init__(
        self, settings: RunSettings, folder: Path, fixed: Mapping[str, frozenset[str]] | None = None
    ) -> None:
        self.settings, self.folder, self.fixed = settings, folder, fixed or {}
        self.out, self.labels = folder / settings.out, folder / settings.labels
        pretrained = settings.pretrained
        if pretrained and (folder / pretrained).is_file():
            pretrained = str(folder / pretrained)
        self._model = {
            "model": model_in(folder, settings.model), "pretrained": pretrained, "quickgelu": settings.quickgelu,
            "device": settings.device,
        }  # fmt: skip

    def encode(self, corpus: Any, out: Location, **decided: Any) -> EncodeSettings:
        """``corpus`` as written in the run's file."""
        specs = [corpus_in(self.folder, spec) for spec in corpus]
        given = {"corpus": specs, "out": out, "preset": self.settings.preset, **self._model, **decided}
        made: EncodeSettings = self._make(EncodeSettings, "encode", given)
        return made

    def mine(self, candidates: list[Location], out: Location, **decided: Any) -> MineSettings:
        given = {"candidates": candidates, "labels": self.labels, "out": out, "device": self.settings.device, **decided}
        made: MineSettings = self._make(MineSettings, "mine", given)
        return made.model_copy(update={"exclude": tuple(self.folder / path for path in made.exclude)})

    def score(self, negatives: Location, out: Location, **decided: Any) -> ScoreSettings:
        given = {"negatives": negatives, "labels": self.labels, "out": out, "cache": self.out / "cache", **self._model}
        made: ScoreSettings = self._make(ScoreSettings, "score", {**given, **decided})
        return made.model_copy(update=pictures_in(self.folder, made))

    def report(self, scores: list[Location], **decided: Any) -> ReportSettings:
        made: ReportSettings = self._make(
            ReportSettings, "report", {"scores": scores, "out": self.out / "report", **decided}
        )
        return made

    def _make(self, kind: Any, stage: str, decided: Mapping[str, Any]) -> Any:
        own = {key.replace("-", "_"): value for key, value in getattr(self.settings, stage).items()}
        for key in own:
            if key in FIXED[stage] | self.fixed.get(stage, frozenset()):
                where = "at the top of the file" if key in RunSettings.model_fields else "by `neglabel run` itself"
                raise UsageError(f"[{stage}] {key} is set {where}; leave it out of the table")
        try:
            return config.make(kind, {**own, **decided})
        except UsageError as error:
            raise UsageError(f"[{stage}] {error}") from None
