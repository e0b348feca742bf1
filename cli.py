"""The command line: one command a stage, its options those of the stage's settings. No logic."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from neglabel import NeglabelError, UsageError, __version__
from neglabel.pipeline import settings as options

app = typer.Typer(
    name="neglabel",
    help="Zero-shot out-of-distribution detection with negative labels: encode → mine → score → report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
JSON_HELP = "Print the summary as JSON on stdout."
_METAVARS: dict[Any, str] = {int: "INT", Path: "PATH"}
QUIET_HELP = "No progress and no summary, only warnings."


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"neglabel {__version__}")
        raise typer.Exit


@app.callback()
def _global(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
) -> None:
    pass


def _cli_type(field: FieldInfo) -> tuple[Any, list[str]]:
    """The type an option is read as (pydantic validates it), and the values it is limited to, for completion."""
    kinds = [a for a in get_args(field.annotation) if a is not type(None)] or [field.annotation]
    kind = field.annotation if get_origin(field.annotation) not in (Union, type(int | None)) else kinds[0]
    origin = get_origin(kind)
    if origin is Literal:
        return str, [str(a) for a in get_args(kind)]
    if origin in (tuple, dict) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return list[str], []
    return (kind, []) if kind in (int, bool, Path) else (str, [])


def _parameter(name: str, field: FieldInfo, argument: bool) -> inspect.Parameter:
    kind, choices = _cli_type(field)
    help_text = field.description or ""
    if field.is_required():
        help_text += " (required)"
    elif field.default not in (None, (), {}) and not argument:
        value = " ".join(field.default) if isinstance(field.default, tuple) else field.default
        help_text += f" (default: {value})"
    flag = "--" + name.replace("_", "-")
    declared: Any
    if argument:
        declared = typer.Argument(None, help=help_text, metavar=name.upper(), show_default=False)
    else:
        flags = [f"{flag}/--no-{flag[2:]}"] if kind is bool else [flag]
        complete = (lambda incomplete: [c for c in choices if c.startswith(incomplete)]) if choices else None
        metavar = None if kind is bool else "|".join(choices) or _METAVARS.get(kind, "TEXT")
        declared = typer.Option(
            None, *flags, help=help_text, metavar=metavar, show_default=False, autocompletion=complete
        )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=declared, annotation=kind | None)


def _add(name: str, kind: type[BaseModel], stage: str, argument: str | None = None) -> None:
    """A command ``name`` whose options are the fields of ``kind`` and which calls ``stage`` (``module:function``)."""

    def command(**given: Any) -> None:
        as_json, quiet, file = given.pop("json"), given.pop("quiet"), given.pop("config")
        _finish(name, lambda reporter: _call(stage, kind, given, file, reporter), as_json, quiet)

    extra = {
        "config": (Path | None, typer.Option(None, "--config", help="TOML file with these options; options win.")),
        "json": (bool, typer.Option(False, "--json", help=JSON_HELP)),
        "quiet": (bool, typer.Option(False, "--quiet", "-q", help=QUIET_HELP)),
    }
    parameters = [_parameter(n, f, n == argument) for n, f in kind.model_fields.items()]
    parameters += [
        inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d, annotation=a) for n, (a, d) in extra.items()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    app.command(name, help=kind.__doc__)(command)


def _call(stage: str, kind: type[BaseModel], given: Mapping[str, Any], file: Path | None, reporter: Any) -> Any:
    from neglabel.pipeline import config

    module, function = stage.split(":")
    made = config.make(kind, given, file)
    return getattr(import_module(module), function)(made, reporter)


def _finish(name: str, work: Callable[[Any], dict[str, Any]], as_json: bool, quiet: bool) -> None:
    """Run a stage; print its summary, or one sentence and the exit code of what went wrong."""
    from neglabel.pipeline.progress import Reporter
    from neglabel.pipeline.summary import show

    try:
        summary = work(Reporter(quiet=quiet or as_json))
    except NeglabelError as error:
        typer.echo(f"neglabel {name}: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None
    except KeyboardInterrupt:
        typer.echo(f"neglabel {name}: stopped; what is finished stays, the same command goes on from there", err=True)
        raise typer.Exit(130) from None
    if as_json:
        typer.echo(json.dumps(summary, ensure_ascii=False, indent=1))
    elif not quiet:
        show(name, summary)


_add("encode", options.EncodeSettings, "neglabel.pipeline.encode:encode", "corpus")
_add("mine", options.MineSettings, "neglabel.pipeline.mine:mine", "candidates")
_add("score", options.ScoreSettings, "neglabel.pipeline.score:score")
_add("report", options.ReportSettings, "neglabel.pipeline.report:report", "scores")
_add("quickstart", options.QuickstartSettings, "neglabel.pipeline.quickstart:quickstart")


@app.command(help=options.RunSettings.__doc__)
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


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        # Words of any language reach a terminal or file of any encoding.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    app()


if __name__ == "__main__":
    main()
