"""The file of negative labels: what ``mine`` writes, and the distances behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neglabel import NeglabelError, UsageError
from neglabel.pipeline import config, store
from neglabel.pipeline.candidates import Selection, Stores, take_text
from neglabel.pipeline.files import versions, write_text
from neglabel.pipeline.labels import Labels
from neglabel.pipeline.settings import MineSettings

FORMAT = "neglabel-negatives"
VERSION = 1
#: Edges of the histogram of distances: a cosine's range in steps of 0.005.
EDGES = np.linspace(-1, 1, 401)
#: How many of the candidates nearest to the ID labels are noted.
NEAREST = 100
_SHOWN = 10


class Distances:
    """What is kept of every candidate's distance: a histogram, and the nearest candidates."""

    def __init__(self) -> None:
        self.histogram = np.zeros(len(EDGES) - 1, np.int64)
        self.distance = np.empty(0, np.float32)
        self.position = np.empty(0, np.int64)

    def add(self, distance: NDArray[np.float32], position: NDArray[np.int64]) -> None:
        self.histogram += np.histogram(np.clip(distance, -1, 1), EDGES)[0]
        self.distance = np.concatenate([self.distance, distance])
        self.position = np.concatenate([self.position, position])
        nearest = np.lexsort((self.position, self.distance))[:NEAREST]
        self.distance, self.position = self.distance[nearest], self.position[nearest]


def check_out(settings: MineSettings) -> None:
    """Refuse an output that would overwrite something else. Raises UsageError."""
    out: Path = settings.out
    if out.suffix.lower() != ".parquet":
        raise UsageError(f"--out {out}: name a FILE.parquet")
    for path in (settings.labels, *settings.candidates, *settings.exclude):
        if path.resolve() == out.resolve():
            raise UsageError(f"--out {out} is also an input; name another file")
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; name a FILE.parquet")
    if out.exists():
        try:
            ours = store.read_metadata(out).get("format") == FORMAT
        except NeglabelError:
            ours = False
        if not ours:
            raise UsageError(f"--out {out} exists and holds no negative labels; name another file")


def write_negatives(
    settings: MineSettings,
    effective: Mapping[str, Any],
    stores: Stores,
    selection: Selection,
    labels: Labels,
    groups: Sequence[Mapping[str, NDArray[Any]]],
    distances: Distances,
    model: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Write the file, its settings and the words as text. Returns the summary."""
    rows = _joined(groups, stores.dimension)
    text = take_text(stores, selection, rows["position"])
    names = np.array(labels.names, dtype=object)
    counts = {name: selection.counts[name] for name in ("candidates", "duplicates", "id_names", "excluded")}
    counts["kept"] = len(rows["position"])
    table = pa.table(
        {
            "rank": pa.array(np.arange(len(rows["position"]), dtype=np.int32)),
            **{name: text[name] for name in text.column_names},
            "distance": pa.array(rows["distance"]),
            "nearest_label": pa.array(names[rows["nearest"]].tolist(), pa.string()),
            "nearest_cosine": pa.array(rows["cosine"]),
            "embedding": store.embedding_array(
                store.unit(rows["embedding"]) if len(rows["position"]) else np.empty((0, stores.dimension), np.float32)
            ),
        }
    )
    near = take_text(stores, selection, distances.position)
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "settings": {**settings.model_dump(mode="json"), **effective},
        "model": dict(model) if model else None,
        "labels": {
            "path": str(settings.labels), "count": len(labels.names), "names": list(labels.names),
            "prompts": list(labels.prompts),
        },
        "counts": counts,
        "histogram": {
            "edges": EDGES.round(6).tolist(),
            "all": distances.histogram.tolist(),
            "kept": np.histogram(np.clip(rows["distance"], -1, 1), EDGES)[0].tolist(),
        },
        "nearest": [
            {"text": word, "pos": pos, "distance": round(float(d), 6)}
            for word, pos, d in zip(
                near["text"].to_pylist(), near["pos"].to_pylist(), distances.distance, strict=True
            )
        ],
        "versions": versions(),
    }  # fmt: skip
    store.write_table(settings.out, table, metadata)
    write_text(settings.out.with_name(settings.out.name + ".settings.toml"), config.dump(settings))
    words = text["text"].to_pylist()
    if settings.text_out:
        write_text(settings.text_out, "".join(word.replace("\n", " ") + "\n" for word in words))
    shown = list(zip(words, rows["distance"].round(4).tolist(), strict=True))
    return {
        "out": str(settings.out), "counts": counts, "farthest": shown[:_SHOWN],
        "nearest": shown[len(shown) - min(_SHOWN, len(shown)) :],
    }  # fmt: skip


def _joined(groups: Sequence[Mapping[str, NDArray[Any]]], dimension: int) -> dict[str, NDArray[Any]]:
    """Groups one after the other (nouns first)."""
    full = [group for group in groups if group]
    if not full:
        return {
            "position": np.empty(0, np.int64), "distance": np.empty(0), "nearest": np.empty(0, np.intp),
            "cosine": np.empty(0), "embedding": np.empty((0, dimension), np.float32),
        }  # fmt: skip
    return {name: np.concatenate([group[name] for group in full]) for name in full[0]}
