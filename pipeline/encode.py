"""Stage 1: words of corpora → text embeddings in shards, with a manifest. Resumes where it was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neglabel import UsageError
from neglabel.corpora import Candidate, check_corpus, provenance, rows_expected
from neglabel.corpora.draw import Draw, records, silent
from neglabel.corpora.mixture import Mixture
from neglabel.pipeline.encode_manifest import FORMAT, open_manifest, save
from neglabel.pipeline.estimate import estimate
from neglabel.pipeline.files import claim_folder
from neglabel.pipeline.places import corpus_in
from neglabel.pipeline.plan import ShardPlan, plan_shards
from neglabel.pipeline.prefix_tree import PLANNER_VERSION
from neglabel.pipeline.presets import PRESETS
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.prompts import Prompts
from neglabel.pipeline.settings import EncodeSettings

if TYPE_CHECKING:
    # At run time torch is imported only where something is encoded: a dry run stays small.
    from neglabel.pipeline.shards import ShardRecord
    from neglabel.pipeline.text_encoder import TextEncoder


def encode(settings: EncodeSettings, reporter: Reporter) -> dict[str, Any]:
    """Encode the candidates of ``settings.corpus`` into ``settings.out`` (see ``docs/formats.md``).

    Killed at any moment and started again, it continues after the last finished shard, and its tables equal those of
    an undisturbed run (same machine, threads and device).

    Returns:
        the summary: ``out, counts, words`` (a tally a corpus), ``shards, encoded`` (rows of this run), ``seconds,
        rows_per_second``; with ``dry_run`` that of :func:`neglabel.pipeline.estimate.estimate`.

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
    if settings.dry_run or settings.out is None:
        return estimate(settings, specs, prompts, reporter)

    from neglabel.pipeline.precision import load_settled
    from neglabel.pipeline.text_encoder import TextEncoder

    claim_folder(settings.out, FORMAT, create=False)
    loaded, choice = load_settled(settings, reporter.say)
    encoder = TextEncoder.of(loaded, settings.batch_size, reporter.say)
    # The first shard is planned before anything is written: an empty or unreadable corpus leaves nothing behind.
    unfit = _too_long(encoder, prompts) if settings.too_long == "drop" else None
    mixture = Mixture(specs, settings.dedupe, unfit, settings.limit)
    draw = Draw(mixture, settings.sample, settings.seed, settings.weights) if settings.sample else None
    plans = plan_shards(
        mixture, settings.shard_rows, draw,
        lambda steps: reporter.track(steps, "words", rows_expected(specs), size=int),
    )  # fmt: skip
    first = next(plans)
    for sentence in draw.warnings() if draw else ():
        reporter.warn(sentence)
    claim_folder(settings.out, FORMAT)
    effective = settings.model_copy(
        update={"corpus": tuple(specs), "prompt": prompts.templates, "pretrained": loaded.identity["pretrained"]}
    )
    manifest = open_manifest(
        effective,
        {
            "corpus": specs,
            "sources": [provenance(spec) for spec in specs],
            "preset": settings.preset,
            "prompts": prompts.templates,
            "model": dict(loaded.identity),
            "precision": loaded.precision,
            **choice,
            "device": loaded.device.type,
            **{name: getattr(settings, name) for name in (
                "storage", "dedupe", "shard_rows", "batch_size", "limit", "sample", "too_long")},
            "seed": settings.seed if settings.sample else None,
            "weights": list(settings.weights) or None,
            "path": encoder.path,
            "planner": PLANNER_VERSION,
            "token_budget": encoder.token_budget,
        },
    )
    expected = rows_expected(specs, settings.sample or settings.limit)
    reporter.say(
        f"encode: {settings.model} on {loaded.device}, {loaded.precision}, stored as {settings.storage}; "
        + (f"up to {expected:,} words expected" if expected else "number of words not known beforehand")
    )
    kept = sum(record["rows"] for record in manifest["shards"])
    encoded = 0
    work = _work(settings, chain([first], plans), mixture, draw, manifest, encoder, prompts, reporter)
    for rows in reporter.track(work, "encode", expected, "words", kept):
        encoded += len(rows)
    for sentence in silent(manifest["words"]):
        reporter.warn(sentence)
    seconds = time.monotonic() - start
    return {
        "out": str(settings.out),
        "counts": manifest["counts"],
        "words": manifest["words"],
        "shards": len(manifest["shards"]),
        "encoded": encoded,
        "seconds": round(seconds, 3),
        "rows_per_second": round(encoded / seconds, 1),
        "warnings": reporter.warnings,
    }


def _too_long(encoder: TextEncoder, prompts: Prompts) -> Callable[[Candidate], str | None]:
    def unfit(word: Candidate) -> str | None:
        cut = encoder.truncated([prompts.of(word.text, word.pos, word.language)])[0]
        return "too-long-for-model" if cut else None

    return unfit


def _work(
    settings: EncodeSettings,
    plans: Iterable[ShardPlan],
    mixture: Mixture,
    draw: Draw | None,
    manifest: dict[str, Any],
    encoder: TextEncoder,
    prompts: Prompts,
    reporter: Reporter,
) -> Iterator[range]:
    """Go through the plans; keep what is finished, encode the rest, and record each shard as it is done."""
    from neglabel.pipeline.shards import encode_shard, flaw

    assert settings.out is not None
    done: list[ShardRecord] = manifest["shards"]
    number = -1
    for number, plan in enumerate(plans):
        if number < len(done):
            if done[number]["words_sha256"] != plan.digest():
                raise UsageError(
                    f"--out {settings.out}: the corpus gives other words for shard {number} than when it was encoded; "
                    "name a new folder"
                )
            problem = flaw(done[number], settings.out)
            if problem is None:
                continue
            reporter.warn(f"{settings.out}: {problem}; encoding that shard again")
        for step in encode_shard(plan, number, settings.out, encoder, prompts, settings.storage):
            if isinstance(step, int):
                yield range(step)
            else:
                done[number : number + 1] = [step]
        save(settings.out, manifest)
    if number + 1 < len(done):
        raise UsageError(f"--out {settings.out}: the corpus has fewer words than when encoded; name a new folder")
    words = records(mixture, draw)
    if not manifest.get("complete") or manifest.get("words") != words:
        manifest.update(words=words, complete=True)
        save(settings.out, manifest)
