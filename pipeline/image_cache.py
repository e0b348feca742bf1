"""Image embeddings kept on disk, so that other negatives or labels cost no forward pass.

A shard a run of consecutive pictures, known by a digest of their names, sizes and times of change: a changed picture is
simply not found. An interrupted run keeps every picture that it finished. Pictures that could not be decoded are not
kept, so they are tried again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from neglabel import NeglabelError
from neglabel.corpora.uri import Location
from neglabel.pipeline.clock import Clock
from neglabel.pipeline.image_shards import ImageShards
from neglabel.pipeline.images import Source, fingerprint
from neglabel.pipeline.progress import Reporter

if TYPE_CHECKING:
    from neglabel.pipeline.image_encoder import Encoded, ImageEncoder

#: Pictures a shard: 2,048 × 512 float32 is 4 MB.
CHUNK = 2_048


class ImageCache:
    """Embeddings of an :class:`ImageEncoder`, read from ``folder`` where they are there and written where not.

    Args:
        identity: the model's identity; one without a checkpoint's hash is not cached (random weights differ each time).
        times: gets the seconds spent on the files (``read``).

    ``hits`` and ``misses`` count the pictures found here and those that were not.

    Raises:
        UsageError: ``folder`` can't be created.
    """

    def __init__(
        self, folder: Location, encoder: ImageEncoder, identity: Mapping[str, Any], reporter: Reporter,
        times: Clock | None = None,
    ) -> None:  # fmt: skip
        self.encoder, self.times = encoder, times or Clock(["read"])
        self.hits = self.misses = 0
        self.usable = bool(identity.get("checkpoint_sha256"))
        if not self.usable:
            reporter.warn(f"--cache {folder} is not used: the model's weights have no checkpoint to know them by")
            return
        made_by: dict[str, Any] = {
            "model": dict(identity), "preprocessing": encoder.preprocessing, "precision": encoder.tower.computed_in
        }  # fmt: skip
        if encoder.noise is not None:
            made_by["noise"] = encoder.noise.about
        self.shards = ImageShards(folder, made_by, reporter.warn)
        if old := len(list(folder.glob("images-*.parquet"))):
            reporter.say(f"--cache {folder}: {old:,} images-*.parquet of an earlier neglabel are not read; delete them")

    def stream(self, source: Source) -> Iterator[Encoded]:
        """All pictures of ``source`` in order, in blocks, as :meth:`ImageEncoder.stream` gives them."""
        if not self.usable:
            yield from self.encoder.stream(source, range(len(source.items)))
            return
        for start in range(0, len(source.items), CHUNK):
            yield from self._chunk(source, range(start, min(start + CHUNK, len(source.items))))

    def _chunk(self, source: Source, rows: range) -> Iterator[Encoded]:
        with self.times.busy("read"):
            digest = fingerprint(source, rows)
            kept = self.shards.read(digest)
        missing = [row for row in rows if row - rows.start not in kept]
        self.hits += len(kept)
        self.misses += len(missing)
        fresh: dict[int, Any] = {}
        try:
            yield from self._encoded(source, rows, kept, fresh, missing)
        except BaseException:  # Ctrl-C, a consumer that stops, a model that fails: what is encoded stays
            with suppress(NeglabelError):
                self._keep(digest, rows, kept, fresh)
            raise
        self._keep(digest, rows, kept, fresh)

    def _keep(self, digest: str, rows: range, kept: Mapping[int, Any], fresh: Mapping[int, Any]) -> None:
        """Write what a chunk has by now, where that is more than before."""
        if fresh:
            with self.times.busy("read"):
                self.shards.write(digest, len(rows), {**kept, **fresh})

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
