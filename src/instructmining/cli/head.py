"""``instructmining head``: train small heads on one's own preferences, and look at them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from instructmining.cli import options
from instructmining.files import check_target

if TYPE_CHECKING:
    from instructmining.models.heads import HeadFile


def fit(
    preferences: Annotated[
        list[Path],
        typer.Argument(metavar="PREFERENCES", help="Files of preferred and other responses."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where to write the head: FILE.safetensors.")
    ],
    column: Annotated[
        Literal["rew", "nat", "coh", "und"], typer.Option(help="The column it fills.")
    ] = "rew",
    lm: options.LanguageModel = None,
    store: options.StoreFolder = None,
) -> None:
    """Train a head for one column on preferences; resumes where it was stopped."""
    from instructmining import api
    from instructmining.cli.progress import Bars
    from instructmining.errors import InputError
    from instructmining.models.heads import SUFFIX

    if output.suffix != SUFFIX:
        raise InputError(f"{output}: heads are written to {SUFFIX} files; choose such a name")
    check_target(output)
    with Bars("responses") as bars:
        how = api.Scoring(lm=lm, store=store, progress=bars)
        trained = api.train_head(preferences, column, scoring=how)
    trained.file.save(output)
    for one in trained.file.card[column]["files"]:
        left = ", ".join(f"{reason} {n}" for reason, n in one["left_out"].items())
        options.say(f"{one['name']} ({one['layout']}): {one['pairs']} pairs; left out: {left or 0}")
    if trained.n_unscorable:
        options.say(f"{trained.n_unscorable} pairs the language model cannot run")
    _print(trained.file)
    typer.echo(output)


def show(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Heads; by default those of the package."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole card.")] = False,
) -> None:
    """Show the heads of a file: what they agree with, and what they were trained on."""
    from instructmining.models.heads import load_heads

    loaded = load_heads(file)
    if as_json:
        import json

        typer.echo(json.dumps(loaded.card, indent=2, ensure_ascii=False))
        return
    _print(loaded)


def _print(file: HeadFile) -> None:
    from rich.console import Console

    from instructmining.report.heads import render_heads

    Console().print(render_heads(file.card, file.lm, len(file.trained_on)))
