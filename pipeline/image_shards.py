"""The files of the image cache: for each way of encoding a folder with a manifest, and a shard a run of pictures."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from neglabel import NeglabelError, UsageError
from neglabel.corpora.storage import StorageError
from neglabel.corpora.uri import Location
from neglabel.pipeline import store
from neglabel.pipeline.files import VERSION, claim_folder, read_json, sha256, versions, write_json
from neglabel.pipeline.lock import waiting
from neglabel.pipeline.shard_check import flaw_of

FORMAT = "neglabel-images"


class ImageShard(TypedDict):
    """A shard as ``manifest.json`` has it: ``rows`` of its ``pictures`` are in ``file``."""

    file: str
    rows: int
    sha256: str
    pictures: int
    pictures_sha256: str


_RECORDS = TypeAdapter(list[ImageShard])
#: Names of shards; of no other place.
FILE = re.compile(r"images-[0-9a-f]{1,64}-\d+\.parquet")


class ImageShards:
    """Embeddings kept under ``cache`` for one way of encoding pictures.

    Args:
        made_by: ``model`` (its identity), ``preprocessing``, ``precision``: what shapes an embedding. Each such way has
            a folder of its own, so that models never meet. Name and path of the same weights don't matter.
        warn: gets one sentence where something is damaged; it is made anew.

    Raises:
        UsageError: ``cache`` can't be created.
    """

    def __init__(self, cache: Location, made_by: Mapping[str, Any], warn: Callable[[str], None]) -> None:
        self.made_by, self.warn = made_by, warn
        weights = {k: v for k, v in made_by["model"].items() if k not in ("model", "pretrained")}
        key = json.dumps([FORMAT, VERSION, {**made_by, "model": weights}], sort_keys=True, default=str)
        self.folder = cache / hashlib.sha256(key.encode()).hexdigest()[:16]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--cache {cache} can't be created: {error.strerror}; name a folder") from None
        with suppress(UsageError):  # without a manifest, or with a damaged one, what is there is written over
            claim_folder(self.folder, FORMAT, create=False)  # what killed processes left half written goes
        self.records = self._recorded(warn)

    def read(self, digest: str) -> dict[int, Any]:
        """Place in the run of pictures → embedding; empty where nothing is kept of it, or a file that is damaged.

        Args:
            digest: of the pictures' names, sizes and times of change.
        """
        record = self.records.get(digest)
        if record is None:
            return {}
        path = self.folder / record["file"]
        problem = flaw_of(path, record["rows"], record["sha256"])
        if problem is not None:
            self.warn(f"cache {self.folder}: {problem}; its pictures are encoded again")
            return {}
        try:
            blocks = list(store.stream(path, ["offset"]))
            offsets = [place for block in blocks for place in block.columns["offset"].to_pylist()]
            rows = [row for block in blocks for row in np.asarray(block.embedding, np.float32)]
            if all(type(place) is int and 0 <= place < record["pictures"] for place in offsets):
                return dict(zip(offsets, rows, strict=True))
            problem = f"{path.name} holds pictures that are not there"
        except StorageError:
            raise
        except NeglabelError as error:
            problem = str(error)
        self.warn(f"cache {self.folder}: {problem}; its pictures are encoded again")
        return {}

    def write(self, digest: str, pictures: int, embeddings: Mapping[int, Any]) -> None:
        """Keep what a run of ``pictures`` has by now, place → embedding; nothing old goes before it is recorded."""
        offsets = sorted(embeddings)
        file = f"images-{digest[:24]}-{len(offsets)}.parquet"
        column = store.embedding_array(np.stack([embeddings[offset] for offset in offsets]))
        store.write_table(self.folder / file, pa.table({"offset": pa.array(offsets, pa.int32()), "embedding": column}))
        record = ImageShard(
            file=file, rows=len(offsets), sha256=sha256(self.folder / file), pictures=pictures, pictures_sha256=digest
        )
        with waiting(self.folder):  # another process may keep shards meanwhile
            self.records = {**self._recorded(lambda _: None), digest: record}
            shards = list(self.records.values())
            manifest = {"format": FORMAT, "version": VERSION, **self.made_by, "shards": shards, "versions": versions()}
            write_json(self.folder / "manifest.json", manifest)
            for path in self.folder.glob(f"images-{digest[:24]}-*.parquet"):
                if path.name != file:
                    path.unlink(missing_ok=True)

    def _recorded(self, warn: Callable[[str], None]) -> dict[str, ImageShard]:
        path = self.folder / "manifest.json"
        if not path.exists():
            return {}
        try:
            records = _RECORDS.validate_python(read_json(path, FORMAT).get("shards"))
            if all(FILE.fullmatch(record["file"]) for record in records):
                return {record["pictures_sha256"]: record for record in records}
        except (NeglabelError, ValidationError):
            pass
        warn(f"{path} is damaged; the pictures are encoded again")
        return {}
