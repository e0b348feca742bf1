"""Image embeddings kept on disk, so that other negatives or labels cost no forward pass.

One Parquet file a run of consecutive pictures, named by a digest of the model, its preprocessing and the pictures'
names, sizes and times of change: whatever changes, the old file is simply not found. An interrupted run keeps every
picture that it finished. Pictures that could not be decoded are not kept, so they are tried again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from neglabel import NeglabelError, UsageError
from neglabel.pipeline import store
from neglabel.pipeline.files import replacing
from neglabel.pipeline.images import Source, fingerprint
from neglabel.pipeline.progress import Reporter

if TYPE_CHECKING:
    from neglabel.pipeline.image_encoder import Encoded, ImageEncoder

#: Pictures a file: 2,048 × 512 float32 is 4 MB.
CHUNK = 2_048
FORMAT = "neglabel-images/1"


class ImageCache:
    """Embeddings of an :class:`ImageEncoder`, read from ``folder`` where they are there and written where not.

    Args:
        identity: the model's identity; one without a checkpoint's hash is not cached (random weights differ each time).

    ``hits`` and ``misses`` count the pictures found here and those that were not.

    Raises:
        UsageError: ``folder`` can't be created.
    """

    def __init__(self, folder: Path, encoder: ImageEncoder, identity: Mapping[str, Any], reporter: Reporter) -> None:
        self.folder, self.encoder, self.reporter = folder, encoder, reporter
        self.usable = bool(identity.get("checkpoint_sha256"))
        self.key = json.dumps([FORMAT, dict(identity), encoder.recipe], sort_keys=True, default=str)
        self.hits = self.misses = 0
        if not self.usable:
            reporter.warn(f"--cache {folder} is not used: the model's weights have no checkpoint to know them by")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--cache {folder} can't be created: {error.strerror}; name a folder") from None

    def stream(self, source: Source) -> Iterator[Encoded]:
        """All pictures of ``source`` in order, in blocks, as :meth:`ImageEncoder.stream` gives them."""
        if not self.usable:
            yield from self.encoder.stream(source, range(len(source.items)))
            return
        for start in range(0, len(source.items), CHUNK):
            yield from self._chunk(source, range(start, min(start + CHUNK, len(source.items))))

    def _chunk(self, source: Source, rows: range) -> Iterator[Encoded]:
        name = hashlib.sha256(f"{self.key}\n{fingerprint(source, rows)}".encode()).hexdigest()
        path = self.folder / f"images-{name[:32]}.parquet"
        kept = self._read(path, len(rows))
        missing = [row for row in rows if row - rows.start not in kept]
        self.hits += len(kept)
        self.misses += len(missing)
        fresh: dict[int, Any] = {}
        try:
            yield from self._encoded(source, rows, kept, fresh, missing)
        except BaseException:  # Ctrl-C, a consumer that stops, a model that fails: what is encoded stays
            with suppress(NeglabelError):
                _write(path, {**kept, **fresh}, bool(fresh))
            raise
        _write(path, {**kept, **fresh}, bool(fresh))

    def _encoded(
        self, source: Source, rows: range, kept: Mapping[int, Any], fresh: dict[int, Any], missing: Sequence[int]
    ) -> Iterator[Encoded]:
        """A chunk's blocks; ``fresh`` gathers what was encoded for them."""
        from neglabel.pipeline.image_encoder import Encoded

        failures: list[tuple[int, str]] = []
        with closing(self.encoder.stream(source, missing)) as batches:
            for batch in batches:
                fresh.update(zip((row - rows.start for row in batch.rows), batch.embedding, strict=True))
                failures.extend(batch.failures)
                if not kept:
                    yield batch
        if kept:
            both = dict(sorted({**kept, **fresh}.items()))
            yield Encoded([rows.start + i for i in both], np.stack(list(both.values())), failures)

    def _read(self, path: Path, count: int) -> dict[int, Any]:
        """Offset in the chunk → embedding; empty where there is no file, or a damaged one (which is written anew)."""
        if not path.exists():
            return {}
        try:
            table = pq.read_table(path, page_checksum_verification=True)
            offsets = table["offset"].to_pylist()
            column = table["embedding"].combine_chunks()
            embedding = np.asarray(column.flatten(), dtype=np.float32).reshape(len(offsets), -1)
            whole = np.isfinite(embedding).all() and np.allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-3)
            if not whole or not all(0 <= i < count for i in offsets):
                raise ValueError("its embeddings are not what was written")
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            self.reporter.warn(f"cache file {path} is damaged ({first}); its pictures are encoded again")
            return {}
        return dict(zip(offsets, embedding, strict=True))


def _write(path: Path, embeddings: Mapping[int, Any], changed: bool) -> None:
    """Write what a chunk has by now, where that is more than before."""
    if not changed:
        return
    offsets = sorted(embeddings)
    column = store.embedding_array(np.stack([embeddings[offset] for offset in offsets]))
    table = pa.table({"offset": pa.array(offsets, pa.int32()), "embedding": column})
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="none", use_dictionary=False, write_page_checksum=True)
