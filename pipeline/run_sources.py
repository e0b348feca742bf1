"""``neglabel run`` with ``[sources]``: which source of words makes better negatives, all else being equal.

Each source is cut to the same number N of candidates and mined for the same number M of negatives; one row more is the
union: N candidates drawn from all of them, in equal shares. The words are counted first, without a model, so that what
can't be equal is refused before any work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neglabel import UsageError
from neglabel.corpora import check_corpus
from neglabel.corpora.text import normalise
from neglabel.pipeline.files import claim_folder
from neglabel.pipeline.labels import label_names
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.presets import PRESETS
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.run_settings import UNION, RunSettings
from neglabel.pipeline.run_stages import Stages
from neglabel.pipeline.source_words import Words, candidates_each, count_words

#: What makes the sources comparable is the run's to decide.
FIXED: Mapping[str, frozenset[str]] = {
    "encode": frozenset({"sample", "seed", "weights", "limit"}),
    "mine": frozenset({"sample", "seed", "dedupe", "random", "text_out"}),
    "score": frozenset({"keep_embeddings"}),
    "report": frozenset({"compare"}),
}


def run_sources(settings: RunSettings, reporter: Reporter, folder: Path = Path()) -> dict[str, Any]:
    """Encode, mine and score each source and their union, and compare them on one page.

    Args:
        settings: with ``sources``.
        folder: what relative paths are relative to.

    Returns:
        ``sources`` (by name, the union last: summaries of ``encode`` (not of the union), ``mine``, ``score``),
        ``candidates`` (N), ``report`` (its summary), ``out``.

    Raises:
        UsageError: what any stage would refuse; options that make M depend on the source; a source without words, or
            with fewer than asked for.
    """
    from neglabel.pipeline.encode import encode
    from neglabel.pipeline.mine import check, mine
    from neglabel.pipeline.report import report
    from neglabel.pipeline.run import FORMAT, claim
    from neglabel.pipeline.score import score
    from neglabel.pipeline.score_plan import data_sets, options_checked

    make = Stages(settings, folder, FIXED)
    names = list(settings.sources or ())
    stores = {name: make.out / "candidates" / name for name in names}
    negatives = {name: make.out / "negatives" / f"{name}.parquet" for name in (*names, UNION)}
    scoring = {
        name: make.score(path, make.out / "scores" / name, keep_embeddings=True) for name, path in negatives.items()
    }
    reporting = make.report([each.out for each in scoring.values()], compare="corpus")
    # What the later stages would refuse is refused now, before the words are encoded.
    first = make.mine(list(stores.values()), negatives[UNION])
    excluded, top = check(first), _one_size(first, settings)
    options_checked(scoring[UNION])
    data_sets(scoring[UNION])
    encoding = {name: make.encode((settings.sources or {})[name], store) for name, store in stores.items()}
    for each in encoding.values():
        for spec in each.corpus:
            check_corpus(spec)
    claim_folder(make.out, FORMAT, create=False)
    if (make.out / "candidates" / "manifest.json").is_file():
        raise UsageError(f"--out {make.out} holds a run without [sources]; name a new folder")
    never = _never(first, settings, excluded)
    words = {name: count_words(each.corpus, each.dedupe, never, name, reporter) for name, each in encoding.items()}
    n = candidates_each(words, settings.source_candidates, top)
    # Drawn with what mining drops on top: so each has N left, and the union draws from stores that are equally large.
    drawn = n + max(each.dropped for each in words.values())
    if top == n:
        reporter.warn(f"all {n:,} candidates of a source are kept, so nothing is mined; give a smaller [mine] top")
    reporter.say(f"run: {n:,} candidates of each source, {top:,} negative labels; {_listed(words)}")
    claim(make.out)
    made: dict[str, dict[str, Any]] = {name: {} for name in negatives}
    for name, store in stores.items():
        cut = {"sample": min(drawn, words[name].distinct), "seed": settings.source_seed}
        made[name]["encode"] = encode(make.encode((settings.sources or {})[name], store, **cut), reporter)
    for name, path in negatives.items():
        # With the seed of the stores' own draw the lowest hashes of the larger source would win, not equal shares.
        cut = {"sample": n, "seed": settings.source_seed + (name == UNION)}
        mining = make.mine(list(stores.values()) if name == UNION else [stores[name]], path, **cut)
        made[name]["mine"] = mine(mining, reporter)
        if (left := made[name]["mine"]["counts"]["sampled"]) < n:
            raise UsageError(
                f"[sources] {name} has {left:,} candidates left, fewer than the {n:,} of the others; "
                f"give source_candidates = {left} or less, and a new out"
            )
    for name, scores in scoring.items():
        made[name]["score"] = score(scores, reporter)
    return {"sources": made, "candidates": n, "report": report(reporting, reporter), "out": str(make.out)}


def _one_size(mining: MineSettings, settings: RunSettings) -> int:
    """M. Raises UsageError where it would depend on the source."""
    preset = PRESETS[settings.preset]
    per_pos = preset.per_pos if mining.per_pos is None else mining.per_pos
    top = mining.top if mining.top is not None or mining.top_share is not None else preset.top
    if per_pos or top is None:
        which = "each part of speech ranked apart" if per_pos else "a share of the candidates"
        raise UsageError(
            f"[sources] need one number of negative labels for all, not {which} (preset {settings.preset}); "
            "give [mine] top = M and per_pos = false"
        )
    return top


def _never(mining: MineSettings, settings: RunSettings, excluded: Sequence[str]) -> frozenset[str]:
    """Normalised words that mining drops."""
    keep = PRESETS[settings.preset].keep_id_names if mining.keep_id_names is None else mining.keep_id_names
    return frozenset(map(normalise, (*excluded, *(() if keep else label_names(mining.label_sets[0])))))


def _listed(words: Mapping[str, Words]) -> str:
    return ", ".join(f"{name} has {each.candidates:,}" for name, each in words.items())
