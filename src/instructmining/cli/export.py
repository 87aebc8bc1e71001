"""``instructmining export``: rows in the form a training tool reads."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from instructmining.cli import options
from instructmining.cli.destination import final_name, placed
from instructmining.errors import InputError

if TYPE_CHECKING:
    from instructmining.api import Exported


def export(
    pool: options.Pool,
    to: Annotated[
        Literal["messages", "trl", "llama-factory", "axolotl"],
        typer.Option(help="The tool, or plain chat messages."),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE|s3://…", help="Where the rows go.")
    ],
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
    with placed(output) as path:
        exported = api.export(source, to, path)
        left_out = list(exported.left_out)
        options.record(exported.files, [pool], {"target": to, "left_out": left_out})
        if push_to_hub is not None:
            _push(exported, push_to_hub, private=private)
    if left_out:
        options.say(f"{len(left_out)} rows without prompt or response were left out")
    for path in exported.files:
        typer.echo(final_name(output, path))


def _push(exported: Exported, name: str, *, private: bool) -> None:
    command = ["instructmining", *sys.argv[1:]]
    address = exported.push_to_hub(name, private=private, command=command)
    options.say(f"pushed to {address}; the licence is yours to name in its card")
