"""What must be equal before two sources of words may be compared: everything but the words."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from neglabel import NeglabelError, UsageError
from neglabel.pipeline import files
from neglabel.pipeline.report.read import Run

#: Scores that negatives change, the one of the paper first.
COMPARED = ("neglabel", "neglabel-ungrouped")
_MODEL = ("model", "checkpoint_sha256", "quick_gelu", "embed_dim")


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
    for what, value, remedy in _RULES:
        ours = value(first)
        for run in runs[1:]:
            theirs = value(run)
            if ours != theirs:
                a, b = _apart(ours, theirs)
                raise UsageError(
                    f"--compare: {what} differ: {a} in {first.name}, {b} in {run.name}; {_remedied(remedy, runs)}"
                )
    return score


def considered(run: Run) -> int:
    """Candidates that the negatives were chosen from: those drawn, else all that nothing took out."""
    counts = run.negatives.metadata["counts"]
    if counts.get("sampled") is not None:
        return int(counts["sampled"])
    return int(counts["candidates"]) - sum(int(counts.get(k) or 0) for k in ("duplicates", "id_names", "excluded"))


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


def _settings(run: Run, key: str) -> Any:
    return (run.manifest.get("settings") or {}).get(key)


def _mined(run: Run, key: str) -> Any:
    return (run.negatives.metadata.get("settings") or {}).get(key)


def _model(run: Run) -> Any:
    found = run.negatives.metadata.get("model") or run.manifest.get("model") or {}
    return {key: found.get(key) for key in _MODEL}


def _sets(run: Run) -> Any:
    return [f"{data.name} ({data.role}, {data.rows:,})" for data in sorted(run.sets, key=lambda d: d.name)]


def _ids(run: Run) -> Any:
    return [f"{data.name}: {name}" for data in sorted(run.sets, key=lambda d: d.name) for name in data.texts("id")]


def _digests(run: Run) -> Any:
    """Of the pictures' embeddings, of runs that kept them."""
    entries = {str(entry["name"]): entry.get("embeddings_sha256") for entry in run.manifest["datasets"]}
    return [f"{name}: {digest}" for name, digest in sorted(entries.items()) if digest] or None


def _prompts(run: Run) -> Any:
    """Prompts of the words, by part of speech or language, where their stores can still be read."""
    found = []
    for path in _mined(run, "candidates") or ():
        try:
            found.append(files.read_json(Path(path) / "manifest.json", "neglabel-candidates").get("prompts"))
        except NeglabelError:
            return None
    return _one([json.dumps(prompts, sort_keys=True, ensure_ascii=False) for prompts in found])


def _one(values: Sequence[str]) -> Any:
    return sorted(set(values)) or None


def _temperatures(run: Run) -> Any:
    return [f"{entry['name']}={entry.get('temperature')}" for entry in run.manifest["scores"]]


def _groups(run: Run) -> Any:
    return [f"{entry['name']}: {entry.get('groups') or 1}" for entry in run.manifest["scores"]]


#: What must be equal, how to read it, and what makes it equal; ``{least}``: the fewest candidates of any run.
_RULES: Sequence[tuple[str, Callable[[Run], Any], str]] = (
    ("the ID labels", lambda run: list(run.labels), "score both with the same --labels"),
    ("the labels mined for", lambda run: (run.negatives.metadata.get("labels") or {}).get("names"),
     "mine both with the same --labels"),
    ("the data sets", _sets, "score both with the same --id, --ood and --images"),
    ("the pictures", _ids, "score both with the same --id, --ood and --images"),
    ("the models", _model, "encode both with the same --model and --pretrained"),
    ("the presets", lambda run: _mined(run, "preset"), "encode and mine both with the same --preset"),
    ("the prompts of labels", lambda run: _settings(run, "label_prompt"), "give both the same --label-prompt"),
    ("the prompts of labels when mining", lambda run: (run.negatives.metadata.get("labels") or {}).get("prompts"),
     "mine both with the same --label-prompt"),
    ("the numbers of candidates", considered, "cut both with `mine --sample {least}`, or let `neglabel run` with "
     "[sources] do it"),
    ("the numbers of negatives", lambda run: run.negatives.count, "mine both with the same --top"),
    ("the percentiles", lambda run: _mined(run, "percentile"), "mine both with the same --percentile"),
    ("the rules for duplicates", lambda run: _mined(run, "dedupe"), "mine both with the same --dedupe"),
    ("the ways to rank parts of speech", lambda run: _mined(run, "per_pos"), "mine both with or without --per-pos"),
    ("the rules for ID names", lambda run: _mined(run, "keep_id_names"), "mine both with or without --keep-id-names"),
    ("the scores", lambda run: list(run.scores), "score both with the same --score"),
    ("the temperatures", _temperatures, "score both with the same --temperature"),
    ("the groups", _groups, "score both with the same --groups"),
    ("the orders of groups", lambda run: _settings(run, "group_order"), "score both with the same --group-order"),
    ("the negatives left out of groups", lambda run: _settings(run, "group_drop"),
     "score both with the same --group-drop"),
    ("the seeds of groups", lambda run: _settings(run, "seed"), "score both with the same --seed"),
)  # fmt: skip
#: Equal where every run tells; a run that doesn't tell is believed.
_WHERE_KNOWN: Sequence[tuple[str, Callable[[Run], Any], str]] = (
    ("the prompts of the words", _prompts, "encode both with the same --prompt"),
    ("the pictures' embeddings", _digests, "score both with the same model, pictures and device"),
)


def fair_where_known(runs: Sequence[Run]) -> None:
    """As :func:`fair`, of what only some runs tell. Raises UsageError."""
    for what, value, remedy in _WHERE_KNOWN:
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
