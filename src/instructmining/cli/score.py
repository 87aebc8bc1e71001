"""``instructmining score``: a table of indicators, one row per row of the pool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from instructmining.cli import options
from instructmining.files import check_target


def score(
    pool: options.Pool,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the table.")],
    indicators: Annotated[
        str | None,
        typer.Option(help="Columns to compute, comma-separated; only what they need is loaded."),
    ] = None,
    format: options.Format = None,
    columns: options.Columns = None,
    config: options.Config = None,
    split: options.Split = None,
    lm: options.LanguageModel = None,
    encoder: options.Encoder = None,
    knn_reference: options.KnnReference = None,
    store: options.StoreFolder = None,
) -> None:
    """Compute indicators for every row of a pool; resumes where it was stopped."""
    from instructmining import api
    from instructmining.cli.progress import Bars

    check_target(output)
    source = options.open_source(pool, format, columns, config, split)
    with Bars() as bars:
        table = api.score(
            source,
            options.names(indicators),
            scoring=api.Scoring(lm, encoder, knn_reference, store, bars),
        )
    table.save(output)
    options.say(f"{table.frame.height} rows, {len(table.columns)} columns")
    typer.echo(output)
