"""The words of a shard, ready for what follows: prompts, the columns of its files, and a digest. Needs no model."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neglabel.corpora.candidate import Candidate, Rejection
from neglabel.pipeline.plan import ShardPlan
from neglabel.pipeline.prompts import Prompts


class ShardWords(NamedTuple):
    """A shard before its embeddings; from process to process it costs a fraction of its :class:`ShardPlan`.

    Attributes:
        prompts: of the ``n`` words, in order: one each, or as many as ``each`` says.
        words: the string columns of the shard's file, ``n`` rows.
        rejected: its file of rejections, maybe without rows.
        digest: see :meth:`ShardPlan.digest`.
        counts: see :meth:`ShardPlan.counts`.
        each: (n,) how many prompts a word has; None: one each. The mean of their embeddings is its own.
    """

    prompts: list[str]
    words: pa.Table
    rejected: pa.Table
    digest: str
    counts: dict[str, Any]
    each: NDArray[np.int64] | None = None


def pack(plan: ShardPlan, prompts: Prompts) -> ShardWords:
    """What all further steps need of ``plan``."""
    columns = list(zip(*plan.words, strict=True)) if plan.words else [()] * len(Candidate._fields)
    texts, parts, languages = (columns[Candidate._fields.index(name)] for name in ("text", "pos", "language"))
    # A rejected text may be no Unicode at all: what can't be stored is shown as \\udcff.
    rejected = [[field.encode("utf-8", "backslashreplace").decode() for field in row] for row in plan.rejected]
    made, each = list(map(prompts.of, texts, parts, languages)) if prompts.single else [], None
    if not prompts.single:
        found = list(map(prompts.each, texts, parts, languages))
        made, each = [prompt for some in found for prompt in some], np.array([len(some) for some in found], np.int64)
    return ShardWords(
        made,
        pa.table({n: pa.array(c, pa.string()) for n, c in zip(Candidate._fields, columns, strict=True)}),
        pa.table({n: pa.array([row[i] for row in rejected], pa.string()) for i, n in enumerate(Rejection._fields)}),
        plan.digest(),
        plan.counts(),
        each,
    )
