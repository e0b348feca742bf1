"""The comparison → ``compare.html``, one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from neglabel.pipeline.report.compare import figures, published
from neglabel.pipeline.report.compare.gather import Comparison, Line
from neglabel.pipeline.report.compare.makeup import Makeup
from neglabel.pipeline.report.page import environment, flat, pct, styles
from neglabel.pipeline.report.tables import CONVENTIONS
from neglabel.pipeline.settings import ReportSettings

_HERE = Path(__file__).parent
#: Rows of a table of kinds; the rest is summed up.
_KINDS = 12
#: Words listed of those that hurt; the file has them all.
_HURTING = 24


def verdict(comparison: Comparison) -> str:
    """Which source is best, and for which others the difference is shown."""
    best, rest = comparison.lines[0], comparison.lines[1:]
    shown = [line.run.name for line in rest if line.average.auroc_difference.shown]
    open_ = [line.run.name for line in rest if not line.average.auroc_difference.shown]
    # Nobody is called best whom the pictures don't tell from another.
    rank = "leads" if open_ else "is best"
    text = f"{best.run.name} {rank}: AUROC {pct(best.average.auroc)}, FPR95 {pct(best.average.fpr95)} on average"
    if shown:
        text += f"; the difference in AUROC is shown against {_listed(shown)}"
    if open_:
        text += f"; no difference is shown against {_listed(open_)}"
    return text


def missing(comparison: Comparison) -> list[str]:
    """What the page leaves out, and what brings it back."""
    notes = []
    if comparison.lacking:
        notes.append(
            f"no embeddings were kept of {_listed(comparison.lacking)}, so neighbours, what each source alone "
            "contributes and the words that hurt are left out; run `score` again with --keep-embeddings (cheap with "
            "--cache)"
        )
    if comparison.unstudied:
        notes.append(
            f"words that hurt were not studied for {_listed(comparison.unstudied)}: that needs more negatives than "
            "--hurting and two ID pictures; give a smaller --hurting"
        )
    if comparison.left_out:
        notes.append(f"{_listed(comparison.left_out)}: random negatives are no source and are in no comparison")
    return notes


def render(comparison: Comparison, settings: ReportSettings, names: Mapping[str, str]) -> str:
    """The page. ``names``: by run, the part of its files' names."""
    lines = comparison.lines
    distances = figures.distances(lines)
    templates = environment(_HERE)
    templates.filters["small"] = _small
    return templates.get_template("compare.html.j2").render(
        css=styles(_HERE / "compare.css"),
        settings=settings,
        convention=CONVENTIONS[settings.fpr],
        c=comparison,
        best=lines[0],
        last=lines[-1],
        reason=_reason(lines[0], lines[-1]),
        first=lines[0].run,
        shown=[line.run.name for line in lines[1:] if line.average.auroc_difference.shown],
        unshown=[line.run.name for line in lines[1:] if not line.average.auroc_difference.shown],
        counts={role: sum(d.rows for d in lines[0].run.of_role(role)) for role in ("id", "ood")},
        several=len({cell.id for cell in lines[0].cells[:-1]}) > 1,
        model=(lines[0].run.negatives.metadata.get("model") or {}).get("model"),
        tops=_tops(lines),
        # Markup that we wrote; matplotlib has escaped the names in it.
        gaps=[
            ("AUROC", Markup(figures.differences(lines, "auroc"))),
            ("FPR95", Markup(figures.differences(lines, "fpr95"))),
        ],
        distances=None if distances is None else Markup(distances),
        kinds=[
            (title, _kinds(comparison.makeups, key), note)
            for title, key, note in (
                ("Part of speech", "pos", "As the source says."),
                ("Language", "language", "BCP 47 codes; unknown where the source doesn't say."),
                ("Lexicographer file of WordNet", "field", "Of words of WordNet their own synset's; of other English "
                 "words the most frequent sense's, which may not be the one meant."),
            )
        ],
        overlaps={(o.run, o.other): o for o in comparison.overlaps},
        published=published,
        missing=missing(comparison),
        files=names,
        own=flat(settings.model_dump(mode="json", exclude_none=True)),
        hurting_words=_HURTING,
    )  # fmt: skip


def _reason(best: Line, last: Line) -> str:
    """Where the negatives of ``best`` answer better by more than the other way round: ``id``, ``ood``, or neither."""
    if None in (best.on_id, best.on_ood, last.on_id, last.on_ood):
        return ""
    on_id, on_ood = last.on_id - best.on_id, best.on_ood - last.on_ood  # type: ignore[operator]
    if max(on_id, on_ood) < 0.1:
        return ""
    return "id" if on_id > on_ood else "ood"


def _tops(lines: Sequence[Line]) -> list[tuple[float, float]]:
    """By column of the table of results, the best AUROC and FPR95."""
    return [
        (max(line.cells[i].auroc for line in lines), min(line.cells[i].fpr95 for line in lines))
        for i in range(len(lines[0].cells))
    ]


def _kinds(makeups: Sequence[Makeup], key: str) -> list[tuple[str, list[float]]]:
    """Kinds by their largest share in any run, each with its share by run; the rest together."""
    tables: list[dict[str, Any]] = [getattr(one, key) for one in makeups]
    largest = {kind: max(table.get(kind, 0.0) for table in tables) for table in tables for kind in table}
    order = sorted(largest, key=lambda kind: (-largest[kind], kind))
    rows = [(kind, [table.get(kind, 0.0) for table in tables]) for kind in order[:_KINDS]]
    if order[_KINDS:]:
        rest = [sum(table.get(kind, 0.0) for kind in order[_KINDS:]) for table in tables]
        rows.append((f"{len(order) - _KINDS} others", rest))
    return rows


def _small(share: float) -> str:
    """Two digits that count: one word of ten thousand takes little."""
    return f"{share:.1f}" if share >= 10 else f"{share:.2g}" if share >= 0.001 else "<0.001"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
