"""Damaged stores, manifests, mined files, scores, caches, labels, corpora and pictures: one sentence, or the healthy
part. Never a crash, a hang, memory without end, code run, or a file written elsewhere.

Each 25 are run in a process of their own (:mod:`tests.mutants`), which a crash ends without ending the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT
from .mutant_kinds import KINDS
from .mutant_world import build

SEED = 20_261
#: Mutants a process, and of each kind: in every run of the tests, and in `make soak` (1,001 in all).
EACH, FEW, MANY = 25, 2, 91

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and peaks of memory are read as Linux has them")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    folder = tmp_path_factory.mktemp("mutations") / "world"
    build(folder, tiny_model)
    return folder


def verdicts(world: Path, place: Path, mutants: Sequence[str]) -> list[dict[str, Any]]:
    """A verdict a mutant; a process that ends early is one, and the next goes on behind it."""
    found: list[dict[str, Any]] = []
    place.mkdir()
    while len(found) < len(mutants):
        given = [str(world), str(place), str(SEED), *mutants[len(found) : len(found) + EACH]]
        ran = subprocess.run(
            [sys.executable, "-m", "neglabel.tests.mutants", *given], capture_output=True, text=True, cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        lines = ran.stdout.splitlines()
        done = [json.loads(line) for line in lines if line.startswith("{")]
        begun = [line for line in lines if line in mutants]
        assert begun, f"the healthy run fails: {ran.stderr[-2_000:]}"
        found += done
        if len(begun) > len(done):
            found.append({"mutant": begun[-1], "wrong": f"ended with {ran.returncode}: {ran.stderr[-2_000:]}"})
        else:
            assert ran.returncode == 0, f"after {begun[-1]}: {ran.stderr[-2_000:]}"
    return found


def check(world: Path, place: Path, kinds: Sequence[str], count: int) -> None:
    mutants = [f"{kind}:{number}" for kind in kinds for number in range(count)]
    found = verdicts(world, place, mutants)
    assert [one["mutant"] for one in found] == mutants
    wrong = [f"seed {SEED}, {one['mutant']} {one.get('done')}: {one['wrong']}" for one in found if "wrong" in one]
    assert not wrong, "\n".join(wrong)


def test_damage_is_refused_or_counted(world: Path, tmp_path: Path) -> None:
    check(world, tmp_path / "place", list(KINDS), FEW)


@pytest.mark.soak
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_thousand_damaged_files_are_refused_or_counted(world: Path, tmp_path: Path, kind: str) -> None:
    check(world, tmp_path / "place", [kind], MANY)


def test_the_verdict_sees_what_it_is_for(world: Path, tmp_path: Path) -> None:
    """A crash, a wrong exception, memory and a file elsewhere are found: by a child that does them."""
    code = """
import json, os, sys
from pathlib import Path
from neglabel.tests import mutants
from neglabel.tests.mutant_kinds import Kind
def bad(box, out):
    bad.calls += 1
    if bad.calls == 2: raise KeyError("x")
    if bad.calls == 3: bytearray(b"x") * (400 << 20)
    if bad.calls == 4: (out.parent / "outside" / "executed").touch()
    if bad.calls == 5: os.abort()
    return {}
bad.calls = 0
kind = Kind("bad", ["toml"], bad, lambda *_: None)
mutants.main(Path(sys.argv[1]), Path(sys.argv[2]), 1, [f"bad:{n}" for n in range(4)], {"bad": kind})
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, str(world), str(tmp_path)], capture_output=True, text=True, cwd=ROOT
    )  # fmt: skip
    lines = ran.stdout.splitlines()
    wrong = [json.loads(line)["wrong"] for line in lines if line.startswith("{")]
    assert ["KeyError" in wrong[0], "MB more" in wrong[1], "outside" in wrong[2]] == [True] * 3
    assert (len(wrong), lines[-1], ran.returncode) == (3, "bad:3", -6)
    assert "Fatal Python error: Aborted" in ran.stderr
