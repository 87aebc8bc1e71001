"""``instructmining export``: rows in the form a training tool reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from instructmining.cli import options


def export(
    pool: options.Pool,
    to: Annotated[
        Literal["messages", "trl", "llama-factory", "axolotl"],
        typer.Option(help="The tool, or plain chat messages."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the rows go.")],
    format: options.Format = None,
    columns: options.Columns = None,
    config: options.Config = None,
    split: options.Split = None,
) -> None:
    """Write rows, a selection say, as a training tool reads them."""
    from instructmining import api

    source = options.open_source(pool, format, columns, config, split)
    exported = api.export(source, to, output)
    options.record(exported.files, [pool], {"target": to, "left_out": list(exported.left_out)})
    if exported.left_out:
        options.say(f"{len(exported.left_out)} rows without prompt or response were left out")
    for path in exported.files:
        typer.echo(path)
