"""Stages killed (SIGKILL) just before their n-th file is put in its place, and run again: ``python -m … JOBS.json``.

Each run is a fork of this process, which has imported everything and started no thread. A job is ``stage``
(``module:function``), ``kind`` of its settings (``module:name``; empty: the stage takes a path), ``settings``,
``folders`` that it writes, and ``kills``; the answer is a line of JSON a kill.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from neglabel.pipeline import config
from neglabel.pipeline.progress import Reporter

#: What differs between runs that do the same, in any JSON file.
APART = {"seconds", "time", "versions", "embeddings_sha256", "rows_per_second"}


def stage(job: dict[str, Any]) -> None:
    module, function = job["stage"].split(":")
    given: Any
    if job["kind"]:
        where, name = job["kind"].split(":")
        given = config.make(getattr(import_module(where), name), job["settings"])
    else:
        given = Path(job["settings"]["file"])
    getattr(import_module(module), function)(given, Reporter(quiet=True))


def forked(job: dict[str, Any], kill: int | None) -> int:
    """How a run of the stage ends: its exit code, or minus the signal."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    signal.alarm(1_200)
    real, calls = os.replace, [0]

    def replace(*given: Any, **named: Any) -> None:
        if calls[0] == kill:
            os.kill(os.getpid(), signal.SIGKILL)
        calls[0] += 1
        real(*given, **named)

    os.replace = replace  # type: ignore[assignment]
    try:
        stage(job)
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def content(folders: list[str]) -> dict[str, str]:
    """Of every file a digest of what it says, but for times."""
    found = {}
    for path in sorted(p for folder in folders for p in Path(folder).rglob("*") if p.is_file()):
        if path.suffix in (".html", ".lock") or path.name.startswith("."):
            continue
        if path.suffix == ".parquet":
            said = repr(pq.read_table(path).to_pydict())
        elif path.suffix == ".json":
            said = json.dumps(_plain(json.loads(path.read_text())), sort_keys=True)
        else:
            said = path.read_bytes().decode("latin-1")
        found[str(path)] = hashlib.sha256(said.encode()).hexdigest()
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if k not in APART}
    return [_plain(v) for v in value] if isinstance(value, list) else value


def parts(folders: list[str]) -> list[str]:
    """Temporary files, in the folders and beside them."""
    places = {p for folder in folders for p in (Path(folder), Path(folder).parent)}
    return sorted({str(p) for place in places for p in place.rglob("*.part")})


def main(jobs: list[dict[str, Any]]) -> None:
    for job in jobs:
        import_module(job["stage"].split(":")[0])
    for job in jobs:
        folders = job["folders"]
        assert forked(job, None) == 0
        healthy = content(folders)
        for kill in job["kills"]:
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)
            ended = forked(job, kill)
            kept = {p: Path(p).stat().st_mtime_ns for p in content(folders)} if ended == -signal.SIGKILL else {}
            again = forked(job, None)
            now = content(folders)
            print(json.dumps({
                "stage": job["stage"], "kill": kill, "ended": ended, "again": again,
                "differ": sorted(p for p in {**now, **healthy} if now.get(p) != healthy.get(p)),
                "kept": sorted(p for p, at in kept.items() if p in now and Path(p).stat().st_mtime_ns == at),
                "parts": parts(folders),
            }), flush=True)  # fmt: skip


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
