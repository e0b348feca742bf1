"""Stage 1: words of corpora → text embeddings in shards, with a manifest. Resumes where it was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neglabel import NeglabelError
from neglabel.corpora import Candidate, check_corpus, provenance, rows_expected
from neglabel.corpora.draw import silent
from neglabel.pipeline.clock import Clock
from neglabel.pipeline.encode_manifest import FORMAT, finish, open_manifest, place, recorded, save
from neglabel.pipeline.encode_reader import Reading, Words
from neglabel.pipeline.engine import check_engine
from neglabel.pipeline.estimate import estimate
from neglabel.pipeline.files import claim_folder
from neglabel.pipeline.lock import one_writer
from neglabel.pipeline.places import corpus_in
from neglabel.pipeline.prefix_tree import PLANNER_VERSION
from neglabel.pipeline.presets import PRESETS
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.prompts import Prompts
from neglabel.pipeline.settings import EncodeSettings

if TYPE_CHECKING:
    # At run time torch is imported only where something is encoded: a dry run stays small.
    from neglabel.pipeline.encode_local import Local
    from neglabel.pipeline.encode_ray import RayPool
    from neglabel.pipeline.shard_words import ShardWords
    from neglabel.pipeline.shards import ShardRecord


@one_writer(lambda settings, *_: [] if settings.dry_run else [("--out", settings.out)])
def encode(settings: EncodeSettings, reporter: Reporter) -> dict[str, Any]:
    """Encode the candidates of ``settings.corpus`` into ``settings.out`` (see ``docs/formats.md``).

    Killed at any moment and started again, it continues after the last finished shard, and its tables equal those of
    an undisturbed run (same machine, threads and device).

    Returns:
        the summary: ``out, counts, words`` (a tally a corpus), ``shards, encoded`` (rows of this run), ``seconds,
        rows_per_second, time`` (busy seconds by step: the steps run at once); with ``dry_run`` that of
        :func:`neglabel.pipeline.estimate.estimate`.

    Raises:
        UsageError: unknown corpus or model, a prompt without ``{}``, a folder with something else or other settings.
        NeglabelError: weights or corpus can't be read, the disk refuses.
    """
    start = time.monotonic()
    check_engine(settings.engine, settings.address)
    preset = PRESETS[settings.preset]
    specs = [corpus_in(Path.cwd(), spec) for spec in settings.corpus or (preset.corpus,)]
    prompts = Prompts({**preset.prompts, **settings.prompt})
    for spec in specs:
        check_corpus(spec)
    clock = Clock()
    if settings.dry_run or settings.out is None:
        return estimate(settings, specs, prompts, reporter)

    claim_folder(settings.out, FORMAT, create=False)
    with clock.busy("load"):
        loading = _engine(settings, reporter)
    with loading as engine:
        return _encode(settings, specs, prompts, engine, clock, start, reporter)


def _engine(settings: EncodeSettings, reporter: Reporter) -> Local | RayPool:
    if settings.engine == "ray":
        from neglabel.pipeline.encode_ray import RayPool

        return RayPool(settings, reporter)
    from neglabel.pipeline.encode_local import Local

    return Local(settings, reporter)


def _encode(
    settings: EncodeSettings, specs: list[Any], prompts: Prompts, engine: Local | RayPool, clock: Clock, start: float,
    reporter: Reporter,
) -> dict[str, Any]:  # fmt: skip
    assert settings.out is not None
    facts = engine.facts
    # The first shard is planned before anything is written: an empty or unreadable corpus leaves nothing behind.
    words = Words(
        Reading(tuple(specs), settings.dedupe, settings.limit, settings.shard_rows, prompts.templates), clock,
        _too_long(engine, prompts) if settings.too_long == "drop" else None,
        (settings.sample, settings.seed, settings.weights) if settings.sample else None,
        lambda steps: reporter.track(steps, "words", rows_expected(specs), size=int),
        apart=engine.apart,
    )  # fmt: skip
    shards = iter(words)
    first = next(shards)
    for sentence in words.warnings():
        reporter.warn(sentence)
    claim_folder(settings.out, FORMAT)
    effective = settings.model_copy(
        update={"corpus": tuple(specs), "prompt": prompts.templates, "pretrained": facts.identity["pretrained"]}
    )
    manifest = open_manifest(
        effective,
        {
            "corpus": specs,
            "sources": [provenance(spec) for spec in specs],
            "preset": settings.preset,
            "prompts": prompts.templates,
            "model": dict(facts.identity),
            "precision": facts.precision,
            **facts.choice,
            "device": facts.kind,
            **{name: getattr(settings, name) for name in (
                "storage", "dedupe", "shard_rows", "batch_size", "limit", "sample", "too_long")},
            "seed": settings.seed if settings.sample else None,
            "weights": list(settings.weights) or None,
            "path": facts.path,
            "planner": PLANNER_VERSION,
            "token_budget": facts.token_budget,
            "part": settings.part,
        },
    )
    expected = rows_expected(specs, settings.sample or settings.limit)
    if expected and settings.part:
        expected = -(-expected // settings.part[1])
    reporter.say(
        f"encode: {settings.model} on {engine.device}, {facts.precision}, stored as {settings.storage}; "
        + (f"up to {expected:,} words expected" if expected else "number of words not known beforehand")
    )
    kept, encoded = sum(record["rows"] for _, record in recorded(manifest)), 0
    every = chain(iter([first]), shards)
    del first  # a shard's words are let go when it is written
    with closing(shards), closing(_work(settings, every, manifest, engine, clock, start, reporter)) as work:
        for rows in reporter.track(work, "encode", expected, "words", kept, size=int):
            encoded += rows
    if engine.failed:
        many = len(engine.failed) > 1
        raise NeglabelError(
            f"{settings.out}: {len(engine.failed)} shard{'s' * many} can't be encoded, the others are done; "
            f"{'; '.join(engine.failed[:5])}{'; …' * (len(engine.failed) > 5)}. "
            "Run it again to encode only what is missing"
        )
    finish(settings.out, manifest, words.records())
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
        "time": {step: round(busy, 3) for step, busy in {**clock.seconds, "wall": seconds}.items()},
        "warnings": reporter.warnings,
    }


def _too_long(engine: Local | RayPool, prompts: Prompts) -> Callable[[Candidate], str | None]:
    encoder = engine.encoder

    def unfit(word: Candidate) -> str | None:
        prompt = prompts.of(word.text, word.pos, word.language)
        # No token is less than a character of ASCII; start, end and what a tokenizer puts before a word are a few.
        if prompt.isascii() and len(prompt) + 8 <= encoder.context_length:
            return None
        return "too-long-for-model" if encoder.truncated([prompt])[0] else None

    return unfit


def _work(
    settings: EncodeSettings, words: Iterable[ShardWords], manifest: dict[str, Any], engine: Local | RayPool,
    clock: Clock, began: float, reporter: Reporter,
) -> Generator[int, None, None]:  # fmt: skip
    """Encodes the shards that are to do, wherever the engine does, and records each as it is done; yields rows."""
    from neglabel.pipeline.encode_work import to_do

    assert settings.out is not None
    folder, before = settings.out, dict(manifest.get("time", {}))

    def record(number: int, shard: ShardRecord) -> None:
        place(manifest, number, shard)
        spent = {**clock.seconds, "wall": time.monotonic() - began}
        manifest["time"] = {step: round(before.get(step, 0) + more, 3) for step, more in spent.items()}
        save(folder, manifest)

    yield from engine.run(to_do(words, manifest, folder, reporter), record, clock)
