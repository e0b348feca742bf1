"""What ``score`` was asked for, checked before any work: data sets, scores, temperatures."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from neglabel import UsageError
from neglabel.pipeline.images import HF, Source, open_images, resolved
from neglabel.pipeline.prompts import check_template
from neglabel.pipeline.scores import SCORES, spec_of
from neglabel.pipeline.settings import ScoreSettings

Role = Literal["id", "ood", "unknown"]
#: What no file system of the common three has in a name; a leading dot would hide the file.
_UNSAFE = re.compile(r'[\x00-\x1f/\\<>:"|?*]|^\.|[. ]$')


@dataclass(frozen=True)
class DataSet:
    """Pictures with a name and a role."""

    name: str
    role: Role
    source: Source


def options_checked(settings: ScoreSettings) -> Mapping[str, float]:
    """The scores asked for and their temperatures, in the order asked.

    Raises:
        UsageError: an unknown score; a temperature of a score not asked for, or not above 0; a prompt without ``{}``.
    """
    for prompt in settings.label_prompt:
        check_template(prompt, f"--label-prompt {prompt}")
    check_template(settings.negatives_prompt, f"--negatives-prompt {settings.negatives_prompt}")
    chosen = {name: spec_of(name).temperature for name in settings.score}
    if not chosen:
        raise UsageError(f"--score: name at least one of {', '.join(SCORES)}")
    for name, temperature in settings.temperature.items():
        if name not in chosen:
            given = f"{name}={temperature:g}" if name else f"{temperature:g}"
            raise UsageError(f"--temperature {given}: write SCORE=T with a score asked for ({', '.join(chosen)})")
        if not (temperature > 0 and math.isfinite(temperature)):
            raise UsageError(f"--temperature {name}={temperature:g}: a temperature is a finite number above 0")
        chosen[name] = temperature
    return chosen


def data_sets(settings: ScoreSettings) -> list[DataSet]:
    """List the pictures of every data set asked for: ID, then OOD, then unknown.

    Raises:
        UsageError: none asked for, a name missing, unfit for a file or given twice, ID and OOD the same pictures, or
            pictures that are not there.
        NeglabelError: pictures that can't be listed.
    """
    asked: list[tuple[str, Role, str]] = []
    roles: tuple[tuple[Role, str, Mapping[str, str]], ...] = (
        ("id", "--id", settings.id),
        ("ood", "--ood", settings.ood),
        ("unknown", "--images", settings.images),
    )
    seen: dict[str, str] = {}
    for role, option, pairs in roles:
        for name, spec in pairs.items():
            if not name or not spec:
                raise UsageError(f"{option} {name or spec}: write NAME=IMAGES, as in {option} pets=photos/pets")
            if _UNSAFE.search(name) or len(name.encode()) > 100:
                raise UsageError(f"{option} {name}=…: the name becomes a file's name; use letters, digits, - and _")
            if name.casefold() == "average":
                raise UsageError(f"{option} {name}=…: `average` is the name of the mean over OOD sets; choose another")
            # Case-folded, since macOS and Windows would write both into one file.
            if name.casefold() in seen:
                raise UsageError(f"{option} {name}=…: {seen[name.casefold()]} has that name already; give each its own")
            seen[name.casefold()] = f"{option} {name}"
            asked.append((name, role, spec))
    if not asked:
        raise UsageError("no pictures: give --id, --ood or --images NAME=IMAGES")
    _apart(asked)
    return [DataSet(name, role, open_images(spec)) for name, role, spec in asked]


def _apart(asked: list[tuple[str, Role, str]]) -> None:
    """ID and OOD must not share pictures: not the same place, and not one inside the other."""
    for id_name, id_role, id_spec in asked:
        for ood_name, ood_role, ood_spec in asked:
            if (id_role, ood_role) != ("id", "ood"):
                continue
            what = f"--id {id_name}={id_spec} and --ood {ood_name}={ood_spec}"
            inside, outside = resolved(id_spec), resolved(ood_spec)
            if inside == outside:
                raise UsageError(f"{what} are the same pictures; name different ones")
            if id_spec.startswith(HF) or ood_spec.startswith(HF):
                continue
            if Path(inside) in Path(outside).parents and Path(inside).is_dir() and Path(outside).is_dir():
                raise UsageError(f"{what}: the second lies inside the first; keep them in separate folders")
            if Path(outside) in Path(inside).parents and Path(inside).is_dir() and Path(outside).is_dir():
                raise UsageError(f"{what}: the first lies inside the second; keep them in separate folders")
