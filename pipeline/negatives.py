"""Negative labels: the file that ``mine`` wrote, Parquet from elsewhere, or a plain list of words or prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from neglabel import NeglabelError, UsageError
from neglabel.corpora.text import MAX_TEXT
from neglabel.corpora.uri import Location
from neglabel.pipeline import store
from neglabel.pipeline.files import VERSION
from neglabel.pipeline.labels import is_parquet, read_lines
from neglabel.pipeline.prompts import check_template

if TYPE_CHECKING:
    from neglabel.pipeline.text_encoder import TextEncoder

FORMAT = "neglabel-negatives"
#: Bytes of a word or a gloss at most, and rows looked at together.
_LONGEST, _FEW = 4 * MAX_TEXT, 32


@dataclass(frozen=True)
class Negatives:
    """M negative labels in rank order.

    ``embedding``: (M, D) float32 unit vectors (D = 0 for an empty list); ``table``: every column but the embedding,
    with ``rank`` and ``text``; ``metadata``: what ``mine`` wrote, empty for files from elsewhere.
    """

    path: Location
    texts: tuple[str, ...]
    embedding: NDArray[np.float32]
    table: pa.Table
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def model(self) -> Mapping[str, Any] | None:
        """Identity of the model that embedded them; None where unknown."""
        return self.metadata.get("model")

    @property
    def random(self) -> bool:
        """Whether ``mine`` chose them at random (a baseline)."""
        return (self.metadata.get("settings") or {}).get("random") is not None

    @property
    def label_prompts(self) -> tuple[str, ...]:
        """The prompts of the ID labels they were mined against; empty where unknown."""
        return tuple((self.metadata.get("labels") or {}).get("prompts") or ())


def negatives_metadata(path: Location) -> dict[str, Any]:
    """What ``mine`` wrote into ``path``; empty for a plain list or Parquet from elsewhere. Cheap.

    Raises:
        UsageError: no such file, or a file of another stage or of a newer neglabel.
        NeglabelError: not a whole Parquet file.
    """
    if not path.is_file():
        raise UsageError(f"negatives {path}: no such file; name the file of `neglabel mine`, or a list of words")
    if not is_parquet(path):
        return {}
    store.require_columns(path, ["text", "embedding"])
    metadata = store.read_metadata(path)
    if metadata and metadata.get("format") != FORMAT:
        raise UsageError(f"{path} is a {metadata.get('format')} file, not negatives; name the file that `mine` wrote")
    version = metadata.get("version", VERSION)
    if not isinstance(version, int) or version > VERSION:
        raise UsageError(f"{path} was made by a newer neglabel (version {version}); update neglabel")
    for name in ("settings", "labels", "model"):
        value = metadata.get(name) or {}
        prompts = value.get("prompts") or () if isinstance(value, dict) else None
        if not isinstance(prompts, (list, tuple)) or not all(isinstance(prompt, str) for prompt in prompts):
            raise NeglabelError(f"{path}: its neglabel metadata is damaged ({name}); mine it again")
    return metadata


def load_negatives(path: Location, prompt: str, encoder: Callable[[], TextEncoder] | None) -> Negatives:
    """Read negative labels, or encode a text file of them (one a line, empty lines skipped).

    Args:
        prompt: template for a text file; ``{}`` where its lines are whole prompts.
        encoder: called only for a text file that is not empty; None where no model is known.

    Raises:
        UsageError: no such file, a column is missing, a prompt without ``{}``, or no model for a text file.
        NeglabelError: a damaged file; NaN, infinite or zero embeddings, with their row.
    """
    metadata = negatives_metadata(path)
    return _mined(path, metadata) if is_parquet(path) else _listed(path, prompt, encoder)


def _refuse_long_texts(path: Location) -> None:
    """Raises NeglabelError for a text that no word is as long as, before all of them are in memory."""
    file = store.open_parquet(path)
    columns = [f.name for f in file.schema_arrow if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
    batches = file.iter_batches(_FEW, columns=columns)
    start = 0
    while columns:
        with store.reading(path):
            batch = next(batches, None)
        if batch is None:
            return
        for name in columns:
            longest = pc.max(pc.binary_length(batch[name])).as_py() or 0
            if longest > _LONGEST:
                raise NeglabelError(
                    f"{path}, near row {start + 1:,}: `{name}` has a text of {longest:,} bytes; no word is that long, "
                    "mine it again"
                )
        start += len(batch)


def _mined(path: Location, metadata: Mapping[str, Any]) -> Negatives:
    _refuse_long_texts(path)
    blocks = [store.unit(block.embedding) for block in store.stream(path)]
    if len(found := {block.shape[1] for block in blocks}) > 1:
        raise NeglabelError(f"{path}: embeddings of differing length {sorted(found)[:3]}; use one model for all")
    file = store.open_parquet(path)
    rest = [name for name in file.schema_arrow.names if name != "embedding"]
    with store.reading(path):
        table = file.read(columns=rest)
    texts = tuple(store.texts(path, table["text"], "text"))
    if "rank" not in rest:
        table = table.add_column(0, "rank", pa.array(range(len(texts)), pa.int32()))
    embedding = np.concatenate(blocks) if blocks else np.empty((0, store.dimension(path) or 0), np.float32)
    return Negatives(path, texts, embedding, table, metadata)


def _listed(path: Location, prompt: str, encoder: Callable[[], TextEncoder] | None) -> Negatives:
    check_template(prompt, f"--negatives-prompt {prompt}")
    # No words at all is a choice (scores without evidence), while anything that isn't words is refused by read_lines.
    empty = not path.read_bytes().decode("utf-8-sig", errors="replace").strip()
    texts = () if empty else tuple(read_lines(path, "negatives"))
    table = pa.table({"rank": pa.array(range(len(texts)), pa.int32()), "text": pa.array(texts, pa.string())})
    if not texts:
        return Negatives(path, texts, np.empty((0, 0), np.float32), table)
    if encoder is None:
        raise UsageError(f"negatives {path} is text and nothing says which model encodes it; give --model")
    embedding = encoder().encode([prompt.replace("{}", text) for text in texts])
    return Negatives(path, texts, embedding, table)
