"""``instructmining verify``: whether an output and what it was made from are as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def verify(
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="An output, or the manifest beside it.")
    ],
) -> None:
    """Compare files with the manifest beside an output; exit code 1 if one is not as it was."""
    from instructmining import api

    findings = api.verify(output)
    for one in findings:
        typer.echo(f"{one.what}: {one.role} {one.path}")
    if findings:
        raise typer.Exit(1)
    typer.echo("all as it was")
