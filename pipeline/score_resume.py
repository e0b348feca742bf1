"""What a killed run of ``score`` had finished: data sets that its manifest lists, made of what this run is made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from neglabel import NeglabelError, __version__
from neglabel.corpora.uri import Location
from neglabel.pipeline import store
from neglabel.pipeline.files import read_json, sha256
from neglabel.pipeline.images import Item
from neglabel.pipeline.score_embeddings import embeddings_file
from neglabel.pipeline.score_plan import DataSet
from neglabel.pipeline.score_sets import Unreadable, unreadable_table
from neglabel.pipeline.score_settings import ScoreSettings
from neglabel.pipeline.shard_check import flaw_of

#: Settings that shape no score, or that ``key`` has of each data set by itself.
_APART = {"out", "cache", "workers", "engine", "address", "id", "ood", "images"}
UNREADABLE = "unreadable.parquet"
Finished = tuple[dict[str, Any], list[Unreadable]]


class Resume:
    """Knows the data sets of a run by what they are made of.

    Args:
        settings: the effective ones.
        parts: what else shapes a score: arrays, lists of words, the model's identity.
    """

    def __init__(self, settings: ScoreSettings, parts: Sequence[Any]) -> None:
        self.folder, self.embeddings = settings.out, settings.keep_embeddings
        shared = hashlib.sha256()
        for part in (__version__, settings.model_dump(mode="json", exclude=_APART), *parts):
            raw = part.tobytes() if isinstance(part, np.ndarray) else json.dumps(part, default=str).encode()
            shared.update(f"{len(raw)} ".encode() + raw)
        self._shared = shared.hexdigest()

    def key(self, data: DataSet) -> str:
        """A digest of what the file of ``data`` depends on: all that is shared, and its pictures, in order."""
        source = data.source
        named = f"{self._shared} {data.name} {data.role} {source.spec}\0"
        digest = hashlib.sha256(named.encode("utf-8", "surrogatepass"))
        if source.embeddings is not None:
            about = source.embeddings.stat()
            digest.update(f"{about.st_size} {about.st_mtime_ns}".encode())
            return digest.hexdigest()
        for row, item in enumerate(source.items):
            line = f"{source.signature(row)}\t{item.path}\t{item.label!r}\0"
            digest.update(line.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def finished(self, sets: Sequence[DataSet]) -> dict[str, Finished]:
        """Of an unfinished run in the folder: the data sets that are whole, as ``score_set`` gave them."""
        found: dict[str, Finished] = {}
        # A manifest that is damaged, or files that are, are made again: nothing but time is lost.
        with suppress(NeglabelError, KeyError, TypeError, ValueError, AttributeError):
            path = self.folder / "manifest.json"
            manifest: dict[str, Any] = read_json(path, "neglabel-scores") if path.is_file() else {"complete": True}
            listed = {} if manifest["complete"] else {str(entry["name"]): entry for entry in manifest["datasets"]}
            for data in sets:
                if data.name in listed:
                    found |= self._whole(data, dict(listed[data.name]))
        return found

    def _whole(self, data: DataSet, entry: dict[str, Any]) -> dict[str, Finished]:
        resume = entry.pop("resume")
        path = scores_file(self.folder, data.name)
        if resume["key"] != self.key(data) or flaw_of(path, entry["rows"], resume["sha256"]):
            return {}
        if self.embeddings:
            kept = embeddings_file(self.folder, data.name)
            if not kept.is_file() or store.open_parquet(kept).metadata.num_rows != entry["rows"]:
                return {}
        failures = self._unreadable(data.name) if entry["unreadable"] else []
        if len(failures) != entry["unreadable"]:
            return {}
        return {data.name: (entry | {"id_share": resume["id_share"]}, failures)}

    def _unreadable(self, name: str) -> list[Unreadable]:
        with store.reading(self.folder / UNREADABLE):
            rows = store.open_parquet(self.folder / UNREADABLE).read().to_pylist()
        ours = (row for row in rows if row["dataset"] == name)
        return [Unreadable(name, Item(row["id"], row["path"], None), row["reason"]) for row in ours]

    def entry(self, data: DataSet, result: Mapping[str, Any]) -> dict[str, Any]:
        """How the manifest lists a finished data set until all are."""
        resume = {
            "key": self.key(data), "sha256": sha256(scores_file(self.folder, data.name)), "id_share": result["id_share"]
        }  # fmt: skip
        return {**listed(result), "resume": resume}

    def keep(self, sets: Sequence[DataSet], failures: Mapping[str, Sequence[Unreadable]]) -> None:
        """What could not be decoded by now, by data set; before the manifest lists those."""
        rows = [failure for data in sets for failure in failures.get(data.name, ())]
        store.write_table(self.folder / UNREADABLE, unreadable_table(rows))


def listed(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the manifest of a run that is complete says of a data set."""
    return {name: value for name, value in result.items() if name != "id_share"}


def scores_file(folder: Location, name: str) -> Location:
    """The file of data set ``name``."""
    return folder / f"scores-{name}.parquet"
