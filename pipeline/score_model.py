"""The model of a ``score`` run: which one, loaded only when text or a picture needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neglabel import UsageError
from neglabel.pipeline.clock import Clock
from neglabel.pipeline.images import Source
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.score_settings import ScoreSettings

if TYPE_CHECKING:
    from neglabel.pipeline.image_cache import ImageCache
    from neglabel.pipeline.image_encoder import Encoded, ImageEncoder
    from neglabel.pipeline.models import LoadedModel
    from neglabel.pipeline.odin import Noise
    from neglabel.pipeline.text_encoder import TextEncoder

DEFAULT = "ViT-B-16"
#: What the time of scoring pictures goes into: waiting for pixels, the image tower, scores and their file, and the
#: cache or a file of embeddings.
STEPS = ("decode", "tower", "score", "read")


class ModelOnDemand:
    """The model asked for, else the one that the negatives were mined with, else ViT-B-16/openai.

    Args:
        mined: identity of the negatives' model; None where unknown.
        foreign: a file of embeddings that doesn't say its model, if any. Beside one nothing is encoded by a default
            model, whose embeddings may well have another meaning.
    """

    def __init__(
        self, settings: ScoreSettings, mined: Mapping[str, Any] | None, foreign: str | None, reporter: Reporter
    ) -> None:
        self.settings, self.mined, self.reporter = settings, mined, reporter
        self.foreign = None if settings.model or mined else foreign
        self.name = settings.model or str((mined or {}).get("model") or DEFAULT)
        self._loaded: LoadedModel | None = None
        #: What pictures are moved by; to be set before any is encoded.
        self.noise: Noise | None = None
        self.times = Clock(STEPS)

    @property
    def loaded(self) -> LoadedModel:
        """Raises UsageError where it is not the negatives' model, and what ``load_model`` raises."""
        if self._loaded is None:
            from neglabel.pipeline.models import load_known

            settings = self.settings
            self._loaded = load_known(
                self.mined, f"negatives {settings.negatives}", settings.model, settings.pretrained,
                settings.quickgelu, settings.device,
            )  # fmt: skip
        return self._loaded

    @property
    def identity(self) -> dict[str, Any] | None:
        """Of the model used; where none was needed, of the one that made the negatives, or None."""
        known = self._loaded.identity if self._loaded is not None else self.mined
        return dict(known) if known else None

    @property
    def device(self) -> str:
        return str(self._loaded.device) if self._loaded is not None else "cpu"

    def words(self) -> str:
        if self._loaded is None:
            return "no model needed (embeddings are given), cpu"
        pictures = "" if self.settings.precision == "fp32" else f", pictures in {self.settings.precision}"
        return f"{self.name} on {self.device}, {self._loaded.precision}{pictures}"

    @property
    def text(self) -> Callable[[], TextEncoder] | None:
        """Loads the text encoder; None where nothing says which model that is."""
        return None if self.foreign else self._text

    def _text(self) -> TextEncoder:
        from neglabel.pipeline.text_encoder import TextEncoder

        return TextEncoder.of(self.loaded)

    def check(self, sources: Sequence[Source]) -> None:
        """Raises UsageError where nothing says which model is to encode pictures, or ones to be moved aren't there."""
        given = [source.spec for source in sources if source.embeddings is not None]
        if self.settings.odin_noise is not None and given:
            raise UsageError(f"--odin-noise needs pictures, and {given[0]} holds embeddings; name the pictures")
        wanted = [source.spec for source in sources if source.embeddings is None]
        if wanted and self.foreign:
            raise UsageError(
                f"pictures {wanted[0]} have to be encoded and nothing says which model made the embeddings of "
                f"{self.foreign}; give --model"
            )

    def prepare(self, sources: Sequence[Source]) -> None:
        """Load what pictures need: weights or a cache folder that fail should do so before anything is written."""
        if any(source.embeddings is None for source in sources):
            _ = self._encoder if self.settings.cache is None else self._cache

    @property
    def cached(self) -> tuple[int, int] | None:
        """Of how many pictures the cache gave how many (found, all); None where no cache was used."""
        cache: ImageCache | None = self.__dict__.get("_cache")
        return None if cache is None or not cache.usable else (cache.hits, cache.hits + cache.misses)

    @cached_property
    def _encoder(self) -> ImageEncoder:
        from neglabel.pipeline.image_encoder import ImageEncoder

        settings = self.settings
        return ImageEncoder.of(
            self.loaded, settings.batch_size, settings.workers,
            precision=settings.precision, notice=self.reporter.warn, times=self.times, noise=self.noise,
        )  # fmt: skip

    def encode_by(self, encoder: Any) -> None:
        """Have pictures encoded by ``encoder``, which stands for an :class:`ImageEncoder`."""
        self.__dict__["_encoder"] = encoder

    def pictures(self, source: Source) -> Iterator[Encoded]:
        """Encode all pictures of ``source`` in order, through the cache where there is one."""
        if self.settings.cache is None:
            return self._encoder.stream(source, range(len(source.items)))
        return self._cache.stream(source)

    @cached_property
    def _cache(self) -> ImageCache:
        from neglabel.pipeline.image_cache import ImageCache

        folder = self.settings.cache or Path()
        return ImageCache(folder, self._encoder, self.loaded.identity, self.reporter, self.times)
