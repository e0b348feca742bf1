"""Class names that a data set pins: ImageNet's from open_clip's list by WordNet id, and digests of all.

open_clip's list is the authors' of CLIP: 1,000 names in class order, of which two occur twice (`missile`,
`sunglasses`), so 998 are distinct. Class order is that of sorted WordNet ids, which timm ships. Both are read as
files: importing the packages takes seconds, for the sake of PyTorch.
"""

from __future__ import annotations

import ast
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from neglabel import NeglabelError
from neglabel.pipeline.known_datasets import Known

#: SHA-256 of timm's 1,000 WordNet ids as :func:`digest` takes it.
WNIDS_SHA256 = "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15"
NAMES_SHA256 = "8800e39242cbed4c6889376e20a49cfdaf4f84a773a6686d15c3b39972ef94c4"


def digest(names: Iterable[str]) -> str:
    """SHA-256 of the names as UTF-8, each with a line feed: of a labels file as people write it."""
    return hashlib.sha256("".join(f"{name}\n" for name in names).encode()).hexdigest()


def repeated(names: Sequence[str]) -> list[str]:
    """Names that occur more than once, in order."""
    return [name for name, count in Counter(names).items() if count > 1]


@lru_cache(maxsize=1)
def imagenet() -> Mapping[str, str]:
    """WordNet id → class name, in class order, 1,000 of them.

    Raises:
        NeglabelError: the installed timm or open_clip has another list than the one pinned here.
    """
    wnids, names = _wnids("imagenet_synsets.txt"), _open_clip_names()
    for what, found, wanted in (("timm", wnids, WNIDS_SHA256), ("open_clip", names, NAMES_SHA256)):
        if digest(found) != wanted:
            raise NeglabelError(
                f"the installed {what} has another list of ImageNet's classes than neglabel knows (SHA-256 "
                f"{digest(found)[:12]}…, not {wanted[:12]}…); install another version of it, or name files yourself"
            )
    return dict(zip(wnids, names, strict=True))


def imagenet_part(entry: Known) -> Mapping[str, str]:
    """Of a set whose classes are ImageNet's: WordNet id → name, in class order."""
    wnids = entry.wnids or (_wnids(entry.wnid_file) if entry.wnid_file else ())
    names = imagenet()
    return {wnid: names[wnid] for wnid in wnids} if wnids else names


def _wnids(file: str) -> list[str]:
    path = _package("timm") / "data" / "_info" / file
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        raise NeglabelError(f"timm has no {file} (looked in {path.parent}); install timm 1.0 or later") from None


def _open_clip_names() -> list[str]:
    """The literal ``IMAGENET_CLASSNAMES`` of open_clip's source."""
    path = _package("open_clip") / "zero_shot_metadata.py"
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.Assign) and "IMAGENET_CLASSNAMES" in map(ast.unparse, node.targets):
                return list(ast.literal_eval(node.value))
    except (OSError, SyntaxError, ValueError):
        pass
    raise NeglabelError(f"open_clip's IMAGENET_CLASSNAMES can't be read from {path}; install open_clip_torch 3.x")


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise NeglabelError(f"{name} is not installed, and ImageNet's class list comes from it; install {name}")
    return Path(next(iter(spec.submodule_search_locations)))
