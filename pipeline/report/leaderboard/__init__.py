"""A page over finished runs: methods × runs, to sort, to filter, with what can't be compared kept apart."""

from __future__ import annotations

from typing import Any

from neglabel.pipeline import config, files
from neglabel.pipeline.leaderboard_settings import LeaderboardSettings
from neglabel.pipeline.lock import one_writer
from neglabel.pipeline.progress import Reporter
from neglabel.pipeline.report.leaderboard import page, table
from neglabel.pipeline.report.leaderboard.entries import read_entries
from neglabel.pipeline.report.measure import AVERAGE

__all__ = ["leaderboard"]


@one_writer(lambda settings, *_: [("--out", settings.out)])
def leaderboard(settings: LeaderboardSettings, reporter: Reporter) -> dict[str, Any]:
    """Read ``settings.runs``, write ``settings.out``; files as in ``docs/formats.md``.

    Everything is made before anything is written.

    Returns:
        ``lines`` (method, run, ID set: lines of the page), ``runs``, ``groups`` (of averages that may be compared),
        ``page`` (its path), ``out``, ``notes`` (sentences for the user).

    Raises:
        UsageError: a folder that is neither ``report``'s nor ``score``'s, one given twice, no figure, an ``out`` that
            is not ours.
        NeglabelError: a damaged file, or a disk that refuses.
    """
    out = settings.out
    files.claim_folder(out, "neglabel-leaderboard", create=False)
    entries, notes = read_entries(settings, reporter)
    board = table.board(entries)
    averages = table.groups_of(board, AVERAGE)
    apart = table.apart(averages)
    html = page.render(settings, board)
    manifest = {
        "format": "neglabel-leaderboard",
        "version": files.VERSION,
        "settings": settings.model_dump(mode="json"),
        "versions": files.versions(),
        "groups": [dict(zip(table.FACTS, group, strict=True)) for group in board.groups],
    }
    files.claim_folder(out, "neglabel-leaderboard")
    # The manifest first: it makes the folder ours, so that an interrupted page can be made again.
    files.write_json(out / "manifest.json", manifest)
    files.write_text(out / "settings.toml", config.dump(settings))
    files.write_text(out / "leaderboard.csv", table.leaderboard_csv(entries, board))
    files.write_text(out / "index.html", html)
    reporter.say(f"leaderboard: {out / 'index.html'}")
    return {
        "lines": len(board.lines),
        "runs": len({entry.made.run for entry in entries}),
        "groups": len(averages),
        "page": str(out / "index.html"),
        "out": str(out),
        "notes": [*notes, *([apart] if apart else [])],
    }
