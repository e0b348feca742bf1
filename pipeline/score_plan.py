"""What ``score`` was asked for, checked before any work: data sets, scores, temperatures."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from neglabel import UsageError
from neglabel.corpora.uri import Location, is_uri, location, resolved
from neglabel.pipeline.engine import check_engine
from neglabel.pipeline.images import HF, Source, list_and_root, open_images
from neglabel.pipeline.option_types import UNSAFE
from neglabel.pipeline.prompts import check_template
from neglabel.pipeline.score_settings import ScoreSettings
from neglabel.pipeline.scores import SCORES, spec_of

#: The score that ``--odin-noise`` is for.
ODIN = "odin"
Role = Literal["id", "ood", "unknown"]


@dataclass(frozen=True)
class DataSet:
    """Pictures with a name and a role."""

    name: str
    role: Role
    source: Source


def options_checked(settings: ScoreSettings) -> Mapping[str, float]:
    """The scores asked for and their temperatures, in the order asked.

    Raises:
        UsageError: an unknown score; a temperature of a score not asked for, or not above 0; a prompt without ``{}``;
            an engine that isn't installed; streams that can't be mixed.
    """
    check_engine(settings.engine, settings.address)
    if settings.device == "cuda" and settings.engine == "local":
        from neglabel.pipeline.models import resolve_device

        resolve_device(settings.device)
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
        if not SCORES[name].tempered:
            raise UsageError(f"--temperature {name}={temperature:g}: {name} has no temperature; leave it out")
        chosen[name] = temperature
    _check_stream(settings)
    _check_noise(settings)
    return chosen


def _check_noise(settings: ScoreSettings) -> None:
    """Raises UsageError where ``--odin-noise`` is of no use, or can't be done, or ODIN lacks it."""
    if settings.odin_noise is None:
        if any(SCORES[name].moving for name in settings.score):
            raise UsageError(
                f"--score {ODIN} needs --odin-noise, by how much of their range pixels are moved; 0.0014 is usual "
                "(tempered-msp is ODIN without noise)"
            )
        return
    if not settings.odin_noise:
        raise UsageError("--odin-noise 0 moves nothing: ODIN without noise is --score tempered-msp; leave it out")
    if set(settings.score) != {ODIN}:
        raise UsageError(
            f"--odin-noise moves every picture of the run towards its nearest label, as ODIN wants it: ask for --score "
            f"{ODIN} alone, and for other scores in a run of their own"
        )
    if settings.engine != "local":
        raise UsageError(f"--odin-noise works with --engine local alone, not with {settings.engine}")


def _check_stream(settings: ScoreSettings) -> None:
    """Raises UsageError where ``--stream mixed`` has nothing to mix, or would give a picture more than one score."""
    if settings.stream == "separate":
        return
    if not any(SCORES[name].streaming for name in settings.score):
        streaming = ", ".join(name for name, spec in SCORES.items() if spec.streaming)
        raise UsageError(f"--stream mixed: no score asked for is one of a stream; ask for {streaming}, or leave it out")
    if len(settings.ood) != 1 or not settings.id or settings.images:
        raise UsageError(
            "--stream mixed shuffles ID pictures and those of one OOD set into one stream, so that an ID picture's "
            "score depends on that set; give --id and one --ood a run, and no --images"
        )


def data_sets(settings: ScoreSettings) -> list[DataSet]:
    """List the pictures of every data set asked for: ID, then OOD, then unknown.

    Raises:
        UsageError: none asked for, a name missing, unfit for a file or given twice, a picture that is both ID and OOD,
            or pictures that are not there.
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
            if UNSAFE.search(name) or len(name.encode()) > 100:
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
    sets = [DataSet(name, role, open_images(spec)) for name, role, spec in asked]
    _share_nothing(sets)
    return sets


def _apart(asked: list[tuple[str, Role, str]]) -> None:
    """ID and OOD must not be the same place, nor one inside the other; cheap, before anything is listed."""
    for id_name, id_role, id_spec in asked:
        for ood_name, ood_role, ood_spec in asked:
            if (id_role, ood_role) != ("id", "ood"):
                continue
            what = f"--id {id_name}={id_spec} and --ood {ood_name}={ood_spec}"
            inside, outside = _place(id_spec), _place(ood_spec)
            if inside == outside:
                raise UsageError(f"{what} are the same pictures; name different ones")
            if id_spec.startswith(HF) or ood_spec.startswith(HF):
                continue
            if inside in outside.parents and inside.is_dir() and outside.is_dir():
                raise UsageError(f"{what}: the second lies inside the first; keep them in separate folders")
            if outside in inside.parents and inside.is_dir() and outside.is_dir():
                raise UsageError(f"{what}: the first lies inside the second; keep them in separate folders")


def _place(spec: str) -> Location:
    """Equal for the same file or folder, however the spec is written."""
    if spec.startswith(HF):
        return Path(spec)
    name, root = list_and_root(spec)
    return resolved(location(name if root and (is_uri(name) or not Path(spec).exists()) else spec))


def shared_with(one: Source, sets: Sequence[DataSet]) -> tuple[DataSet, str] | None:
    """The first of ``sets`` that names a place which ``one`` names too, by whatever way (links, lists,
    ``imagefolder``), and that place; None where they share no picture."""
    real = _Real()
    places = {real(place) for place in one.places()}
    return next(((data, place) for data in sets for place in data.source.places() if real(place) in places), None)


class _Real:
    """Places with their links followed; a folder of pictures is resolved once, not once a picture."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def __call__(self, place: str) -> str:
        if is_uri(place):
            return place
        folder, name = os.path.split(place)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        path = os.path.join(self._folders[folder], name)
        return os.path.realpath(path) if os.path.islink(path) else path


def _share_nothing(sets: Sequence[DataSet]) -> None:
    """No picture may be ID and OOD, by whatever way the two name it (links, lists, ``imagefolder``)."""
    real = _Real()
    owners: dict[str, DataSet] = {}
    oods = [data for data in sets if data.role == "ood"]
    for data in sets if oods else ():
        if data.role == "id":
            owners.update((real(place), data) for place in data.source.places())
    for ood in oods if owners else ():
        for place in ood.source.places():
            if (owner := owners.get(real(place))) is not None:
                raise UsageError(
                    f"--id {owner.name}={owner.source.spec} and --ood {ood.name}={ood.source.spec} both hold {place}; "
                    "keep ID and OOD pictures apart"
                )
