"""``instructmining export``: rows in the form a training tool reads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from instructmining.cli import options
from instructmining.errors import InputError


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
    push_to_hub: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME", help="Push the rows to this hub data set too, with a card."
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Push to a private data set only.")
    ] = False,
) -> None:
    """Write rows, a selection say, as a training tool reads them."""
    from instructmining import api

    if private and push_to_hub is None:
        raise InputError("--private says how rows are pushed; add --push-to-hub OWNER/NAME")
    source = options.open_source(pool, format, columns, config, split)
    exported = api.export(source, to, output)
    options.record(exported.files, [pool], {"target": to, "left_out": list(exported.left_out)})
    if exported.left_out:
        options.say(f"{len(exported.left_out)} rows without prompt or response were left out")
    for path in exported.files:
        typer.echo(path)
    if push_to_hub is not None:
        command = ["instructmining", *sys.argv[1:]]
        address = exported.push_to_hub(push_to_hub, private=private, command=command)
        options.say(f"pushed to {address}; the licence is yours to name in its card")
