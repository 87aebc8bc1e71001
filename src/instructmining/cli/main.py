"""The command ``instructmining``: one file per command, heavy libraries loaded when called."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from instructmining.cli import download, experiment, explain, fit, rules, score, select
from instructmining.errors import InstructMiningError

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

app.command()(download.download)
app.command()(score.score)
app.command()(select.select)
app.command()(explain.explain)
app.add_typer(rules_app, name="rules")
app.add_typer(experiment_app, name="experiment")
app.command()(fit.fit)
rules_app.callback()(rules.rules)
rules_app.command("list")(rules.list_rules)
rules_app.command()(rules.show)
experiment_app.command()(experiment.plan)
experiment_app.command()(experiment.run)


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
        app(prog_name="instructmining")
    except InstructMiningError as error:
        _end(f"error: {error}", 2)
    except OSError as error:
        # Files explain themselves where they are opened; what is left is, for example, a
        # full disk under standard output.
        _end(f"error: {error.filename or 'output'}: {error.strerror or error}", 2)
    except MemoryError:
        _end("error: out of memory; free some, or give a smaller pool", 2)
    except SystemExit as ending:
        if ending.code == _INTERRUPTED:
            _end("interrupted; what is finished is kept, run it again to go on", _INTERRUPTED)
        raise


def _end(message: str, code: int) -> NoReturn:
    typer.echo(f"instructmining: {' '.join(message.split())}", err=True)
    sys.exit(code)
