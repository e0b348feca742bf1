"""``encode --dry-run``: what encoding would give and cost. Nothing is written, and no weights are opened."""

from __future__ import annotations

import ctypes
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from neglabel.corpora import Candidate, Spec, rows_expected
from neglabel.corpora.draw import Draw, records, silent
from neglabel.corpora.mixture import Mixture
from neglabel.corpora.sample import Sample
from neglabel.pipeline.estimate_size import Rejections, store_bytes
from neglabel.pipeline.model_config import ModelConfig, model_config
from neglabel.pipeline.plan import merge_counts, no_words
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.prompts import Prompts
from neglabel.pipeline.settings import EncodeSettings
from neglabel.pipeline.tower_probe import probe

#: Words whose prompts are tokenised and timed.
PROBED = 100_000
#: Prompts that may be too long for the model, beyond which their number is taken from the sample.
MAX_LONGER = 200_000


def estimate(
    settings: EncodeSettings, specs: Sequence[Spec], prompts: Prompts, reporter: Reporter
) -> dict[str, Any]:
    """Stream the corpora through cleaning, de-duplication and the sample; measure the rest on a part.

    Returns:
        ``out`` (None), ``counts`` and ``words`` as ``encode`` gives them (``truncated`` None where unknown),
        ``tokens`` (a prompt, start and end included: ``median, p99, longest``, of ``of`` prompts; ``context_length``;
        ``truncated`` and whether that is ``exact``), ``dimension``, ``disk_bytes``, ``prompts_per_second``,
        ``encode_seconds``, ``word_seconds``, ``device``, ``seconds``; ``unknown``: reasons for what is None.

    Raises:
        UsageError: unknown model, a corpus without words.
        NeglabelError: a corpus can't be read.
    """
    start = time.monotonic()
    model = model_config(settings.model)
    mixture = Mixture(specs, settings.dedupe, limit=settings.limit)
    draw = Draw(mixture, settings.sample or PROBED, settings.seed, settings.weights)
    longer = _Longer(prompts, model)
    rejected = Rejections()
    # Of a sample only the words drawn are encoded, so only those are looked at, when it is known.
    each = None if settings.sample else longer.see
    for _ in reporter.track(draw.run(rejected.see, each), "words", rows_expected(specs, settings.limit), size=int):
        pass
    words = draw.result()
    if not words:
        raise no_words(mixture)
    if settings.sample:
        for sentence in draw.warnings():
            reporter.warn(sentence)
        for word in words:
            longer.see(word)
        part = Sample[Candidate](PROBED, settings.seed, settings.dedupe)
        for word in words:
            part.offer(word)
        probed = part.result()
    else:
        mixture.all_drawn()
        probed = words
    del draw, words
    _give_back()
    word_seconds = time.monotonic() - start
    counts = _counts(mixture)
    for sentence in silent(records(mixture)):
        reporter.warn(sentence)
    reporter.say(f"encode --dry-run: measuring {settings.model} on {len(probed):,} prompts, with random weights")
    sampled = [prompt for word in probed for prompt in prompts.each(word.text, word.pos, word.language)]
    asked = longer.prompts or []
    found = probe(model, settings.device, settings.precision, settings.batch_size, sampled, asked)
    tokens = _tokens(found, model, counts["candidates"], exact=longer.prompts is not None)
    counts["truncated"] = tokens["truncated"]
    speed = found.get("prompts_per_second")
    vector = model.dimension * (2 if settings.storage == "float16" else 4)
    return {
        "out": None,
        "counts": counts,
        "words": records(mixture),
        "sample": settings.sample,
        "too_long": settings.too_long,
        "tokens": tokens,
        "dimension": model.dimension,
        "disk_bytes": store_bytes(counts, probed, rejected, vector),
        "model": settings.model,
        "device": found.get("device"),
        "prompts_per_second": speed and round(speed, 1),
        "encode_seconds": speed and round(counts["candidates"] * len(sampled) / len(probed) / speed, 1),
        "word_seconds": round(word_seconds, 1),
        "seconds": round(time.monotonic() - start, 1),
        "unknown": found["unknown"],
        "warnings": reporter.warnings,
    }


def _give_back() -> None:
    """Freed memory goes back to the system, where the C library would keep it (glibc): the tower comes on top of it."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


class _Longer:
    """Prompts that may exceed the context; ``prompts`` is None where they are too many to be kept."""

    def __init__(self, prompts: Prompts, model: ModelConfig) -> None:
        self._of = prompts.of
        # A token of CLIP's is at least a byte, and two places are for the start and the end. Other tokenizers may put
        # a space first, and their NFKC makes up to 18 characters of the 3 bytes of one.
        clip = not model.config["text_cfg"].get("hf_tokenizer_name")
        self._room, self._grows = (model.context_length - 2, 1) if clip else (model.context_length - 3, 6)
        self._template = max((len(t.encode()) - 2 for t in prompts.templates.values()), default=0)
        self.prompts: list[str] | None = []

    def see(self, word: Candidate) -> None:
        text = word.text
        if self._size(text) + self._template * self._grows <= self._room or self.prompts is None:
            return
        prompt = self._of(text, word.pos, word.language)
        if self._size(prompt) > self._room:
            self.prompts.append(prompt)
            if len(self.prompts) > MAX_LONGER:
                self.prompts = None

    def _size(self, text: str) -> int:
        """Tokens that ``text`` can't exceed."""
        return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")) * self._grows


def _counts(mixture: Mixture) -> dict[str, Any]:
    """As the store's ``counts``; ``by_source`` needs the words themselves, which are not kept."""
    parts = [
        {
            "candidates": tally.drawn.total(),
            "by_pos": dict(tally.drawn),
            "rejected": dict(tally.rejected + Counter({"duplicate": tally.duplicate})),
        }
        for tally in mixture.tallies
    ]
    counts = merge_counts(parts)
    del counts["by_source"]
    return counts


def _tokens(found: dict[str, Any], model: ModelConfig, rows: int, exact: bool) -> dict[str, Any]:
    lengths = np.array(found.get("tokens") or [], np.int64)
    result: dict[str, Any] = {
        "median": None, "p99": None, "longest": None, "of": len(lengths), "context_length": model.context_length,
        "truncated": None, "exact": exact,
    }  # fmt: skip
    if len(lengths):
        # Order statistics, no interpolation: a number of tokens is a whole number.
        median, p99 = (int(np.quantile(lengths, q, method="inverted_cdf")) for q in (0.5, 0.99))
        over = float((lengths > model.context_length).mean())
        result.update(median=median, p99=p99, longest=int(lengths.max()))
        result["truncated"] = found["truncated"] if exact else round(over * rows)
    return result
