"""Prompts → unit vectors, through the text tower of any open_clip model, by the fastest exact path it allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from neglabel import NeglabelError
from neglabel.pipeline.models import LoadedModel
from neglabel.pipeline.prefix_tree import Ints, Sequences
from neglabel.pipeline.products import NO_KERNEL
from neglabel.pipeline.tokens import Tokens
from neglabel.pipeline.tower_check import Tower, settle
from neglabel.pipeline.transfer import Landing, to_host

Floats = NDArray[np.float32]
#: Tokens a batch. On a CPU more would leave the cache; a GPU wants many rows a launch.
TOKEN_BUDGET = {"cpu": 3_072, "cuda": 65_536}
#: What a RuntimeError says where the system gives no memory: PyTorch's allocator, C++, oneDNN.
NO_MEMORY = ("can't allocate memory", "bad_alloc", "could not create a memory", NO_KERNEL)


class Tokenised(NamedTuple):
    """Prompts on their way to the tower: ``sequences`` of ``n`` prompts, and (n,) whether the tokenizer cut one."""

    sequences: Sequences
    truncated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.truncated)


class TextEncoder:
    """The text tower of an open_clip model with its tokenizer.

    A prompt's embedding depends on the prompts beside it by rounding only (below 1e-6 in float32).
    """

    def __init__(
        self, model: Any, tokenizer: Any, batch_size: int = 256, token_budget: int | None = None,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """
        Args:
            batch_size: prompts a forward pass, where a tower takes none but padded prompts.
            token_budget: tokens a batch, everywhere else; by default what suits the device.
            notice: gets one line where no fast path is open, or where the one that seemed to be doesn't agree.
        """
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.notice = notice
        self.context_length = int(getattr(tokenizer, "context_length", None) or model.context_length)
        self._token_budget = token_budget
        #: The smallest budget that the last call came down to: halved where memory ran out.
        self.budget_used = 0

    @classmethod
    def of(
        cls, loaded: LoadedModel, batch_size: int = 256, notice: Callable[[str], None] = lambda _: None
    ) -> TextEncoder:
        """The text encoder of a model that :func:`neglabel.load_model` gave."""
        return cls(loaded.model, loaded.tokenizer, batch_size, notice=notice)

    @property
    def path(self) -> str:
        """``prefix-tree``, ``cut`` or ``plain``: how this tower is run, settled and tried when first asked for."""
        return self._settled[0]

    @property
    def token_budget(self) -> int:
        """Tokens a batch, padding included where there is any."""
        if self.path == "plain":
            return self.batch_size * self.context_length
        return self._token_budget or TOKEN_BUDGET.get(self._device().type, TOKEN_BUDGET["cuda"])

    def encode(self, prompts: Sequence[str], unit: bool = True) -> Floats:
        """``n`` prompts → (n, D) float32, rows of length 1 (normalised in float32, ``h = f_text(prompt(y))``, Eq. 1).

        Without ``unit`` rows are as long as the tower makes them.
        A prompt longer than the model's context is cut as open_clip cuts it; see :meth:`truncated`.
        """
        if not len(prompts):
            return np.empty((0, self.encode([""]).shape[1]), np.float32)
        embeddings: Floats | None = None
        for rows, block in self.batches(self.tokenise(prompts), unit):
            if embeddings is None:
                embeddings = np.empty((len(prompts), block.shape[1]), np.float32)
            embeddings[rows] = block
        assert embeddings is not None
        return embeddings

    def tokenise(self, prompts: Sequence[str]) -> Tokenised:
        """What :meth:`batches` takes. For one thread at a time, which may be another than the tower's."""
        ids, truncated = self._tokens.encode(prompts)
        return Tokenised(self._settled[1].sequences(ids), truncated)

    def batches(self, prompts: Tokenised, unit: bool = True) -> Iterator[tuple[Ints, Floats]]:
        """The embeddings as they are ready: ``(rows, (len(rows), D))``, every row of the prompts once.

        The batches depend on these prompts and the token budget alone. Where memory runs out the budget is halved
        for the rest of this call; the next begins with the whole one. On a GPU the next batch is planned and begun
        while one is worked on.

        Raises:
            NeglabelError: there is no memory for a single prompt.
        """
        if not len(prompts):
            return
        tower, budget, sequences, done = self._settled[1], self.token_budget, prompts.sequences, 0
        self.budget_used = budget
        coming: tuple[int, int, Landing] | None = None
        while done < len(sequences.lengths):
            rest = _from(sequences, done)
            for start, stop in pairwise((tower.cut(rest, budget) + done).tolist()):
                landing = _attempt(tower, sequences, start, stop, unit)
                if coming:
                    yield _rows(sequences, *coming)
                    coming = None
                if landing is None:
                    if stop - start == 1:
                        raise NeglabelError("the text tower finds no memory for one prompt; use --device cpu") from None
                    self.budget_used = budget = max(budget // 2, 1)
                    break
                coming, done = (start, stop, landing), stop
        if coming:
            yield _rows(sequences, *coming)

    def truncated(self, prompts: Sequence[str]) -> NDArray[np.bool_]:
        """(n,) whether the tokenizer had to cut a prompt to the model's context."""
        return self._tokens.encode(prompts)[1]

    def lengths(self, prompts: Sequence[str]) -> list[int]:
        """Tokens of each prompt, start and end included, as if the context had no end."""
        return self._tokens.lengths(prompts)

    @cached_property
    def _tokens(self) -> Tokens:
        return Tokens(self.tokenizer, self.context_length)

    def _device(self) -> torch.device:
        device: torch.device = next(self.model.parameters()).device
        return device

    @cached_property
    def _settled(self) -> tuple[str, Tower]:
        path, tower, why = settle(self.model, self.tokenizer, self._tokens.ids, self.context_length)
        if why:
            self.notice(f"the text tower is run as it is, every prompt padded to {self.context_length} tokens: {why}")
        return path, tower


def _attempt(tower: Tower, sequences: Sequences, start: int, stop: int, unit: bool) -> Landing | None:
    """A batch's embeddings; None where there is no memory for it."""
    try:
        return to_host(tower.run(sequences, start, stop, **({} if unit else {"unit": False})))
    except (MemoryError, RuntimeError) as error:
        if not _no_memory(error):
            raise
        tower.release()
    # Outside the handler: the error holds the tensors of the failed pass.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def _no_memory(error: MemoryError | RuntimeError) -> bool:
    """Whether an error says that memory ran out: only on a GPU does PyTorch have a class of its own for it."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return any(sign in str(error) for sign in NO_MEMORY)


def _rows(sequences: Sequences, start: int, stop: int, landing: Landing) -> tuple[Ints, Floats]:
    """A batch as rows of the prompts: equal prompts were computed once."""
    counts = np.diff(sequences.starts[start : stop + 1])
    return sequences.order[sequences.starts[start] : sequences.starts[stop]], landing.wait().repeat(counts, 0)


def _from(sequences: Sequences, row: int) -> Sequences:
    ids, lengths, shared, order, starts = sequences
    return Sequences(ids[row:], lengths[row:], shared[row:], order, starts[row:])
