"""The command ``instructmining``: one file per command, heavy libraries loaded when called."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from instructmining.cli import download, experiment, explain, fit, rules, score, select
from instructmining.errors import InstructMiningError

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


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    """Find out which of your instruction data is worth training on, and prove it."""
    if show_version:
        typer.echo(version("instructmining"))
        raise typer.Exit


def main() -> None:
    """Run the command line; errors a user can mend are one line and exit code 2."""
    try:
        app()
    except InstructMiningError as error:
        line = " ".join(str(error).split())
        typer.echo(f"instructmining: error: {line}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does; that is no error of ours.
        sys.stderr.close()
        sys.exit(0)
