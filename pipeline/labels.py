"""ID labels: a text file, encoded here, or Parquet with embeddings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neglabel import NeglabelError, UsageError
from neglabel.corpora.uri import Location
from neglabel.pipeline import store
from neglabel.pipeline.named_labels import NamedLabels
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.prompts import check_template

if TYPE_CHECKING:
    from neglabel.pipeline.text_encoder import TextEncoder


@dataclass(frozen=True)
class Labels:
    """K ID labels: names in class order, (K, D) float32 unit vectors, and the prompts that made them."""

    names: tuple[str, ...]
    embedding: NDArray[np.float32]
    prompts: tuple[str, ...]


def is_parquet(path: Location | NamedLabels) -> bool:
    return path.suffix.lower() == ".parquet"


def read_lines(path: Location | NamedLabels, what: str) -> list[str]:
    """Non-empty lines of a UTF-8 text file, stripped. Raises UsageError where it is missing, no text, or empty."""
    try:
        # Not splitlines(), which would also split at characters that a name may hold (U+2028, a vertical tab).
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n")]
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} {path} is not UTF-8 text (byte {error.start:,}); give one name a line") from None
    except OSError as error:
        raise UsageError(f"{what} {path} can't be read: {error.strerror}") from None
    if not any(lines):
        raise UsageError(f"{what} {path} is empty; give one name a line")
    return [line for line in lines if line]


def label_names(path: Location | NamedLabels) -> list[str]:
    """The names alone, in class order. Raises as :func:`load_labels` does."""
    if not is_parquet(path):
        return read_lines(path, "labels")
    store.require_columns(path, ["text"])
    with store.reading(path):
        column = store.open_parquet(path).read(columns=["text"])["text"]
    return store.texts(path, column, "text")


def load_labels(
    path: Location | NamedLabels, prompts: Sequence[str], encoder: Callable[[], TextEncoder] | None, reporter: Reporter
) -> Labels:
    """Read ID labels; several prompts are averaged after normalising, and the mean normalised again.

    A name that occurs twice warns and stays: classes keep their numbers.

    Args:
        encoder: called only for a text file; None where no model is known.

    Raises:
        UsageError: missing or empty file, no ``text`` column, a prompt without ``{}``, no model for a text file.
    """
    if is_parquet(path):
        store.require_columns(path, ["text", "embedding"])
        blocks = list(store.stream(path, ["text"]))
        names = [name for block in blocks for name in store.texts(path, block.columns["text"], "text")]
        if not names:
            raise UsageError(f"labels {path} has no rows")
        if len({b.embedding.shape[1] for b in blocks}) > 1:
            raise NeglabelError(f"labels {path} have embeddings of differing length; use one model for all")
        embedding, prompts = store.unit(np.concatenate([b.embedding for b in blocks])), ()
    else:
        names = read_lines(path, "labels")
        for template in prompts:
            check_template(template, f"--label-prompt {template}")
        if encoder is None:
            raise UsageError(
                f"labels {path} is text and nothing says which model encodes it; give --model, "
                "or labels as Parquet with text, embedding"
            )
        embedding = encode_names(names, prompts, encoder())
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        reporter.warn(
            f"labels {path}: more than once there {'is' if len(repeated) == 1 else 'are'} {', '.join(repeated[:3])}"
            f"{' and others' if len(repeated) > 3 else ''}; kept as they are, classes keep their numbers"
        )
    return Labels(tuple(names), embedding, tuple(prompts))


def encode_names(names: Sequence[str], prompts: Sequence[str], encoder: TextEncoder) -> NDArray[np.float32]:
    """(K, D): the normalised mean over prompt templates of each name's unit embeddings."""
    total = sum(encoder.encode([p.replace("{}", name) for name in names]).astype(np.float64) for p in prompts)
    if isinstance(total, int):
        raise NeglabelError("no prompt template for labels; give --label-prompt")
    return store.unit(total, np.float64).astype(np.float32)
