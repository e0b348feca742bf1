"""`neglabel datasets`: what is known of data sets, and whether those below a root are as expected."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from neglabel import NeglabelError
from neglabel.pipeline.class_lists import digest, imagenet_part, repeated
from neglabel.pipeline.dataset_find import find, missing, read
from neglabel.pipeline.known_datasets import ROOT, Known, known, registry, root_folder
from neglabel.pipeline.progress import Reporter


def datasets(names: Sequence[str], root: str | None, reporter: Reporter) -> dict[str, Any]:
    """List the data sets called ``names`` (none: all); below a root, given or of the environment, check each.

    Returns:
        ``root`` (None: only listed), ``wrong``: names of those that were asked for by name and are not as expected,
        ``datasets``: a list of ``name, title, role, count, classes, splits, source, paper, licence, note, evidence,
        repeated`` (class names that occur twice) and, checked, what :func:`check` says.

    Raises:
        UsageError: an unknown name, or a root that is no folder.
    """
    entries = [known(name) for name in dict.fromkeys(names)] or list(registry().values())
    # An empty root that was given is refused: a script whose variable is not set would take a listing for success.
    text = root if root is not None else os.environ.get(ROOT) or None
    folder = root_folder(text) if text is not None else None
    rows = []
    for entry in reporter.track(entries, "check", len(entries), "data sets", size=lambda _: 1):
        rows.append(_about(entry) | (check(folder, entry) if folder else {}))
    wrong = [row["name"] for row in rows if names and folder and row["state"] != "ok"]
    return {"root": text, "wrong": wrong, "datasets": rows}


def _about(entry: Known) -> dict[str, Any]:
    names = list(imagenet_part(entry).values()) if entry.class_names == "imagenet" else []
    keys = ("name", "title", "role", "count", "classes", "source", "paper", "licence", "note", "evidence")
    return {key: getattr(entry, key) for key in keys} | {"splits": dict(entry.splits), "repeated": repeated(names)}


def check(root: Path, entry: Known) -> dict[str, Any]:
    """Find a data set and count it; a set with splits is as expected where one split is there and none is wrong.

    Returns:
        ``state``: ok, missing or wrong; ``where`` and ``layout`` (None: not there); ``found``: pictures by split
        (the key of a set without splits is empty); ``found_classes``; ``problem``: one sentence, empty where ok.
    """
    counts: dict[str, int] = {}
    seen: dict[str, Any] = {"where": None, "layout": None, "found": counts, "found_classes": None}
    for split in entry.splits or ("",):
        found = find(root, entry, split)
        if found is None:
            continue
        seen |= {"where": str(found.place), "layout": found.layout.kind}
        try:
            reading = read(found, entry, split, root)
        except NeglabelError as error:
            return seen | {"state": "wrong", "problem": str(error)}
        counts[split] = len(reading.items)
        classes = len({item.label for item in reading.items if item.label is not None})
        seen["found_classes"] = classes if reading.names else None
        problem = _problem(entry, split, len(reading.items), classes, reading.names)
        if problem:
            return seen | {"state": "wrong", "problem": f"{entry.name} at {found.place}: {problem}"}
    if not counts:
        split = next(iter(entry.splits), "")
        return seen | {"state": "missing", "problem": missing(root, entry, split)}
    return seen | {"state": "ok", "problem": ""}


def _problem(entry: Known, split: str, pictures: int, classes: int, names: Mapping[str, str]) -> str:
    of = f" in {split}" if split else ""
    expected = entry.expected(split)
    if expected is not None and pictures != expected:
        return f"{pictures:,} pictures{of}, {expected:,} expected; unpack or copy it again (source: {entry.source})"
    if entry.classes is not None and classes != entry.classes:
        return f"pictures of {classes:,} classes{of}, {entry.classes:,} expected"
    if entry.sha256 and digest(names.values()) != entry.sha256:
        return (
            f"its class names are others than expected (SHA-256 {digest(names.values())[:12]}…, not "
            f"{entry.sha256[:12]}…); compare its folders or lists with the original archive's"
        )
    return ""


def lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """The summary for people."""
    for row in summary["datasets"]:
        size = ", ".join(_sizes(row))
        if "state" not in row:
            yield f"{row['name']} ({row['role']}): {row['title']}; {size}"
            yield f"  from: {row['source']}"
            if row["note"]:
                yield f"  note: {row['note']}"
        elif row["state"] == "ok":
            found = ", ".join(f"{split}{' ' * bool(split)}{n:,}" for split, n in row["found"].items())
            classes = "" if row["found_classes"] is None else f", {row['found_classes']:,} classes"
            yield f"{row['name']}: ok, {found} pictures{classes} in {row['where']} ({row['layout']})"
        else:
            yield f"{row['name']}: {row['state']}: {row['problem']}"
        if row["repeated"] and row.get("state") != "missing":
            yield (
                f"  class names that occur twice: {', '.join(row['repeated'])} "
                f"({row['classes'] - len(row['repeated']):,} of {row['classes']:,} are distinct; "
                "classes keep their numbers)"
            )
    if summary["root"] is None:
        yield f"Check a folder of data sets with --root DIR or {ROOT}; use one as dataset:NAME,root=DIR."


def _sizes(row: Mapping[str, Any]) -> Iterator[str]:
    if row["splits"]:
        yield "pictures: " + ", ".join(f"{split} {count:,}" for split, count in row["splits"].items())
    else:
        yield "pictures: not pinned" if row["count"] is None else f"{row['count']:,} pictures"
    if row["classes"] is not None:
        yield f"{row['classes']:,} classes"
