"""The command line: one command a stage, its options those of the stage's settings. No logic."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

from neglabel import NeglabelError, UsageError, __version__
from neglabel.pipeline import run_settings, score_settings, sweep_settings
from neglabel.pipeline import settings as options
from neglabel.pipeline.cli_options import JSON_HELP, QUIET_HELP, parameters
from neglabel.pipeline.leaderboard_settings import LeaderboardSettings
from neglabel.pipeline.mine_settings import MineSettings

app = typer.Typer(
    name="neglabel",
    help="Zero-shot out-of-distribution detection with negative labels: encode → mine → score → report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"neglabel {__version__}")
        raise typer.Exit


@app.callback()
def _global(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
) -> None:
    pass


def _add(name: str, kind: type[BaseModel], stage: str) -> None:
    """A command ``name`` whose options are the fields of ``kind`` and which calls ``stage`` (``module:function``)."""

    def command(**given: Any) -> None:
        as_json, quiet, file = given.pop("json"), given.pop("quiet"), given.pop("config")
        _finish(name, lambda reporter: _call(stage, kind, given, file, reporter), as_json, quiet)

    found = parameters(kind)
    command.__signature__ = inspect.Signature(found)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in found}
    app.command(name, help=kind.__doc__)(command)


def _call(stage: str, kind: type[BaseModel], given: Mapping[str, Any], file: Path | None, reporter: Any) -> Any:
    from neglabel.pipeline import config

    module, function = stage.split(":")
    made = config.make(kind, given, file)
    return getattr(import_module(module), function)(made, reporter)


def _finish(name: str, work: Callable[[Any], dict[str, Any]], as_json: bool, quiet: bool) -> dict[str, Any]:
    """Run a stage; print its summary and return it, or one sentence and the exit code of what went wrong."""
    from neglabel.pipeline.progress import Reporter
    from neglabel.pipeline.summary import STOPPED, show

    try:
        summary = work(Reporter(quiet=quiet))
    except NeglabelError as error:
        typer.echo(f"neglabel {name}: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None
    except KeyboardInterrupt:
        typer.echo(f"neglabel {name}: stopped; {STOPPED.get(name, 'nothing was written')}", err=True)
        raise typer.Exit(130) from None
    if as_json:
        typer.echo(json.dumps(summary, ensure_ascii=False, indent=1))
    elif not quiet:
        show(name, summary)
    return summary


_add("encode", options.EncodeSettings, "neglabel.pipeline.encode:encode")
_add("mine", MineSettings, "neglabel.pipeline.mine:mine")
_add("score", score_settings.ScoreSettings, "neglabel.pipeline.score:score")
_add("report", options.ReportSettings, "neglabel.pipeline.report:report")
_add("leaderboard", LeaderboardSettings, "neglabel.pipeline.report.leaderboard:leaderboard")
_add("sweep", sweep_settings.SweepSettings, "neglabel.pipeline.sweep:sweep")
_add("quickstart", run_settings.QuickstartSettings, "neglabel.pipeline.quickstart:quickstart")


@app.command(help=run_settings.RunSettings.__doc__)
def run(
    file: Path = typer.Argument(..., metavar="FILE.toml", help="TOML file of the run."),
    as_json: bool = typer.Option(False, "--json", help=JSON_HELP),
    quiet: bool = typer.Option(False, "--quiet", "-q", help=QUIET_HELP),
) -> None:
    def work(reporter: Any) -> dict[str, Any]:
        from neglabel.pipeline.run import run_file

        return run_file(file, reporter)

    _finish("run", work, as_json, quiet)


@app.command(help="The corpora that `encode` knows, with options, licence, typical size and how to get the data.")
def corpora(
    as_json: bool = typer.Option(False, "--json", help="Print the list as JSON on stdout."),
) -> None:
    def work(reporter: Any) -> dict[str, Any]:
        from neglabel.corpora.listing import list_corpora

        return list_corpora()

    _finish("corpora", work, as_json, quiet=False)


@app.command(help="The data sets that `score` knows by name; with a root, whether they are there as expected.")
def datasets(
    names: list[str] = typer.Argument(None, metavar="[NAME]...", help="Data sets; default: all.", show_default=False),
    root: str = typer.Option(None, "--root", metavar="DIR", help="Folder of the data sets (default: $NEGLABEL_DATA)."),
    as_json: bool = typer.Option(False, "--json", help="Print the list as JSON on stdout."),
) -> None:
    def work(reporter: Any) -> dict[str, Any]:
        from neglabel.pipeline import dataset_check

        return dataset_check.datasets(names or [], root, reporter)

    if _finish("datasets", work, as_json, quiet=False)["wrong"]:
        raise typer.Exit(1)


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        # Words of any language reach a terminal or file of any encoding.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    app()


if __name__ == "__main__":
    main()
