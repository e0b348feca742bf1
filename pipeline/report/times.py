"""Where the time went: the shares of each step, as `encode` and `score` counted them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from neglabel import NeglabelError
from neglabel.corpora.uri import Location, location
from neglabel.pipeline.files import read_json
from neglabel.pipeline.report.read import Run


def times(run: Run) -> dict[str, str]:
    """``FOLDER: compute`` → ``61.2 s, 93 %``: of stores that are still where they were, and of the pictures.

    The steps of encoding run at once, so their shares of its time may add up to more than 100 %.
    """
    found: dict[str, str] = {}
    for number, (folder, seconds) in enumerate(_stores(run), 1):
        # A number where two stores have one name: a whole path would be too long for its column.
        again = any(key.startswith(f"{folder.name}: ") for key in found)
        found |= _shown(f"{folder.name} ({number})" if again else folder.name, seconds)
    return found | _shown("pictures", run.manifest.get("time"))


def _stores(run: Run) -> Iterator[tuple[Location, Any]]:
    settings = run.negatives.metadata.get("settings")
    named = settings.get("candidates") if isinstance(settings, Mapping) else None
    for folder in map(location, named if isinstance(named, list) and all(isinstance(n, str) for n in named) else ()):
        try:
            yield folder, read_json(folder / "manifest.json", "neglabel-candidates").get("time")
        except (NeglabelError, OSError):
            continue


def _shown(what: str, seconds: Any) -> dict[str, str]:
    if not isinstance(seconds, Mapping) or not all(isinstance(s, int | float) and s >= 0 for s in seconds.values()):
        return {}
    wall = seconds.get("wall") or sum(seconds.values())
    return {
        f"{what}: {step}": f"{spent:.1f} s, {100 * spent / wall:.0f} %"
        for step, spent in seconds.items()
        if step != "wall" and wall
    }
