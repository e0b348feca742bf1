"""Runs stages on damaged copies of a small world, in a process of its own: ``python -m neglabel.tests.mutants``.

A mutant is known by seed, kind and number. Each is printed before it is run, so that whoever reads this
knows which one ended the process; a verdict is a line of JSON. Memory is limited to what a healthy run holds and
:data:`LIMIT`; a watchdog ends what hangs.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from neglabel import NeglabelError

from .mutant_kinds import KINDS, Kind
from .mutate_more import mutate

#: Bytes that a mutant may take beyond the healthy run: so much is a failure, and so much can't be had at all.
GROWTH, LIMIT = 300 << 20, 2 << 30
#: Seconds: of work, and on the clock (others may use the machine).
WORK, HANG = 30, 1_200


def main(world: Path, place: Path, seed: int, mutants: Sequence[str], kinds: Mapping[str, Kind] = KINDS) -> None:
    """``mutants``: each ``KIND:NUMBER``. Before the first of a kind the healthy world is run, which also imports."""
    faulthandler.enable()
    faulthandler.register(signal.SIGXCPU, chain=True)
    box, out, outside, here = (place / name for name in ("box", "out", "outside", "here"))
    for folder in (outside, here):
        folder.mkdir(exist_ok=True)
    os.chdir(here)
    ready: set[str] = set()
    for mutant in mutants:
        kind = kinds[mutant.split(":")[0]]
        if kind.name not in ready:
            _fresh(world, box, out)
            with contextlib.redirect_stdout(io.StringIO()):
                kind.check(box, out, kind.run(box, out), [])
            ready.add(kind.name)
        print(mutant, flush=True)
        rng = random.Random(f"{seed} {mutant}")
        _fresh(world, box, out)
        victims = [rng.choice(kind.victims(box)) for _ in range(rng.choice([1, 1, 1, 2]))]
        hurt = list(dict.fromkeys(victims))
        done = [mutate(rng, victim) for victim in hurt if victim.is_file()]
        before = _listing(place, box, kind)
        verdict = _judged(kind, box, out, [victim.name for victim in hurt])
        if (after := _listing(place, box, kind)) != before:
            changed = {path for path in {**after, **before} if after.get(path) != before.get(path)}
            verdict["wrong"] = f"written outside the output: {sorted(changed)[:3]}"
            shutil.rmtree(outside)
            outside.mkdir()
        print(json.dumps({"mutant": mutant, "done": done, **verdict}), flush=True)


def _judged(kind: Kind, box: Path, out: Path, hurt: list[str]) -> dict[str, Any]:
    base, begun = _reset_peak(), time.process_time()
    faulthandler.dump_traceback_later(HANG, exit=True)
    said: dict[str, Any] = {}
    try:
        with _limited(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            found = kind.run(box, out)
            kind.check(box, out, found, hurt)
        said["end"] = "healthy part kept"
    except NeglabelError as error:
        said["end"] = f"{type(error).__name__}: {error}"
        if not str(error).strip() or "\n" in str(error) or len(str(error)) > 3_000 or "Traceback" in str(error):
            said["wrong"] = "not one sentence"
        if any(isinstance(one, MemoryError) for one in _chain(error)):
            said["wrong"] = "only the limit kept it from taking all memory"
    except BaseException as error:
        import traceback

        said["end"] = f"{type(error).__name__}: {error}"[:300]
        said["wrong"] = "".join(traceback.format_exception(error)[-4:])[-1_500:]
    faulthandler.cancel_dump_traceback_later()
    if (grown := _status("VmHWM") - base) > GROWTH:
        said["wrong"] = f"took {grown >> 20} MB more than the healthy run"
    if (took := time.process_time() - begun) > WORK:
        said["wrong"] = f"took {took:.0f} s"
    return said


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Soft limits, so that making the next mutant isn't limited."""
    for limit, what in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        resource.setrlimit(limit, (_status(what) + LIMIT, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 2 * WORK, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_CPU):
            resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _reset_peak() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmHWM")


def _status(name: str) -> int:
    """Bytes, of ``/proc/self/status``."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    raise AssertionError(name)


def _fresh(world: Path, box: Path, out: Path) -> None:
    for folder in (box, out):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(world, box, symlinks=True)
    out.mkdir()
    # A store is continued with the settings that it was begun with, and they name files by absolute paths.
    manifest = box / "store" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(str(world), str(box)))


def _listing(place: Path, box: Path, kind: Kind) -> dict[str, Any]:
    """Everything but what the stage may write, with sizes."""
    written = [place / "out", *(box / name for name in kind.writes)]
    return {
        str(path.relative_to(place)): path.lstat().st_size if not path.is_dir() else -1
        for path in sorted(place.rglob("*"))
        if not any(path == w or w in path.parents for w in written) and not path.name.endswith(".lock")
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
