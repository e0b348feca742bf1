"""Pictures → unit vectors, decoding ahead of the model in a bounded pool of threads."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from neglabel import NeglabelError
from neglabel.corpora.storage import StorageError
from neglabel.indexes.cores import cores
from neglabel.pipeline.clock import Clock
from neglabel.pipeline.image_tower import ImageTower
from neglabel.pipeline.images import Source, decode, reason
from neglabel.pipeline.odin import Noise, channel_std, moved
from neglabel.pipeline.transfer import Landing, to_host

if TYPE_CHECKING:
    from neglabel.pipeline.models import LoadedModel

Floats = NDArray[np.float32]
#: Batches decoded ahead: one that the model works on next, one that the threads fill meanwhile.
BATCHES_AHEAD = 2


@dataclass(frozen=True)
class Encoded:
    """A batch: ``embedding[i]`` (n, D) belongs to source row ``rows[i]``; ``failures`` are (row, reason)."""

    rows: Sequence[int]
    embedding: Floats
    failures: Sequence[tuple[int, str]]

    def __len__(self) -> int:
        return len(self.rows) + len(self.failures)


@dataclass(frozen=True)
class _Begun:
    """A batch that the device works on; ``landing`` is None where no picture could be decoded."""

    rows: Sequence[int]
    landing: Landing | None
    failures: Sequence[tuple[int, str]]


class ImageEncoder:
    """The image tower of an open_clip model.

    Decoding needs no more than threads: Pillow lets go of the interpreter's lock while it decodes and resizes. On CUDA
    one batch is in flight while the next is gathered, and one before it is used.

    Args:
        model: an open_clip model (anything with ``encode_image``), in eval mode.
        preprocess: its own transform, PIL image → (3, H, W) tensor.
        device: where the model is; None takes the device of its first parameter.
        batch_size: pictures a forward pass.
        workers: threads that decode and preprocess; None takes as many as there are cores.
        precision, notice: see :class:`~neglabel.pipeline.image_tower.ImageTower`.
        noise: moves pictures before they are encoded.
        times: gets the seconds spent waiting for pixels (``decode``) and on the tower (``tower``).
    """

    def __init__(
        self, model: Any, preprocess: Callable[[Image.Image], Any], device: Any = None, batch_size: int = 64,
        workers: int | None = None, precision: str = "fp32", notice: Callable[[str], None] = lambda _: None,
        times: Clock | None = None, noise: Noise | None = None,
    ) -> None:  # fmt: skip
        self.model, self.preprocess = model, preprocess
        self.device = torch.device(device) if device is not None else next(model.parameters()).device
        self.noise = noise
        self.tower = ImageTower(
            model, self.device, precision, notice,
            None if noise is None else partial(moved, noise=noise, std=channel_std(preprocess)),
        )  # fmt: skip
        self.batch_size, self.workers = batch_size, workers or cores()
        self.times = times or Clock(("decode", "tower"))

    @classmethod
    def of(cls, loaded: LoadedModel, batch_size: int = 64, workers: int | None = None, **more: Any) -> ImageEncoder:
        """The image tower of what ``load_model`` gave, with its own preprocessing and device."""
        return cls(loaded.model, loaded.preprocess, loaded.device, batch_size, workers, **more)

    @property
    def preprocessing(self) -> str:
        """The transform in words, the same in every process."""
        return re.sub(r" at 0x[0-9a-f]+", "", repr(self.preprocess))

    def encode(self, images: Iterable[Image.Image | str | Path]) -> Floats:
        """Pictures (or files of them) → (n, D) float32, L2-normalised in float32.

        A picture's embedding does not depend on its neighbours beyond 1e-6 (fp32).

        Raises:
            NeglabelError: a picture that can't be decoded, naming it.
        """
        found = []
        for batch in self._batches(enumerate(images), self._pixels):
            if batch.failures:
                row, why = batch.failures[0]
                raise NeglabelError(f"picture {row} of those given can't be decoded: {why}; leave it out")
            found.append(batch.embedding)
        return np.concatenate(found) if found else np.empty((0, self._dimension()), dtype=np.float32)

    def stream(self, source: Source, rows: Iterable[int]) -> Generator[Encoded, None, None]:
        """Batches of ``rows`` of ``source``, in order; what can't be decoded is in ``failures``."""
        return self._batches(((row, row) for row in rows), lambda row: self.preprocess(source.open(row)))

    def _pixels(self, image: Image.Image | str | Path) -> Any:
        return self.preprocess(image if isinstance(image, Image.Image) else decode(Path(image)))

    def _batches(
        self, items: Iterable[tuple[int, Any]], load: Callable[[Any], Any]
    ) -> Generator[Encoded, None, None]:
        """Keep ``BATCHES_AHEAD`` batches in flight; memory is that many batches of pixels, whatever the source."""
        pending: deque[tuple[int, Future[Any]]] = deque()
        begun: deque[_Begun] = deque()
        waiting = iter(items)
        queued = 1 if self.device.type == "cuda" else 0
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="decode")
        try:
            while True:
                room = BATCHES_AHEAD * self.batch_size - len(pending)
                pending.extend((row, pool.submit(load, item)) for row, item in islice(waiting, room))
                batch = [pending.popleft() for _ in range(min(self.batch_size, len(pending)))]
                if batch:
                    begun.append(self._begin(batch))
                while len(begun) > (queued if batch else 0):
                    yield self._finish(begun.popleft())
                if not batch:
                    return
        finally:
            # Also on Ctrl-C, and where the consumer stops early: what has not begun is not begun.
            pool.shutdown(wait=True, cancel_futures=True)

    def _begin(self, batch: Sequence[tuple[int, Future[Any]]]) -> _Begun:
        rows, pixels, failures = [], [], []
        with self.times.busy("decode"):
            for row, future in batch:
                try:
                    pixels.append(future.result())
                    rows.append(row)
                except StorageError:
                    raise  # a connection that failed is no broken picture
                except Exception as error:
                    # A broken file may make a decoder raise anything at all; it is that picture's failure, not ours.
                    failures.append((row, reason(error)))
        with self.times.busy("tower"):
            return _Begun(rows, to_host(self._forward(pixels)) if pixels else None, failures)

    def _finish(self, batch: _Begun) -> Encoded:
        if batch.landing is None:
            return Encoded(batch.rows, np.empty((0, self._dimension()), dtype=np.float32), batch.failures)
        with self.times.busy("tower"):
            unit = batch.landing.wait()
        if not np.isfinite(unit).all():
            raise NeglabelError("the model gives NaN or infinite embeddings of pictures; use fp32, or other weights")
        return Encoded(batch.rows, unit, batch.failures)

    def _forward(self, pixels: Sequence[Any]) -> torch.Tensor:
        """n pictures' pixels → (n, D) float32 unit vectors on the device."""
        return self.tower.unit(pixels)

    def _dimension(self) -> int:
        visual = getattr(self.model, "visual", None)
        return int(getattr(self.model, "embed_dim", 0) or getattr(visual, "output_dim", 0) or 0)
