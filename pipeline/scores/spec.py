"""What a score is: its name, what it needs, and how it is computed from a block of pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from neglabel.pipeline.scores.bank import Bank, Fitted
from neglabel.pipeline.scores.block import Block
from neglabel.pipeline.scores.stable import Floats
from neglabel.pipeline.scores.stream import Stream, Texts

#: What a score may need. ``groups`` are used where there are any.
Need = Literal["labels", "negatives", "groups", "embeddings", "bank", "stream", "gradients", "no-texts", "generated"]
#: In words, what cosines to labels and negatives don't hold.
WORDS: Mapping[Need, str] = {
    "embeddings": "the embeddings of pictures and texts",
    "bank": "a bank of ID pictures' features",
    "stream": "the pictures as a stream, in order",
    "gradients": "pictures moved by the image tower's gradients",
    "no-texts": 'the "no" texts of CLIPN\'s own text tower',
    "generated": "labels generated for each picture by ZOC's own decoder",
}
Result = tuple[Floats, Floats]


@dataclass(frozen=True)
class ScoreSpec:
    """A score: (block, temperature) → score and logit, (n,) float64 each; high = ID.

    Exactly one of ``function``, ``fit`` and ``start`` is given. ``fit`` is for scores that need a bank: it is called
    once, and gives the function of (n, D) picture embeddings. ``start`` is for scores of a stream: (texts, temperature)
    → a :data:`~neglabel.pipeline.scores.stream.Stream`, begun anew for each.

    ``temperature``: its own; 1 where it has none (``tempered`` False), and then no other may be asked for.
    """

    name: str
    needs: frozenset[Need]
    function: Callable[[Block, float], Result] | None = None
    temperature: float = 1.0
    tempered: bool = True
    fit: Callable[[Bank], Fitted] | None = None
    start: Callable[[Texts, float], Stream] | None = None

    @property
    def needs_negatives(self) -> bool:
        """Without negative labels it says nothing (NaN)."""
        return "negatives" in self.needs

    @property
    def banked(self) -> bool:
        """It is fitted to a bank of ID features."""
        return "bank" in self.needs

    @property
    def streaming(self) -> bool:
        """A picture's score depends on the pictures before it."""
        return "stream" in self.needs

    @property
    def moving(self) -> bool:
        """It is of moved pictures (``--odin-noise``)."""
        return "gradients" in self.needs

    @property
    def grouped(self) -> bool:
        """It uses groups of negatives."""
        return "groups" in self.needs
