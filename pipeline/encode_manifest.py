"""The manifest of a store of candidates: made, or found and refused where it was made otherwise; saved."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from neglabel import UsageError
from neglabel.corpora.uri import Location
from neglabel.pipeline import config
from neglabel.pipeline.files import VERSION, read_json, versions, write_json, write_text
from neglabel.pipeline.plan import merge_counts
from neglabel.pipeline.settings import EncodeSettings

if TYPE_CHECKING:
    from neglabel.pipeline.shards import ShardRecord

FORMAT = "neglabel-candidates"
#: Names of a shard's files.
SHARD_FILE = re.compile(r"(shard|rejected)-\d{5,}(-[0-9a-f]{8})?\.parquet")
#: What must agree for a store to be continued.
IDENTITY = ("corpus", "preset", "prompts", "model", "precision", "device", "storage", "dedupe", "shard_rows",
            "batch_size", "limit", "sample", "seed", "weights", "too_long", "path", "planner",
            "token_budget", "part")  # fmt: skip
#: What a store says that was made before there were these.
BEFORE = {"sample": None, "seed": None, "weights": None, "too_long": "keep", "part": None}


def open_manifest(settings: EncodeSettings, identity: Mapping[str, Any]) -> dict[str, Any]:
    """A new manifest, written before any shard, or the folder's own, refused where it was made otherwise."""
    from neglabel.pipeline.shards import beyond_of, records_of

    assert settings.out is not None
    path = settings.out / "manifest.json"
    if not path.exists():
        manifest = {
            "format": FORMAT, "version": VERSION, **identity, "complete": False,
            "counts": merge_counts([]), "shards": [], "versions": versions(),
        }  # fmt: skip
        write_json(path, manifest)
        write_text(settings.out / "settings.toml", config.dump(settings))
        return manifest
    manifest = {**BEFORE, **read_json(path, FORMAT)}
    if not {"path", "planner", "token_budget"} <= manifest.keys():
        raise UsageError(
            f"--out {settings.out} was encoded by an earlier neglabel, in other batches than this one makes; "
            "it can be mined as it is, but to encode more name a new folder"
        )
    for name in IDENTITY:
        old, new = manifest.get(name), identity[name]
        if isinstance(old, dict) and isinstance(new, dict):
            name, old, new = next(
                ((f"{name}.{k}", old.get(k), new.get(k)) for k in {**old, **new} if _differ(k, old, new)), (name, 0, 0)
            )
        if old != new:
            raise UsageError(
                f"--out {settings.out} was encoded with {name} = {old!r}, not {new!r}; "
                "give the same settings to continue it, or name a new folder"
            )
    spent = manifest.get("time")
    if not isinstance(spent, dict) or not all(type(seconds) in (int, float) for seconds in spent.values()):
        manifest.pop("time", None)  # it says how long, and nothing goes by it
    beyond = {"beyond": found} if (found := beyond_of(manifest, path)) else {}
    manifest.pop("beyond", None)
    return {"sources": identity["sources"], **manifest, "shards": records_of(manifest, path), **beyond}


def _differ(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    # The path or tag by which the same weights were named is no difference; their checksum is.
    return key not in ("model", "pretrained") and old.get(key) != new.get(key)


def recorded(manifest: Mapping[str, Any]) -> Iterator[tuple[int, ShardRecord]]:
    """The finished shards with their numbers in the stream, ascending; a part has every n-th of them (``part``)."""
    first, step = manifest.get("part") or (0, 1)
    places = {**dict(enumerate(manifest["shards"])), **{int(k): r for k, r in manifest.get("beyond", {}).items()}}
    for place in sorted(places):
        yield first + place * step, places[place]


def place(manifest: dict[str, Any], number: int, record: ShardRecord) -> None:
    """Record the finished shard ``number``; shards finish in any order.

    ``shards`` is what is finished without a gap, as every version reads it; what lies beyond a gap waits in ``beyond``,
    by its index there, until the gap is closed.
    """
    first, step = manifest.get("part") or (0, 1)
    index = (number - first) // step
    shards, beyond = manifest["shards"], manifest.pop("beyond", {})
    if index <= len(shards):
        shards[index : index + 1] = [record]
    else:
        beyond[str(index)] = record
    while (waiting := beyond.pop(str(len(shards)), None)) is not None:
        shards.append(waiting)
    if beyond:
        manifest["beyond"] = beyond


def save(folder: Location, manifest: dict[str, Any]) -> None:
    manifest["counts"] = merge_counts([record["counts"] for _, record in recorded(manifest)])
    write_json(folder / "manifest.json", manifest)


def finish(folder: Location, manifest: dict[str, Any], words: list[dict[str, Any]]) -> None:
    """The corpora are exhausted: their tallies, and that the store is complete."""
    if not manifest.get("complete") or manifest.get("words") != words:
        manifest.update(words=words, complete=True)
        save(folder, manifest)
    # What a worker wrote that was thought dead, or what was encoded again under another name.
    named = {name for _, record in recorded(manifest) for name in (record["file"], record["rejected_file"])}
    for path in folder.iterdir():
        if SHARD_FILE.fullmatch(path.name) and path.name not in named:
            path.unlink(missing_ok=True)
