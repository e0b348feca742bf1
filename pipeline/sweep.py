"""``neglabel sweep``: every row of a table from one file, or of many tables, with what they share computed once.

A cell (row and repeat) is a run of all stages (:mod:`neglabel.pipeline.run`); here they are cut into steps
(:mod:`neglabel.pipeline.sweep_work`), done in the order of models, so that one is in memory.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from neglabel import NeglabelError, UsageError
from neglabel.pipeline import files
from neglabel.pipeline.lock import one_writer
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.quickstart import unpack
from neglabel.pipeline.remember import remembering
from neglabel.pipeline.sweep_grid import Cell, cells, only
from neglabel.pipeline.sweep_page import write_tables
from neglabel.pipeline.sweep_plan import Planned, plan
from neglabel.pipeline.sweep_published import published_of
from neglabel.pipeline.sweep_settings import SweepFile, SweepSettings, read_sweep
from neglabel.pipeline.sweep_steps import digest, settings_less
from neglabel.pipeline.sweep_work import Result, Tempered, Work, disk_full

FORMAT = "neglabel-sweep"


@one_writer(lambda settings, *_: [] if settings.dry_run else [("--out", settings.out)])
def sweep(settings: SweepSettings, reporter: Reporter) -> dict[str, Any]:
    """Make every row of every file, and their tables, in ``settings.out`` (docs/formats.md).

    Returns:
        ``files``: of each its ``name``, ``title``, ``rows`` (as in ``summary.csv``), ``folder``, ``page`` (None
        without); ``failed``: none, since that is an error; with ``dry_run`` instead ``rows``, ``runs`` and, by stage,
        ``steps`` and ``finished``.

    Raises:
        UsageError: what any stage would refuse of any row, all at once, before any work.
        NeglabelError: a row failed, after all others are done and the tables written; a disk that is full, at once.
    """
    sweeps = [read_sweep(path) for path in settings.file]
    published = {file.path.stem: published_of(file) for file in sweeps}
    chosen = [(file, cell) for file in sweeps for cell in cells(file, settings.small)]
    for name in settings.only:
        if not only([cell for _, cell in chosen], [name]):
            raise UsageError(f"--only {name}: no row is called that; `--dry-run` lists all")
    chosen = [(file, cell) for file, cell in chosen if only([cell], settings.only)]
    files.claim_folder(settings.out, FORMAT, create=False)
    with remembering():
        if settings.dry_run:
            with TemporaryDirectory() as spare:
                return _counted(_planned(chosen, settings, Path(spare)), Work(settings.out, reporter))
        planned = _claimed(chosen, settings)
        results = _all(planned, Work(settings.out, reporter), reporter)
        made = [
            write_tables(
                file, [r for r in results if r.planned.file is file], published[file.path.stem], settings, reporter
            )
            for file in sweeps
        ]
    failed = [r for r in results if r.failed]
    broken = [f"the page of {one['name']}: {one['page_failed']}" for one in made if one["page_failed"]]
    broken += [f"{r.planned.file.path.stem}, {r.planned.cell.row}: {r.failed}" for r in failed]
    if broken:
        runs = f"{len(failed)} of {len(results)} runs failed" if failed else "a page failed"
        raise NeglabelError(f"{runs} ({broken[-1] if failed else broken[0]}); the tables are written, run it again")
    return {"files": made, "out": str(settings.out)}


def _planned(chosen: Sequence[tuple[SweepFile, Cell]], settings: SweepSettings, out: Path) -> list[Planned]:
    world = None
    if settings.small:
        world = out / "world"
        unpack(world)
    return plan(chosen, out, settings.root, world)


def _claimed(chosen: Sequence[tuple[SweepFile, Cell]], settings: SweepSettings) -> list[Planned]:
    """What is refused leaves a new folder as it was."""
    out = settings.out
    new = not out.exists() or not any(out.iterdir())
    files.claim_folder(out, FORMAT)
    try:
        if new:
            about = {"format": FORMAT, "version": files.VERSION, "versions": files.versions()}
            files.write_json(out / "manifest.json", about)
        return _planned(chosen, settings, out)
    except UsageError:
        if new:
            shutil.rmtree(out / "world", ignore_errors=True)
            (out / "manifest.json").unlink(missing_ok=True)
            with suppress(OSError):
                out.rmdir()
        raise


def _all(planned: Sequence[Planned], work: Work, reporter: Reporter) -> list[Result]:
    """Every cell's result, in the order of cells."""
    results: dict[int, Result] = {}
    models = list(dict.fromkeys(p.model for p in planned))
    for model in models:
        ours = [(number, p) for number, p in enumerate(planned) if p.model == model]
        bases: dict[int, str] = {}
        notes: dict[int, str] = {}
        wanted: dict[str, dict[Tempered, None]] = {}
        for number, p in ours:
            reporter.say(f"sweep: words of {p.file.path.stem}, {p.cell.row} ({number + 1} of {len(planned)})")
            try:
                work.encode(p)
                notes[number] = work.mine(p)
                bases[number] = work.keys.base(p)
            except NeglabelError as error:
                results[number] = _failed(p, error)
                continue
            wanted.setdefault(bases[number], {}).update(dict.fromkeys(p.scores.values()))
        for number, p in ours:
            if number in results:
                continue
            reporter.say(f"sweep: pictures of {p.file.path.stem}, {p.cell.row} ({number + 1} of {len(planned)})")
            try:
                work.score(p, bases[number], wanted[bases[number]])
                results[number] = work.result(p, bases[number], notes[number])
            except NeglabelError as error:
                results[number] = _failed(p, error)
    return [results[number] for number in range(len(planned))]


def _failed(p: Planned, error: NeglabelError) -> Result:
    """Raises the error again where all other cells would fail alike."""
    if disk_full(error):
        raise error
    return Result(p, failed=str(error))


def _counted(planned: Sequence[Planned], work: Work) -> dict[str, Any]:
    """How many steps there are at least, and how many are finished; those of which the words are not there are new."""
    steps: dict[str, dict[str, bool]] = {"encode": {}, "mine": {}, "score": {}}
    for p in planned:
        words = work.keys.encode_key(p)
        manifest = work.keys.store(p) / "manifest.json"
        there = manifest.is_file() and bool(files.read_json(manifest, "neglabel-candidates").get("complete"))
        steps["encode"][words] = there
        mined = work.keys.mine_key(p) if there else digest([words, settings_less(p.mine, {"out", "candidates"})])
        steps["mine"][mined] = work.steps.done(mined)
        if steps["mine"][mined]:
            base = work.keys.base(p)
            whole = all(score in work.columns(base) for score in p.scores.values())
        else:
            apart = {"out", "negatives", "score", "temperature", "cache"}
            base, whole = digest([mined, settings_less(p.score, apart)]), False
        steps["score"][base] = steps["score"].get(base, True) and whole
    rows = {(p.file.path.stem, p.cell.row): None for p in planned}
    counted: Mapping[str, Any] = {
        stage: {"steps": len(found), "finished": sum(found.values())} for stage, found in steps.items()
    }
    return {"dry_run": True, "rows": [f"{stem}: {row}" for stem, row in rows], "runs": len(planned), **counted}
