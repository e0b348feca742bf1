"""What of two runs must be equal, how it is read, and which option makes it so."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from neglabel import NeglabelError
from neglabel.corpora.uri import location
from neglabel.pipeline import files
from neglabel.pipeline.report.read import Run

_MODEL = ("model", "checkpoint_sha256", "quick_gelu", "embed_dim")


def considered(run: Run) -> int:
    """Candidates that the negatives were chosen from: those drawn, else all that nothing took out."""
    counts = run.negatives.metadata["counts"]
    if counts.get("sampled") is not None:
        return int(counts["sampled"])
    return int(counts["candidates"]) - sum(int(counts.get(k) or 0) for k in ("duplicates", "id_names", "excluded"))


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
            found.append(files.read_json(location(path) / "manifest.json", "neglabel-candidates").get("prompts"))
        except NeglabelError:
            return None
    return _one([json.dumps(prompts, sort_keys=True, ensure_ascii=False) for prompts in found])


def _one(values: Sequence[str]) -> Any:
    return sorted(set(values)) or None


def _temperatures(run: Run) -> Any:
    return [f"{entry['name']}={entry.get('temperature')}" for entry in run.manifest["scores"]]


def _groups(run: Run) -> Any:
    found = []
    for entry in run.manifest["scores"]:
        fused = f" ({entry['fused']} fused)" if entry.get("fused") else ""
        found.append(f"{entry['name']}: {entry.get('groups') or 1}{fused}")
    return found


def _bank(run: Run) -> Any:
    """Features and classes that scores were fitted to."""
    about = run.manifest.get("bank")
    if not about:
        return "none"
    keys = ("rows", "features_sha256", "classes_sha256")
    return {key: about[key] for key in keys if key in about}


#: What must be equal, how to read it, and what makes it equal; ``{least}``: the fewest candidates of any run.
RULES: Sequence[tuple[str, Callable[[Run], Any], str]] = (
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
    ("the banks", _bank, "score both with the same --bank"),
    ("the temperatures", _temperatures, "score both with the same --temperature"),
    ("the groups", _groups, "score both with the same --groups"),
    ("the orders of groups", lambda run: _settings(run, "group_order"), "score both with the same --group-order"),
    ("the negatives left out of groups", lambda run: _settings(run, "group_drop"),
     "score both with the same --group-drop"),
    ("the seeds of groups", lambda run: _settings(run, "seed"), "score both with the same --seed"),
)  # fmt: skip
#: Equal where every run tells; a run that doesn't tell is believed.
WHERE_KNOWN: Sequence[tuple[str, Callable[[Run], Any], str]] = (
    ("the prompts of the words", _prompts, "encode both with the same --prompt"),
    ("the pictures' embeddings", _digests, "score both with the same model, pictures and device"),
)
