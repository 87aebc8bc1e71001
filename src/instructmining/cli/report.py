"""``instructmining report``: the page of an artefact that was written before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    artefact: Annotated[
        Path,
        typer.Argument(
            metavar="ARTEFACT",
            help="comparison.json, search.json or diagnostics.json, or the folder that holds it.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PAGE.html", help="By default beside the artefact."),
    ] = None,
) -> None:
    """Write a page to open in a browser, and its data beside it."""
    from instructmining import api

    typer.echo(api.report(artefact, output))
