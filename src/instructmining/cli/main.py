"""The command ``instructmining``: one file per command, heavy libraries loaded when called."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Any, NoReturn

import typer

from instructmining.cli import (
    compare,
    download,
    experiment,
    explain,
    export,
    fit,
    head,
    judge,
    report,
    rules,
    score,
    search,
    select,
    verify,
)
from instructmining.errors import InstructMiningError
from instructmining.plugins import PassedOver

#: Typer's exit code after Ctrl-C, that of shells: 128 + SIGINT.
_INTERRUPTED = 130

app = typer.Typer(
    name="instructmining",
    help="Find out which of your instruction data is worth training on, and prove it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
rules_app = typer.Typer(
    help="List the rules, or show one.", invoke_without_command=True, rich_markup_mode=None
)
experiment_app = typer.Typer(
    help="Plan fine-tuning runs, and carry them out.", no_args_is_help=True, rich_markup_mode=None
)
head_app = typer.Typer(
    help="Train small heads on your own preferences, and look at them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

app.command()(download.download)
app.command()(score.score)
app.command()(select.select)
app.command()(explain.explain)
app.command()(export.export)
app.add_typer(rules_app, name="rules")
app.add_typer(experiment_app, name="experiment")
app.command()(fit.fit)
app.command()(compare.compare)
app.command()(judge.judge)
app.command()(search.search)
app.command()(report.report)
app.command()(verify.verify)
app.add_typer(head_app, name="head")
rules_app.callback()(rules.rules)
rules_app.command("list")(rules.list_rules)
rules_app.command()(rules.show)
experiment_app.command()(experiment.plan)
experiment_app.command()(experiment.run)
head_app.command()(head.fit)
head_app.command()(head.show)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("instructmining"))
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Find out which of your instruction data is worth training on, and prove it."""


def main() -> None:
    """Run the command line; what a user can mend is one line and exit code 2, no traceback."""
    try:
        with warnings.catch_warnings():
            _say_notes()
            app(prog_name="instructmining")
    except InstructMiningError as error:
        _end(f"error: {error}", 2)
    except OSError as error:
        _end(f"error: {_refused(error)}", 2)
    except (MemoryError, RuntimeError) as error:
        message = _shortage(error)
        if not message:
            raise
        _end(f"error: {message}", 2)
    except SystemExit as ending:
        if ending.code == _INTERRUPTED:
            _end("interrupted; what is finished is kept, run it again to go on", _INTERRUPTED)
        raise


def _say_notes() -> None:
    """Have our warnings said as notes of one line; those of libraries stay as they are."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *more: Any, **named: Any) -> None:
        if issubclass(category, PassedOver):
            typer.echo(f"instructmining: note: {' '.join(str(message).split())}", err=True)
        else:
            usual(message, category, *more, **named)

    warnings.simplefilter("always", PassedOver)
    warnings.showwarning = show


def _refused(error: OSError) -> str:
    """Say which file the system refuses."""
    reason = error.strerror or str(error)
    # Python's own words; libraries look for the folder when they are imported.
    if reason.startswith("No usable temporary directory"):
        return (
            f"temporary files cannot be written ({reason}); free space, or name a folder "
            "that takes them (TMPDIR)"
        )
    # Files explain themselves where they are opened; what is left is, for example, a full
    # disk under standard output.
    return f"{error.filename or 'output'}: {reason}"


def _shortage(error: Exception) -> str:
    """Say what the machine is short of if that is what an error means, else nothing."""
    # In these words Python says that the system refuses a thread, for either reason.
    if "can't start new thread" in str(error):
        return "no thread can be started; free memory, or allow more processes (ulimit -u)"

    from instructmining.models.runtime import is_out_of_memory

    if is_out_of_memory(error):
        return "out of memory; free some, or give a smaller pool or model"
    return ""


def _end(message: str, code: int) -> NoReturn:
    typer.echo(f"instructmining: {' '.join(message.split())}", err=True)
    sys.exit(code)
