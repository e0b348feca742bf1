"""The wheel: its modules are the tree's, nothing generic lands beside them, and its types hold."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from .conftest import ROOT

PARTS = ("corpora", "indexes", "pipeline")
LEFT_OUT = ("tests", "docs", "examples", "benchmarks")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of a copy of the tree: building in place would leave files there."""
    copy = tmp_path_factory.mktemp("source") / "neglabel"
    made = ("build", "dist", "*.egg-info", "neglabel-quickstart", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", *LEFT_OUT, *made))
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", out, copy]
    subprocess.run([str(c) for c in command], check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_wheel_has_the_trees_files_and_no_others(wheel: Path) -> None:
    names = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    tree = {f"neglabel/{p.name}" for p in ROOT.glob("*.py")} | {"neglabel/py.typed"}
    for part in PARTS:
        files = (p for p in (ROOT / part).rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        tree |= {"neglabel/" + p.relative_to(ROOT).as_posix() for p in files}
    assert names == tree


def test_wheel_carries_its_licences(wheel: Path) -> None:
    names = {Path(n).name for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" in n}
    assert {"LICENSE", "NOTICE", "LICENSE.wordnet", "entry_points.txt"} <= names


def test_types_hold_in_the_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    # mypy can't see through the finder of an editable install, so it reads the wheel.
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "-p", "neglabel"],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "MYPYPATH": str(tmp_path / "site")},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-3000:]


def test_public_names_are_there() -> None:
    import neglabel

    for name in neglabel.__all__:
        assert getattr(neglabel, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = neglabel.nonsense


def test_files_can_be_taken_in_at_one_sitting() -> None:
    files = [*ROOT.glob("*.py"), *(p for part in PARTS for p in (ROOT / part).rglob("*.py"))]
    assert {p.name: p.stat().st_size for p in files if p.stat().st_size > 10_000} == {}
