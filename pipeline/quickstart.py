"""The four stages on the embedded world, as a user would run them on data of their own.

Unpacks the packaged pictures and class names, writes ``quickstart.toml`` beside them and runs that file.
"""

from __future__ import annotations

import math
import shutil
import zipfile
from pathlib import Path
from typing import Any

import tomli_w
from safetensors import safe_open

from neglabel.pipeline.files import write_text
from neglabel.pipeline.model_source import PACKAGED
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.run import claim, run_file
from neglabel.pipeline.run_settings import QuickstartSettings

FILE = "quickstart.toml"
ID = "animals"


def quickstart(settings: QuickstartSettings, reporter: Reporter) -> dict[str, Any]:
    """Write the embedded world into ``settings.out`` and run all stages on it.

    Raises:
        UsageError: the folder holds something else.
    """
    out = settings.out
    claim(out)
    write_text(out / FILE, run_toml(settings))
    sets = unpack(out)
    reporter.say(f"quickstart: {sum(sets.values()):,} pictures in {out / 'pictures'}, settings in {out / FILE}")
    return run_file(out / FILE, reporter)


def unpack(out: Path) -> dict[str, int]:
    """The packaged pictures into ``out/pictures`` and class names into ``out/labels``. Returns pictures a set."""
    sets: dict[str, int] = {}
    with zipfile.ZipFile(PACKAGED["emoji"] / "pictures.zip") as archive:
        for name in archive.namelist():
            folder = out if name.startswith("labels/") else out / "pictures"
            target = folder / name
            if name.endswith(".png"):
                sets[name.split("/")[0]] = sets.get(name.split("/")[0], 0) + 1
            if name.endswith("/") or (target.is_file() and target.stat().st_size == archive.getinfo(name).file_size):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(name) as source, open(target, "wb") as copy:
                shutil.copyfileobj(source, copy)
    return sets


def run_toml(settings: QuickstartSettings) -> str:
    """The run as TOML: animals are known, everything else is not; τ is the model's own, 1 / logit scale."""
    with zipfile.ZipFile(PACKAGED["emoji"] / "pictures.zip") as archive:
        names = {n.split("/")[0] for n in archive.namelist() if n.endswith(".png")}
    with safe_open(PACKAGED["emoji"] / "open_clip_model.safetensors", framework="numpy") as weights:
        temperature = round(math.exp(-float(weights.get_tensor("logit_scale"))), 6)
    return "# Made by `neglabel quickstart`; run it again with `neglabel run quickstart.toml`.\n" + tomli_w.dumps(
        {
            "out": ".",
            "labels": f"labels/{ID}.txt",
            "corpus": ["wordnet"],
            "model": "emoji",
            "random_seeds": settings.seeds,
            "score": {
                "id": {ID: f"pictures/{ID}"},
                "ood": {name: f"pictures/{name}" for name in sorted(names - {ID})},
                "temperature": {"neglabel": temperature, "msp": temperature},
            },
            "report": {"title": "neglabel on emoji: animals are known, everything else is not"},
        }
    )
