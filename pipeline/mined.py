"""The file of negative labels: what ``mine`` writes, and the distances behind it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neglabel import NeglabelError, UsageError
from neglabel.corpora.storage import StorageError
from neglabel.corpora.uri import Location, Remote, resolved
from neglabel.pipeline import config, store
from neglabel.pipeline.candidates import Stores
from neglabel.pipeline.choose_rows import Selection
from neglabel.pipeline.files import VERSION, versions, write_text
from neglabel.pipeline.labels import Labels
from neglabel.pipeline.leftovers import sweep
from neglabel.pipeline.mine_settings import MineSettings
from neglabel.pipeline.search import EDGES

FORMAT = "neglabel-negatives"
_SHOWN = 10


class Mined(NamedTuple):
    """What a search came to.

    Attributes:
        groups: the kept rows of each group, best first: ``position, distance, nearest, cosine, embedding``.
        histogram: of all candidates' distances.
        near: the candidates nearest to the ID labels, nearest first: ``position``, and ``distance`` negated.
        text: positions → the text of those rows.
    """

    groups: Sequence[Mapping[str, NDArray[Any]]]
    histogram: NDArray[np.int64]
    near: Mapping[str, NDArray[Any]]
    text: Callable[[NDArray[np.int64]], pa.Table]


def check_out(settings: MineSettings) -> None:
    """Refuse an output that would overwrite something else. Raises UsageError."""
    out = settings.out
    if out.suffix.lower() != ".parquet":
        raise UsageError(f"--out {out}: name a FILE.parquet")
    inputs = [resolved(path) for path in (*settings.label_sets, *settings.candidates, *settings.exclude)]
    written = {"--out": out, "--text-out": settings.text_out}
    for option, path in written.items():
        if path is None:
            continue
        if path.is_dir():
            raise UsageError(f"{option} {path} is a folder; name a file")
        if resolved(path) in inputs or any(parent in inputs for parent in resolved(path).parents):
            raise UsageError(f"{option} {path} is an input, or lies in one; name another file")
        if isinstance(path, Remote):
            path.mkdir()  # its bucket must be there
            continue
        folder = next(parent for parent in resolved(path).parents if parent.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise UsageError(f"{option} {path}: {folder} can't be written to; name another folder")
    if settings.text_out and resolved(settings.text_out) in (resolved(out), resolved(settings_file(out))):
        raise UsageError(f"--text-out {settings.text_out} is where --out writes; name another file")
    if out.exists():
        try:
            ours = store.read_metadata(out).get("format") == FORMAT
        except StorageError:
            raise
        except NeglabelError:
            ours = False
        if not ours:
            raise UsageError(f"--out {out} exists and holds no negative labels; name another file")


def settings_file(out: Location) -> Location:
    """Where the effective settings of ``out`` are written."""
    return out.with_name(out.name + ".settings.toml")


def write_negatives(
    settings: MineSettings,
    stores: Stores,
    selection: Selection,
    labels: Labels,
    mined: Mined,
    model: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Write the file, its settings and the words as text. ``settings`` are the effective ones. Returns the summary."""
    rows = _joined(mined.groups, stores.dimension)
    text = mined.text(rows["position"])
    names = np.array(labels.names, dtype=object)
    counted = ("candidates", "duplicates", "id_names", "excluded", *(("sampled",) if settings.sample else ()))
    counts = {name: selection.counts[name] for name in counted}
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
    near = mined.text(mined.near.get("position", np.empty(0, np.int64)))
    far = -mined.near.get("distance", np.empty(0))
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "settings": settings.model_dump(mode="json"),
        "model": dict(model) if model else None,
        "labels": {
            "path": str(settings.labels), "count": len(labels.names), "names": list(labels.names),
            "prompts": list(labels.prompts),
        },
        "counts": counts,
        "histogram": {
            "edges": EDGES.round(6).tolist(),
            "all": mined.histogram.tolist(),
            "kept": np.histogram(np.clip(rows["distance"], -1, 1), EDGES)[0].tolist(),
        },
        "nearest": [
            {"text": word, "pos": pos, "distance": round(float(d), 6)}
            for word, pos, d in zip(
                near["text"].to_pylist(), near["pos"].to_pylist(), far, strict=True
            )
        ],
        "versions": versions(),
    }  # fmt: skip
    for path in (settings.out, settings_file(settings.out), settings.text_out):
        if isinstance(path, Path):
            sweep(path.parent, path.name)
    store.write_table(settings.out, table, metadata)
    write_text(settings_file(settings.out), config.dump(settings))
    words = text["text"].to_pylist()
    if settings.text_out:
        write_text(settings.text_out, "".join(word.replace("\n", " ") + "\n" for word in words))
    # By distance, whatever the order of the file: parts of speech ranked apart, or drawn at random.
    by_distance = np.argsort(-rows["distance"], kind="stable")
    shown = [(words[i], round(float(rows["distance"][i]), 4)) for i in by_distance]
    return {
        "out": str(settings.out), "counts": counts, "farthest": shown[:_SHOWN],
        "nearest": shown[len(shown) - min(_SHOWN, len(shown)) :], "random": settings.random,
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
