"""The model of a ``score`` run: which one, loaded only when text or a picture needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neglabel import UsageError
from neglabel.pipeline.images import Source
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.settings import ScoreSettings

if TYPE_CHECKING:
    from neglabel.pipeline.image_cache import ImageCache
    from neglabel.pipeline.image_encoder import Encoded, ImageEncoder
    from neglabel.pipeline.models import LoadedModel
    from neglabel.pipeline.text_encoder import TextEncoder

DEFAULT = "ViT-B-16"


class ModelOnDemand:
    """The model asked for, else the one that the negatives were mined with, else ViT-B-16/openai.

    Args:
        mined: identity of the negatives' model; None where unknown.
    """

    def __init__(self, settings: ScoreSettings, mined: Mapping[str, Any] | None, reporter: Reporter) -> None:
        self.settings, self.mined, self.reporter = settings, mined, reporter
        self.name = settings.model or str((mined or {}).get("model") or DEFAULT)
        self._loaded: LoadedModel | None = None

    @property
    def loaded(self) -> LoadedModel:
        """Raises UsageError where it is not the negatives' model, and what ``load_model`` raises."""
        if self._loaded is None:
            from neglabel.pipeline.models import load_model, same_model

            settings = self.settings
            pretrained, quickgelu = settings.pretrained, settings.quickgelu
            if self.mined and self.name == self.mined.get("model") and pretrained is None:
                pretrained = self._mined_weights()
                quickgelu = self.mined.get("quick_gelu") if quickgelu is None else quickgelu
            loaded = load_model(self.name, pretrained, quickgelu, settings.device)
            if differs := same_model(loaded.identity, self.mined):
                raise UsageError(
                    f"--model {self.name} is not the model of negatives {settings.negatives}: {differs}; "
                    "use the negatives' own (leave --model and --pretrained out), or mine with this one"
                )
            self._loaded = loaded
        return self._loaded

    def _mined_weights(self) -> str | None:
        """Weights that the negatives name: a tag, or a file. A model in a folder knows its own."""
        from neglabel.pipeline.model_source import CONFIG, PACKAGED

        named = (self.mined or {}).get("pretrained")
        in_folder = self.name in PACKAGED or (Path(self.name) / CONFIG).is_file()
        return None if named is None or (in_folder and not Path(named).is_file()) else str(named)

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
        return f"{self.name} on {self.device}, {self._loaded.precision}"

    def text(self) -> TextEncoder:
        from neglabel.pipeline.text_encoder import TextEncoder

        return TextEncoder.of(self.loaded)

    def prepare(self, pictures: bool) -> None:
        """Load what pictures need: weights or a cache folder that fail should do so before anything is written."""
        if pictures:
            _ = self._encoder if self.settings.cache is None else self._cache

    @cached_property
    def _encoder(self) -> ImageEncoder:
        from neglabel.pipeline.image_encoder import ImageEncoder

        return ImageEncoder.of(self.loaded, self.settings.batch_size, self.settings.workers)

    def pictures(self, source: Source) -> Iterator[Encoded]:
        """Encode all pictures of ``source`` in order, through the cache where there is one."""
        if self.settings.cache is None:
            return self._encoder.stream(source, range(len(source.items)))
        return self._cache.stream(source)

    @cached_property
    def _cache(self) -> ImageCache:
        from neglabel.pipeline.image_cache import ImageCache

        return ImageCache(self.settings.cache or Path(), self._encoder, self.loaded.identity, self.reporter)
