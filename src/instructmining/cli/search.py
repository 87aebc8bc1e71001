"""``instructmining search``: how much of a ranked pool to train on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from instructmining.cli import options
from instructmining.cli.compare import AllowMismatch, Limit, PoolFile, Scores
from instructmining.cli.experiment import (
    BaseModel,
    BatchSize,
    DrawSeed,
    Epochs,
    LearningRate,
    Like,
    MaxTokens,
    Method,
    TopLayers,
    tuning,
)

if TYPE_CHECKING:
    from instructmining.api import PreparedSearch

Evaluations = Annotated[
    list[str],
    typer.Option(
        "--eval",
        metavar="NAME=PATH",
        help="Evaluation file: searched on its fit part, reported on its report part; repeatable.",
    ),
]
Folder = Annotated[
    Path,
    typer.Option("--output", "-o", help="Folder of plan, run log and result; resumed if there."),
]
By = Annotated[
    str,
    typer.Option(
        metavar="METHOD",
        help="What ranks: rule, longest, shortest, ifd, ppl, or NAME=DECISIONS.parquet.",
    ),
]
Rule = Annotated[str | None, typer.Option(help="Name or file of the rule that ranks.")]
Smallest = Annotated[int, typer.Option(help="Smallest size, in rows.")]
Largest = Annotated[
    str | None, typer.Option(help="Largest: 5000 rows, or 10% of the pool; by default all ranked.")
]
Sizes = Annotated[int, typer.Option(help="Sizes of the sweep, in equal ratios.")]
Trials = Annotated[int, typer.Option(help="Sizes BlendSearch may try; 0 leaves it out.")]
Hours = Annotated[
    float | None, typer.Option(help="BlendSearch tries no more after so many hours of runs.")
]
Tokens = Annotated[
    int | None, typer.Option(help="Nor after so many response tokens were trained on.")
]
Steps = Annotated[
    int | None,
    typer.Option(help="Steps of the curve at fixed steps; by default as for the middle size."),
]
Seeds = Annotated[int, typer.Option(help="Training seeds of every size, two or more.")]
SearchSeed = Annotated[int, typer.Option(help="Seed of BlendSearch.")]


def search(
    pool: PoolFile,
    evaluation: Evaluations,
    output: Folder,
    by: By = "rule",
    rule: Rule = None,
    smallest: Smallest = 32,
    largest: Largest = None,
    sizes: Sizes = 6,
    trials: Trials = 12,
    budget_hours: Hours = None,
    budget_tokens: Tokens = None,
    seeds: Seeds = 2,
    steps: Steps = None,
    search_seed: SearchSeed = 0,
    draw_seed: DrawSeed = 0,
    base_model: BaseModel = None,
    method: Method = "lora",
    top_layers: TopLayers = None,
    learning_rate: LearningRate = 1e-3,
    epochs: Epochs = 1,
    batch_size: BatchSize = 8,
    max_tokens: MaxTokens = 1_024,
    like: Like = None,
    limit: Limit = None,
    report: options.Report = None,
    scores: Scores = None,
    allow_mismatch: AllowMismatch = False,
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
    """Tune a model on the best so many rows, and say how many are best, and how many enough."""
    from instructmining import api
    from instructmining.cli.progress import Bars

    training = tuning(method, learning_rate, epochs, batch_size, max_tokens, top_layers)
    models, labour = (lm, encoder, reward, evaluator), (engine, workers)
    how = options.scoring(preset, models, evaluator_history, knn_reference, store, labour)
    seconds = None if budget_hours is None else 3600 * budget_hours
    scope = (smallest, largest, sizes, trials, seconds, budget_tokens, steps, search_seed)
    shared = (tuple(range(seeds)), draw_seed, base_model, training)
    asked = api.SearchSetting(by, rule, *scope, *shared, scores, allow_mismatch, how)
    with Bars() as bars:
        prepared = api.prepare_search(
            pool,
            evaluation,
            output,
            setting=replace(asked, scoring=replace(how, progress=bars)),
        )
    _run(prepared, like, limit, report)


def _run(
    prepared: PreparedSearch, like: list[Path] | None, limit: int | None, report: Path | None
) -> None:
    """Say what it costs, make the runs, and say what came of them."""
    from rich.console import Console

    from instructmining import api
    from instructmining.cli.progress import Bars
    from instructmining.experiments.outlook import outlook
    from instructmining.report.searches import render_found, render_search

    expected = outlook(like) if like else None
    # What it will cost is talk; standard output is for what came of it.
    Console(stderr=True).print(render_search(prepared.search, expected, prepared.said))
    with Bars("runs") as bars:
        found = prepared.run(bars, limit)
    if found is None:
        options.say("runs are left; run it again to go on")
        return
    Console().print(render_found(found))
    options.say(f"written to {prepared.folder / 'search.json'}")
    options.record_folder(prepared.folder, "search.json", prepared.search.plan)
    if report is not None:
        options.say(f"page: {api.report(prepared.folder / 'search.json', report)}")
