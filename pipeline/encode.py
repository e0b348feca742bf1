"""Stage 1: words of corpora → text embeddings in shards, with a manifest. Resumes where it was stopped."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from neglabel import UsageError
from neglabel.corpora import check_corpus, provenance, rows_expected
from neglabel.pipeline import config
from neglabel.pipeline.files import VERSION, claim_folder, read_json, versions, write_json, write_text
from neglabel.pipeline.models import load_model
from neglabel.pipeline.places import corpus_in
from neglabel.pipeline.plan import ShardPlan, merge_counts, plan_shards
from neglabel.pipeline.prefix_tree import PLANNER_VERSION
from neglabel.pipeline.presets import PRESETS
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.prompts import Prompts
from neglabel.pipeline.settings import EncodeSettings
from neglabel.pipeline.shards import ShardRecord, encode_shard, flaw, records_of
from neglabel.pipeline.text_encoder import TextEncoder

FORMAT = "neglabel-candidates"
#: What must agree for a store to be continued.
IDENTITY = ("corpus", "preset", "prompts", "model", "precision", "device", "storage", "dedupe", "shard_rows",
            "batch_size", "limit", "path", "planner", "token_budget")  # fmt: skip


def encode(settings: EncodeSettings, reporter: Reporter) -> dict[str, Any]:
    """Encode the candidates of ``settings.corpus`` into ``settings.out`` (see ``docs/formats.md``).

    Killed at any moment and started again, it continues after the last finished shard, and its tables equal those of
    an undisturbed run (same machine, threads and device).

    Returns:
        the summary: ``out, counts, shards, encoded`` (rows of this run), ``seconds, rows_per_second``.

    Raises:
        UsageError: unknown corpus or model, a prompt without ``{}``, a folder with something else or other settings.
        NeglabelError: weights or corpus can't be read, the disk refuses.
    """
    start = time.monotonic()
    preset = PRESETS[settings.preset]
    specs = [corpus_in(Path.cwd(), spec) for spec in settings.corpus or (preset.corpus,)]
    prompts = Prompts({**preset.prompts, **settings.prompt})
    for spec in specs:
        check_corpus(spec)
    claim_folder(settings.out, FORMAT, create=False)
    loaded = load_model(settings.model, settings.pretrained, settings.quickgelu, settings.device, settings.precision)
    encoder = TextEncoder.of(loaded, settings.batch_size, reporter.say)
    # The first shard is planned before anything is written: an empty or unreadable corpus leaves nothing behind.
    plans = plan_shards(specs, settings.dedupe, settings.shard_rows, settings.limit)
    first = next(plans)
    claim_folder(settings.out, FORMAT)
    effective = settings.model_copy(
        update={"corpus": tuple(specs), "prompt": prompts.templates, "pretrained": loaded.identity["pretrained"]}
    )
    manifest = _open_manifest(
        effective,
        {
            "corpus": specs,
            "sources": [provenance(spec) for spec in specs],
            "preset": settings.preset,
            "prompts": prompts.templates,
            "model": dict(loaded.identity),
            "precision": settings.precision,
            "device": loaded.device.type,
            **{name: getattr(settings, name) for name in ("storage", "dedupe", "shard_rows", "batch_size", "limit")},
            "path": encoder.path,
            "planner": PLANNER_VERSION,
            "token_budget": encoder.token_budget,
        },
    )
    expected = rows_expected(specs, settings.limit)
    reporter.say(
        f"encode: {settings.model} on {loaded.device}, {settings.precision}, stored as {settings.storage}; "
        + (f"up to {expected:,} words expected" if expected else "number of words not known beforehand")
    )
    kept = sum(record["rows"] for record in manifest["shards"])
    encoded = 0
    work = _work(settings, chain([first], plans), manifest, encoder, prompts, reporter)
    for rows in reporter.track(work, "encode", expected, "words", kept):
        encoded += len(rows)
    seconds = time.monotonic() - start
    return {
        "out": str(settings.out),
        "counts": manifest["counts"],
        "shards": len(manifest["shards"]),
        "encoded": encoded,
        "seconds": round(seconds, 3),
        "rows_per_second": round(encoded / seconds, 1),
        "warnings": reporter.warnings,
    }


def _work(
    settings: EncodeSettings,
    plans: Iterable[ShardPlan],
    manifest: dict[str, Any],
    encoder: TextEncoder,
    prompts: Prompts,
    reporter: Reporter,
) -> Iterator[range]:
    """Go through the plans; keep what is finished, encode the rest, and record each shard as it is done."""
    records: list[ShardRecord] = manifest["shards"]
    number = -1
    for number, plan in enumerate(plans):
        if number < len(records):
            if records[number]["words_sha256"] != plan.digest():
                raise UsageError(
                    f"--out {settings.out}: the corpus gives other words for shard {number} than when it was encoded; "
                    "name a new folder"
                )
            problem = flaw(records[number], settings.out)
            if problem is None:
                continue
            reporter.warn(f"{settings.out}: {problem}; encoding that shard again")
        for step in encode_shard(plan, number, settings.out, encoder, prompts, settings.storage):
            if isinstance(step, int):
                yield range(step)
            else:
                records[number : number + 1] = [step]
        _save(settings.out, manifest)
    if number + 1 < len(records):
        raise UsageError(f"--out {settings.out}: the corpus has fewer words than when encoded; name a new folder")
    if not manifest.get("complete"):
        manifest["complete"] = True
        _save(settings.out, manifest)


def _open_manifest(settings: EncodeSettings, identity: Mapping[str, Any]) -> dict[str, Any]:
    """A new manifest, written before any shard, or the folder's own, refused where it was made otherwise."""
    path = settings.out / "manifest.json"
    if not path.exists():
        manifest = {
            "format": FORMAT, "version": VERSION, **identity, "complete": False,
            "counts": merge_counts([]), "shards": [], "versions": versions(),
        }  # fmt: skip
        write_json(path, manifest)
        write_text(settings.out / "settings.toml", config.dump(settings))
        return manifest
    manifest = read_json(path, FORMAT)
    if not {"path", "planner", "token_budget"} <= manifest.keys():
        raise UsageError(
            f"--out {settings.out} was encoded by an earlier neglabel, in other batches than this one makes; "
            "it can be mined as it is, but to encode more name a new folder"
        )
    for name in IDENTITY:
        old, new = manifest.get(name), identity[name]
        if isinstance(old, dict) and isinstance(new, dict):
            name, old, new = next(
                ((f"{name}.{k}", old.get(k), new.get(k)) for k in {**old, **new} if _differ(k, old, new)), (name, 0, 0)
            )
        if old != new:
            raise UsageError(
                f"--out {settings.out} was encoded with {name} = {old!r}, not {new!r}; "
                "give the same settings to continue it, or name a new folder"
            )
    return {"sources": identity["sources"], **manifest, "shards": records_of(manifest, path)}


def _differ(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    # The path or tag by which the same weights were named is no difference; their checksum is.
    return key not in ("model", "pretrained") and old.get(key) != new.get(key)


def _save(folder: Path, manifest: dict[str, Any]) -> None:
    manifest["counts"] = merge_counts([record["counts"] for record in manifest["shards"]])
    write_json(folder / "manifest.json", manifest)
