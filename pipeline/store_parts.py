"""The files of a store that a manifest names, and of a store whose parts were encoded apart (`encode --shard-of`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from neglabel import NeglabelError, UsageError
from neglabel.corpora.uri import Location
from neglabel.pipeline import store
from neglabel.pipeline.encode_manifest import BEFORE, IDENTITY, recorded
from neglabel.pipeline.files import read_json
from neglabel.pipeline.models import same_model
from neglabel.pipeline.shards import records_of


def shards_of(folder: Location, manifest: Mapping[str, Any]) -> Iterator[tuple[Location, str]]:
    """The files of a store with their checksums. Raises NeglabelError where one is missing or cut."""
    for _, file, checksum in _numbered(folder, manifest):
        yield file, checksum


def _numbered(folder: Location, manifest: Mapping[str, Any]) -> Iterator[tuple[int, Location, str]]:
    """The files of a store's shards with rows, with their numbers in the stream and their checksums."""
    records = records_of(manifest, folder / "manifest.json")
    for number, record in recorded({"shards": records, "part": _part(manifest, folder)}):
        if not record["rows"]:
            continue
        path = folder / record["file"]
        if not path.is_file() or store.open_parquet(path).metadata.num_rows != record["rows"]:
            raise NeglabelError(f"{path} is missing or cut; run the same `neglabel encode` again to mend it")
        yield number, path, record["sha256"]


def _part(manifest: Mapping[str, Any], folder: Location) -> tuple[int, int] | None:
    part = manifest.get("part")
    if part is None:
        return None
    if not (isinstance(part, list) and len(part) == 2 and all(type(n) is int for n in part) and 0 <= part[0] < part[1]):
        raise NeglabelError(f"{folder / 'manifest.json'} is damaged (part); encode into a new folder")
    return part[0], part[1]


def _same_encode(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two parts are of one run of words: made alike, cut into as many, and of the same stream."""
    names = [name for name in IDENTITY if name not in ("part", "model")]
    return (
        one["part"][1:] == other["part"][1:]
        and all(one.get(name, BEFORE.get(name)) == other.get(name, BEFORE.get(name)) for name in names)
        and same_model(one.get("model"), other.get("model")) is None
        and one.get("stream") == other.get("stream")
    )


def continues(before: Sequence[tuple[Location, Mapping[str, Any]]], manifest: Mapping[str, Any]) -> bool:
    """Whether ``manifest`` is a part of an encode of which ``before`` has one."""
    return manifest.get("part") is not None and any(
        other.get("part") is not None and _same_encode(other, manifest) for _, other in before
    )


def parts_of(path: Location, manifest: Mapping[str, Any], paths: Sequence[Location]) -> Iterator[tuple[Location, str]]:
    """The files of all parts among ``paths`` of the encode that ``path`` is of, in the order of the stream.

    So everything that goes by order (ties, draws, who is first of equal words) is as in one store.
    """
    parts: list[tuple[int, Location, Mapping[str, Any]]] = []
    others: list[Location] = []
    _part(manifest, path)
    for other in paths:
        if not other.is_dir():
            continue
        its = read_json(other / "manifest.json", "neglabel-candidates")
        part = _part(its, other)
        if part is not None and _same_encode(manifest, its):
            parts.append((part[0], other, its))
        elif part is not None and its.get("corpus") == manifest.get("corpus"):
            others.append(other)
    count = manifest["part"][1]
    there = Counter(number for number, _, _ in parts)
    if twice := [number for number, times in there.items() if times > 1]:
        names = ", ".join(str(folder) for number, folder, _ in parts if number == twice[0])
        raise UsageError(f"part {twice[0]}/{count} is there more than once ({names}); name each part once")
    if missing := [f"{number}/{count}" for number in range(count) if number not in there]:
        alike = f" ({others[0]} was made with other settings, or of a corpus that had changed)" if others else ""
        raise UsageError(
            f"{path} is part {manifest['part'][0]}/{count} of an encode; part{'s' * (len(missing) > 1)} "
            f"{', '.join(missing[:5])}{', …' * (len(missing) > 5)} of it is missing{alike}; "
            "name the folders of all parts"
        )
    numbered = (entry for _, folder, its in parts for entry in _numbered(folder, its))
    for _, file, checksum in sorted(numbered):
        yield file, checksum
