"""Pictures → unit vectors, decoding ahead of the model in a bounded pool of threads."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from neglabel import NeglabelError
from neglabel.pipeline.images import Source, decode, reason

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


class ImageEncoder:
    """The image tower of an open_clip model.

    Args:
        model: an open_clip model (anything with ``encode_image``), in eval mode.
        preprocess: its own transform, PIL image → (3, H, W) tensor.
        device: where the model is; None takes the device of its first parameter.
        batch_size: pictures a forward pass.
        workers: threads that decode and preprocess.
    """

    def __init__(
        self,
        model: Any,
        preprocess: Callable[[Image.Image], Any],
        device: Any = None,
        batch_size: int = 64,
        workers: int = 2,
    ) -> None:
        weight = next(model.parameters())
        self.model, self.preprocess = model, preprocess
        self.device = torch.device(device) if device is not None else weight.device
        self.dtype = weight.dtype
        self.batch_size, self.workers = batch_size, workers

    @classmethod
    def of(cls, loaded: LoadedModel, batch_size: int = 64, workers: int = 2) -> ImageEncoder:
        """The image tower of what ``load_model`` gave, with its own preprocessing and device."""
        return cls(loaded.model, loaded.preprocess, loaded.device, batch_size, workers)

    @property
    def recipe(self) -> str:
        """What else than the weights shapes an embedding: preprocessing and precision."""
        return f"{re.sub(r' at 0x[0-9a-f]+', '', repr(self.preprocess))} {self.dtype}"

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
        waiting = iter(items)
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="decode")
        try:
            while True:
                room = BATCHES_AHEAD * self.batch_size - len(pending)
                pending.extend((row, pool.submit(load, item)) for row, item in islice(waiting, room))
                if not pending:
                    return
                yield self._finish([pending.popleft() for _ in range(min(self.batch_size, len(pending)))])
        finally:
            # Also on Ctrl-C, and where the consumer stops early: what has not begun is not begun.
            pool.shutdown(wait=True, cancel_futures=True)

    def _finish(self, batch: Sequence[tuple[int, Future[Any]]]) -> Encoded:
        rows, pixels, failures = [], [], []
        for row, future in batch:
            try:
                pixels.append(future.result())
                rows.append(row)
            except Exception as error:
                # A broken file may make a decoder raise anything at all; it is that picture's failure, not ours.
                failures.append((row, reason(error)))
        return Encoded(rows, self._forward(pixels), failures)

    def _forward(self, pixels: Sequence[Any]) -> Floats:
        if not pixels:
            return np.empty((0, self._dimension()), dtype=np.float32)
        # TF32 convolutions (PyTorch's default on newer GPUs) would make a picture depend on its batch at 1e-3.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            stacked = torch.stack(list(pixels)).to(self.device, self.dtype)
            features = self.model.encode_image(stacked).float()
            unit = torch.nn.functional.normalize(features, dim=-1).cpu().numpy()
        if not np.isfinite(unit).all():
            raise NeglabelError("the model gives NaN or infinite embeddings of pictures; use fp32, or other weights")
        return np.asarray(unit, dtype=np.float32)

    def _dimension(self) -> int:
        visual = getattr(self.model, "visual", None)
        return int(getattr(visual, "output_dim", 0) or 0)
