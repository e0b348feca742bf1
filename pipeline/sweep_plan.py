"""Cells → settings of their stages, all of them made and refused before any work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neglabel import NeglabelError, UsageError
from neglabel.corpora import check_corpus
from neglabel.pipeline import config
from neglabel.pipeline.images import open_images
from neglabel.pipeline.known_datasets import DATASET
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.mine_sizes import asked_for
from neglabel.pipeline.presets import PRESETS
from neglabel.pipeline.prompts import Prompts
from neglabel.pipeline.run_settings import RunSettings
from neglabel.pipeline.run_stages import Stages
from neglabel.pipeline.score_plan import data_sets, options_checked
from neglabel.pipeline.score_settings import ScoreSettings
from neglabel.pipeline.scores import SCORES
from neglabel.pipeline.settings import EncodeSettings, ReportSettings
from neglabel.pipeline.sweep_grid import Cell
from neglabel.pipeline.sweep_settings import SweepFile

#: What a sweep decides or has no use for, beside what every run decides.
FIXED = {
    "mine": frozenset({"text_out", "work"}),
    "report": frozenset({"names", "compare", "title"}),
}


@dataclass(frozen=True)
class Planned:
    """A cell and the settings of its stages; where stages meet (``out``, ``candidates``, ``negatives``) is left open.

    ``scores``: by the name asked for, which score at which temperature.
    """

    file: SweepFile
    cell: Cell
    encode: EncodeSettings
    mine: MineSettings
    score: ScoreSettings
    report: ReportSettings
    scores: Mapping[str, tuple[str, float]]

    @property
    def model(self) -> tuple[str, str]:
        return self.encode.model, self.encode.pretrained or ""


def plan(
    cells: Sequence[tuple[SweepFile, Cell]], out: Path, root: Path | None, world: Path | None
) -> list[Planned]:
    """Settings for every cell.

    Args:
        out: the sweep's folder.
        root: of data sets named ``dataset:NAME``.
        world: what relative paths are relative to; None: each file's folder.

    Raises:
        UsageError: everything that a stage refuses of any cell, in one message.
    """
    made, wrong = list[Planned](), dict[str, str]()
    for file, cell in cells:
        try:
            planned = _planned(file, cell, out, root, world or file.path.parent)
        except UsageError as error:
            wrong.setdefault(str(error), f"{file.path.stem}, {cell.row}")
            continue
        made.append(planned)
        for sentence in _missing(planned):
            wrong.setdefault(sentence, f"{file.path.stem}, {cell.row}")
    if wrong:
        listed = [f"{where}: {sentence}" for sentence, where in wrong.items()]
        many = f"{len(listed)} things are wrong: " if len(listed) > 1 else ""
        raise UsageError(many + "; ".join(f"({n}) {each}" if many else each for n, each in enumerate(listed, 1)))
    return made


def _planned(file: SweepFile, cell: Cell, out: Path, root: Path | None, folder: Path) -> Planned:
    # Absolute, since a page and a store name where things lie.
    out, folder = out.absolute(), folder.absolute()
    settings = config.make(RunSettings, {**_rooted(cell.run, root), "out": str(out)})
    make, words, step = Stages(settings, folder, FIXED), out / "steps" / "words", out / "steps" / "step"
    encode = make.encode(settings.corpus, words)
    preset = PRESETS[settings.preset]
    # Defaults are written out where they are known, so that rows which say them are the same step.
    prompts = Prompts({**preset.prompts, **encode.prompt}).templates
    encode = encode.model_copy(update={"corpus": encode.corpus or (preset.corpus,), "prompt": prompts})
    mine = make.mine([words], step / "negatives.parquet")
    top, share = asked_for(mine, preset)
    mine = mine.model_copy(update={
        "top": top, "top_share": share,
        **{name: getattr(preset, name) for name in ("percentile", "per_pos", "keep_id_names")
           if getattr(mine, name) is None},
    })  # fmt: skip
    score = make.score(step / "negatives.parquet", step)
    report = make.report([step])
    return Planned(file, cell, encode, mine, score, report, _scores(score))


def _scores(settings: ScoreSettings) -> dict[str, tuple[str, float]]:
    return {name: (name.partition("@")[0], t) for name, t in options_checked(settings).items()}


def _missing(planned: Planned) -> Iterator[str]:
    """What is not there, or doesn't fit, of labels, words and pictures: each a sentence."""
    from neglabel.pipeline.mine import check

    checks: list[Any] = [lambda: check(planned.mine)]
    checks += [lambda spec=spec: check_corpus(spec) for spec in planned.encode.corpus]
    score = planned.score
    specs = [*score.id.values(), *score.ood.values(), *score.images.values(), *([score.bank] if score.bank else [])]
    checks += [lambda spec=spec: open_images(spec) for spec in dict.fromkeys(specs)]
    found = 0
    for each in checks:
        try:
            each()
        except NeglabelError as error:
            found += 1
            yield str(error)
    if found:
        return
    try:
        data_sets(score)
        _enough(planned)
    except NeglabelError as error:
        yield str(error)


def _enough(planned: Planned) -> None:
    """Raises UsageError where no figure could come of it."""
    score = planned.score
    if not score.id or not score.ood:
        raise UsageError("a row of a table needs pictures of both kinds; give [score] id and ood")
    if (planned.report.theory or planned.report.coverage) and not score.keep_embeddings:
        raise UsageError("[report] theory and coverage need [score] keep_embeddings = true")
    banked = [name for name in score.score if SCORES[name].banked]
    if banked and not score.bank:
        raise UsageError(f"score {banked[0]} needs [score] bank: training pictures of the ID classes")


def _rooted(run: dict[str, Any], root: Path | None) -> dict[str, Any]:
    """With the root filled in where a data set's spec has none."""
    if root is None:
        return run
    run, score = dict(run), dict(run.get("score") or {})
    if isinstance(run.get("labels"), str):
        run["labels"] = rooted(run["labels"], root)
    for role in ("id", "ood", "images"):
        if isinstance(score.get(role), Mapping):
            score[role] = {name: rooted(str(spec), root) for name, spec in score[role].items()}
        elif role in score:
            pairs = [score[role]] if isinstance(score[role], str) else score[role]
            named = [str(pair).partition("=") for pair in pairs]
            score[role] = [f"{name}{equals}{rooted(spec, root)}" for name, equals, spec in named]
    if isinstance(score.get("bank"), str):
        score["bank"] = rooted(score["bank"], root)
    return {**run, **({"score": score} if score else {})}


def rooted(spec: str, root: Path | None) -> str:
    """``dataset:NAME…`` with ``root=`` where it has none; any other spec as it is."""
    if root is None or not spec.startswith(DATASET) or ",root=" in spec:
        return spec
    return f"{spec},root={root.absolute()}"
