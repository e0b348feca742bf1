"""Parts of a report that are made on request from kept embeddings, and the runs that have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from neglabel import UsageError
from neglabel.pipeline.report.compare.kept import Kept, has_kept, read_kept
from neglabel.pipeline.report.read import Run


@dataclass(frozen=True)
class Part:
    """``files`` by name; the page's ``section``, its ``id``, its ``name`` among the links; ``notes`` for the user."""

    id: str
    name: str
    files: dict[str, str]
    section: Markup
    notes: list[str]


def kept_runs(runs: Sequence[Run], option: str) -> list[Kept]:
    """The runs whose negatives are not random (all, where there is no other) and that kept embeddings.

    Raises:
        UsageError: none of them did, or none has pictures of both kinds and negative labels.
        NeglabelError: something in them is damaged.
    """
    chosen = [run for run in runs if not run.random] or list(runs)
    kept = [run for run in chosen if has_kept(run)]
    if not kept:
        raise UsageError(
            f"{option} needs the embeddings of a run; run `score` again with --keep-embeddings (cheap with --cache)"
        )
    able = [run for run in kept if run.negatives.count and _both_kinds(run)]
    if not able:
        raise UsageError(f"{option} needs negative labels and pictures named with --id and with --ood; give such a run")
    return [read_kept(run) for run in able]


def _both_kinds(run: Run) -> bool:
    return all(any(data.rows for data in run.of_role(role)) for role in ("id", "ood"))
