"""``instructmining score``: a table of indicators, one row per row of the pool."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from instructmining.cli import options
from instructmining.cli.destination import check_destination, placed
from instructmining.errors import InputError
from instructmining.shard import Shard

if TYPE_CHECKING:
    from instructmining.scoring.forecast import Forecast
    from instructmining.scoring.table import ScoreTable

Output = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE|s3://…", help="Where to write the table."),
]
Indicators = Annotated[
    str | None,
    typer.Option(help="Columns to compute, comma-separated; only what they need is loaded."),
]
DryRun = Annotated[
    bool,
    typer.Option(help="Say what would be run and about how long it would take; run nothing."),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Every N-th batch from the I-th; processes share the store. By default as a "
        "launcher (torchrun, srun) numbers this process.",
    ),
]


def score(
    pool: options.Pool,
    output: Output = None,
    indicators: Indicators = None,
    dry_run: DryRun = False,
    shard: ShardOption = None,
    format: options.Format = None,
    columns: options.Columns = None,
    config: options.Config = None,
    split: options.Split = None,
    preset: options.Preset = "small",
    lm: options.LanguageModel = None,
    encoder: options.Encoder = None,
    reward: options.Reward = None,
    evaluator: options.Evaluator = None,
    evaluator_history: options.EvaluatorHistory = "readme",
    knn_reference: options.KnnReference = None,
    store: options.StoreFolder = None,
    engine: options.EngineOption = "local",
    workers: options.Workers = None,
) -> None:
    """Compute indicators for every row of a pool; resumes where it was stopped."""
    from instructmining import api
    from instructmining.cli.progress import Bars

    source = options.open_source(pool, format, columns, config, split)
    models, labour = (lm, encoder, reward, evaluator), (engine, workers)
    how = options.scoring(preset, models, evaluator_history, knn_reference, store, labour)
    wanted = options.names(indicators)
    if dry_run:
        _show(api.forecast(source, wanted, scoring=how))
        return
    if output is None:
        raise InputError("score: no --output came; give the file the table goes to")
    check_destination(output)
    part = Shard.parse(shard) if shard else Shard.from_environment()
    with Bars() as bars:
        left = api.fill(source, wanted, shard=part, scoring=replace(how, progress=bars))
    if left:
        options.say(f"{left} rows are left to other shards; the last of them writes the table")
        return
    with Bars() as bars:
        table = api.score(source, wanted, scoring=replace(how, progress=bars))
    _save(table, output, pool)


def _save(table: ScoreTable, output: str, pool: str) -> None:
    with placed(output) as path:
        table.save(path)
        options.record([path], [pool], {"columns": table.definitions, "recorded": table.recorded})
    options.say(f"{table.frame.height} rows, {len(table.columns)} columns")
    typer.echo(output)


def _show(expected: Forecast) -> None:
    from rich.console import Console

    from instructmining.report.forecast import render_forecast

    Console().print(render_forecast(expected))
