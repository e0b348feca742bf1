"""What `encode` says at its end, or with ``--dry-run``, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from neglabel.pipeline.clock import shares


def lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a summary of :func:`neglabel.pipeline.encode.encode`."""
    counts = summary["counts"]
    by_pos = ", ".join(f"{n:,} {pos}" for pos, n in counts["by_pos"].items())
    rejected = ", ".join(f"{n:,} {reason}" for reason, n in counts["rejected"].items()) or "none"
    if summary["out"] is None:
        yield f"{counts['candidates']:,} candidates ({by_pos}); rejected: {rejected}"
    else:
        shards = f"{summary['shards']} shard{'s' * (summary['shards'] != 1)}"
        yield (
            f"{summary['out']}: {counts['candidates']:,} candidates ({by_pos}) in {shards}; "
            f"{counts['truncated']:,} truncated; rejected: {rejected}; "
            f"{summary['encoded']:,} encoded in {summary['seconds']:.1f} s"
        )
    if summary["out"] is not None and summary["encoded"]:
        yield f"  at once, of the time: {shares(summary['time'])}"
    for words in summary["words"]:
        yield from _corpus(words, many=len(summary["words"]) > 1 or summary["out"] is None)
    if summary["out"] is None:
        yield from _costs(summary)


def _corpus(words: Mapping[str, Any], many: bool) -> Iterator[str]:
    """What became of one corpus, where there are several; shares by part of speech where it was sampled."""
    drawn = words["drawn"] != words["new"] or words["asked"] is not None
    if many or drawn:
        rejected = sum(words["rejected"].values())
        asked = "" if words["asked"] is None else f" of {words['asked']:,} asked"
        yield (
            f"  {words['corpus']}: {words['met']:,} met = {rejected:,} rejected + {words['duplicate']:,} duplicate "
            f"+ {words['new']:,} new" + (f"; {words['drawn']:,} drawn{asked}" if drawn else "")
        )
    if drawn and words["drawn"]:
        shares = (
            f"{pos} {100 * words['drawn_by_pos'].get(pos, 0) / words['drawn']:.2f} % "
            f"(expected {100 * n / words['new']:.2f} %)"
            for pos, n in words["new_by_pos"].items()
        )
        yield f"    drawn: {', '.join(shares)}"


def _costs(summary: Mapping[str, Any]) -> Iterator[str]:
    tokens, unknown = summary["tokens"], summary["unknown"]
    if tokens["median"] is None:
        yield f"tokens a prompt: unknown ({unknown['tokens']})"
    else:
        how = "all looked at" if tokens["exact"] else "by the sample"
        dropped = ", which --too-long drop takes out" if summary["too_long"] == "drop" and tokens["truncated"] else ""
        yield (
            f"tokens a prompt, start and end included: median {tokens['median']}, 99 % at most {tokens['p99']}, "
            f"longest {tokens['longest']} (of {tokens['of']:,} prompts); {tokens['truncated']:,} longer than the "
            f"context of {tokens['context_length']} ({how}){dropped}"
        )
    yield f"disk: about {_size(summary['disk_bytes'])} ({summary['dimension']} numbers a word)"
    speed, model = summary["prompts_per_second"], f"{summary['model']} on {summary['device']}"
    yield f"the words took {_duration(summary['word_seconds'])}; encoding them " + (
        f"about {_duration(summary['encode_seconds'])} ({speed:,.1f} words/s, {model})"
        if speed
        else f"for an unknown time ({unknown.get('prompts_per_second', 'no words')})"
    )


def _size(number: int) -> str:
    """Bytes in decimal units."""
    for exponent, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "kB")):
        if number >= 1000**exponent:
            return f"{number / 1000**exponent:.1f} {unit}"
    return f"{number} bytes"


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"
