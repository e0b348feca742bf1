"""Steps of sweeps: what a step is made of, as a key, and the witness that it is finished.

A step lies in ``DIR/steps/STAGE-SLUG-KEY/`` and is shared by all rows and files whose key is the same. Stages write
their effective settings, which say more than was given, so a step has a witness of its own, ``step.json``: the key, and
the SHA-256 of what the stage wrote. It is written last.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from neglabel import NeglabelError, __version__
from neglabel.corpora import ADAPTERS
from neglabel.corpora.spec import parse
from neglabel.corpora.uri import Location, is_uri
from neglabel.pipeline import files, images, store
from neglabel.pipeline.images import open_images
from neglabel.pipeline.labels import label_names
from neglabel.pipeline.model_source import CONFIG, PACKAGED
from neglabel.pipeline.named_labels import NamedLabels

FORMAT, WITNESS = "neglabel-step", "step.json"
#: How the work is done, which shapes no figure; and where its results lie.
HOW = frozenset(
    {"device", "engine", "address", "workers", "devices", "batch_size", "cache", "work", "text_out", "out", "dry_run"}
)
#: Of ``encode`` these are part of what makes a store one (``encode_manifest.IDENTITY``).
ENCODE_HOW = HOW - {"device", "batch_size"}


def digest(value: Any) -> str:
    """SHA-256 of plain values, whatever the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


class Digests:
    """SHA-256 of files, each read once while its size and time of change stay."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], str] = {}

    def of(self, path: Location) -> str:
        """Of a file's contents; of a folder, of all files in it; of what isn't there or isn't here, empty."""
        if not isinstance(path, Path) or not path.exists():
            return ""
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
            return digest([(p.relative_to(path).as_posix(), self.of(p)) for p in inside])
        about = path.stat()
        key = (str(path.resolve()), about.st_size, about.st_mtime_ns)
        if key not in self._known:
            self._known[key] = files.sha256(path)
        return self._known[key]

    def labels(self, place: Location | NamedLabels) -> str:
        """Of a file of labels; of those that a data set pins, their names."""
        return digest(label_names(place)) if isinstance(place, NamedLabels) else self.of(place)

    def model(self, name: str | None, pretrained: str | None) -> list[str]:
        """Of a model's folder and a checkpoint FILE; names and tags stand for themselves."""
        places = [Path(name)] if name and name not in PACKAGED and (Path(name) / CONFIG).is_file() else []
        if pretrained and Path(pretrained).is_file():
            places.append(Path(pretrained))
        return [self.of(place) for place in places]

    def corpus(self, spec: Any) -> str:
        """Of the file or folder that a corpus is read from; empty where it names none here."""
        path = parse(spec, ADAPTERS)[1].get("path")
        return self.of(Path(path)) if isinstance(path, str) and not is_uri(path) else ""

    def pictures(self, spec: str) -> str:
        """Of each picture's name, size, time of change, place and label; of a file of embeddings, its contents."""
        source = open_images(spec)
        if source.embeddings is not None:
            return self.of(source.embeddings)
        named = [(item.path, item.label) for item in source.items]
        return digest([images.fingerprint(source, range(len(named))), named])


def settings_less(settings: BaseModel, apart: Iterable[str]) -> dict[str, Any]:
    """Settings as plain values without some."""
    return settings.model_dump(mode="json", exclude=set(apart))


def key_of(stage: str, settings: Mapping[str, Any], inputs: Any) -> str:
    """What a step is: the version of neglabel, the stage, its settings but for :data:`HOW`, and digests of inputs."""
    return digest([__version__, stage, settings, inputs])


def store_digest(folder: Path) -> str:
    """Of a store of candidates: its words and embeddings, and what ``mine`` reads of its manifest."""
    manifest = files.read_json(folder / "manifest.json", "neglabel-candidates")
    try:
        shards = [record["sha256"] for record in manifest["shards"]]
    except (KeyError, TypeError):
        raise NeglabelError(
            f"{folder / 'manifest.json'} is damaged; delete that folder, and the same command makes it anew"
        ) from None
    return digest([shards, *(manifest.get(name) for name in ("model", "prompts", "preset", "dedupe"))])


def negatives_digest(path: Path) -> str:
    """Of a file of negative labels: its rows and what it says of itself, but for places and versions.

    So the same words mined again, or in another folder, are the same.
    """
    about = store.read_metadata(path)
    apart = HOW | {"candidates", "labels", "exclude"}
    settings = {name: value for name, value in about["settings"].items() if name not in apart}
    rows = hashlib.sha256()
    for batch in store.open_parquet(path).iter_batches():
        rows.update(batch.serialize())
    labels = {name: about["labels"][name] for name in ("names", "prompts")}
    return digest([rows.hexdigest(), settings, labels, about["model"]])


def slug(text: str) -> str:
    """Text as part of a folder's name: letters, digits and hyphens, at most 40."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:40].strip("-.") or "step"


class Steps:
    """The finished steps below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, tuple[Path, dict[str, Any]]] = {}
        self._intact: dict[str, bool] = {}
        for path in sorted(folder.glob(f"*/{WITNESS}")):
            with suppress(NeglabelError):  # a damaged witness is none
                witness = files.read_json(path, FORMAT)
                self._known[str(witness.get("key"))] = (path.parent, witness)

    def place(self, stage: str, named: str, key: str) -> Path:
        """The folder of a step, finished or not."""
        return self._known[key][0] if key in self._known else self.folder / f"{stage}-{slug(named)}-{key[:12]}"

    def done(self, key: str) -> bool:
        """Whether a step is finished and its files are as it left them."""
        if key in self._known and key not in self._intact:
            folder, witness = self._known[key]
            with suppress(OSError, TypeError, AttributeError, KeyError):
                found = ((folder / name, sha) for name, sha in witness["outputs"].items())
                self._intact[key] = all(path.is_file() and files.sha256(path) == sha for path, sha in found)
        return self._intact.get(key, False)

    def known(self, key: str) -> bool:
        """Whether a step was finished once, whatever became of its files."""
        return key in self._known

    def facts(self, key: str) -> dict[str, Any]:
        """What :meth:`finish` was told of a finished step."""
        return dict(self._known[key][1]["facts"])

    def of_base(self, base: str) -> list[str]:
        """Keys of the finished ``score`` steps of ``base`` (all but the scores asked for)."""
        return [key for key, (_, witness) in self._known.items() if (witness.get("facts") or {}).get("base") == base]

    def finish(self, stage: str, key: str, folder: Path, outputs: Iterable[Path], facts: Mapping[str, Any]) -> None:
        """Write the witness of a step whose stage has returned."""
        witness = {
            "format": FORMAT, "version": files.VERSION, "stage": stage, "key": key, "facts": dict(facts),
            "outputs": {path.relative_to(folder).as_posix(): files.sha256(path) for path in sorted(outputs)},
        }  # fmt: skip
        files.write_json(folder / WITNESS, witness)
        self._known[key], self._intact[key] = (folder, witness), True

    def outputs(self, key: str) -> dict[str, str]:
        """SHA-256 of a finished step's files, by name."""
        return dict(self._known[key][1]["outputs"])
