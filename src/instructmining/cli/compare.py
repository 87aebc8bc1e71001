"""``instructmining compare``: ways of choosing data, by what models tuned on them lose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from instructmining.cli import options
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
    from instructmining.api import PreparedComparison

PoolFile = Annotated[
    str, typer.Argument(metavar="[NAME=]POOL", help="Pool the methods choose from.")
]
Evaluations = Annotated[
    list[str],
    typer.Option(
        "--eval",
        metavar="NAME=PATH[#PART]",
        help="Evaluation file, or its pilot, fit or report part; repeatable.",
    ),
]
Folder = Annotated[
    Path,
    typer.Option("--output", "-o", help="Folder of plan, run log and result; resumed if there."),
]
Keep = Annotated[str, typer.Option(help="1000 rows, or 5% of the pool: what the reference takes.")]
Methods = Annotated[
    str,
    typer.Option(
        metavar="METHOD,…",
        help="Of rule, random, longest, shortest, ifd, ppl, all, target (the evaluation files' own "
        "fit parts), or NAME=DECISIONS.parquet.",
    ),
]
Rule = Annotated[str | None, typer.Option(help="Name or file of the rule of the method rule.")]
Seeds = Annotated[int, typer.Option(help="Training seeds of every method.")]
AllSeeds = Annotated[int, typer.Option(help="Training seeds of the method all.")]
Equal = Annotated[
    Literal["tokens", "rows"],
    typer.Option(help="Equal for all: response tokens and optimiser steps, or rows."),
]
Reference = Annotated[
    str | None,
    typer.Option(
        metavar="METHOD", help="Sets the budget, and is held against the others; rule by default."
    ),
]
Scores = Annotated[
    Path | None, typer.Option(help="Score table of this pool to use instead of scoring.")
]
AllowMismatch = Annotated[
    bool, typer.Option(help="Apply the rule to columns defined otherwise, and say so.")
]
Margin = Annotated[
    float, typer.Option(help="Relative difference of the loss that does not matter.")
]
Tie = Annotated[
    float, typer.Option(help="Losses on a prompt closer than this are a tie, in nats per token.")
]
Answered = Annotated[
    str | None,
    typer.Option(
        "--answer", metavar="PROMPTS", help="File of prompts every tuned model answers, for judge."
    ),
]
MaxNewTokens = Annotated[int, typer.Option(help="Longest answer.")]
Adopt = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Take over the same runs of another comparison, as when a method is added.",
    ),
]
Limit = Annotated[
    int | None, typer.Option(help="Stop after so many runs; 0 shows what they will cost.")
]
ShardOption = Annotated[
    str | None,
    typer.Option(metavar="I/N", help="Every N-th run from the I-th; processes share the folder."),
]


def compare(
    pool: PoolFile,
    evaluation: Evaluations,
    keep: Keep,
    output: Folder,
    methods: Methods = "rule,random,longest,shortest,ifd,ppl,all",
    rule: Rule = None,
    seeds: Seeds = 5,
    all_seeds: AllSeeds = 2,
    budget: Equal = "tokens",
    reference: Reference = None,
    draw_seed: DrawSeed = 0,
    base_model: BaseModel = None,
    method: Method = "lora",
    top_layers: TopLayers = None,
    learning_rate: LearningRate = 1e-3,
    epochs: Epochs = 1,
    batch_size: BatchSize = 8,
    max_tokens: MaxTokens = 1_024,
    margin: Margin = 0.005,
    tie: Tie = 0.01,
    answer: Answered = None,
    max_new_tokens: MaxNewTokens = 256,
    adopt: Adopt = None,
    like: Like = None,
    limit: Limit = None,
    report: options.Report = None,
    shard: ShardOption = None,
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
    """Tune a model on what each method chooses, and say which choice is better, if any."""
    from instructmining import api
    from instructmining.cli.progress import Bars

    training = tuning(method, learning_rate, epochs, batch_size, max_tokens, top_layers)
    models, labour = (lm, encoder, reward, evaluator), (engine, workers)
    how = options.scoring(preset, models, evaluator_history, knn_reference, store, labour)
    shared = (tuple(range(seeds)), all_seeds, draw_seed, base_model, training)
    pool_as = (scores, allow_mismatch, how, answer, max_new_tokens)
    asked = api.ComparisonSetting(rule, budget, reference, *shared, *pool_as, margin, tie, adopt)
    with Bars() as bars:
        prepared = api.prepare_comparison(
            pool,
            evaluation,
            output,
            keep=keep,
            methods=methods.split(","),
            setting=replace(asked, scoring=replace(how, progress=bars)),
        )
    _run(prepared, like, limit, shard, report)


def _run(
    prepared: PreparedComparison,
    like: list[Path] | None,
    limit: int | None,
    shard: str | None,
    report: Path | None,
) -> None:
    """Say what it costs, make the runs, and say what came of them."""
    from rich.console import Console

    from instructmining import api
    from instructmining.cli.progress import Bars
    from instructmining.experiments.outlook import outlook
    from instructmining.report.comparisons import render_compared, render_contest
    from instructmining.shard import Shard

    part = Shard.parse(shard) if shard else Shard.from_environment()
    expected = outlook(like) if like else None
    # What it will cost is talk; standard output is for what came of it.
    talk = Console(stderr=True)
    talk.print(render_contest(prepared.contest, prepared.left, expected))
    with Bars("runs") as bars:
        compared = prepared.run(bars, limit, part)
    if compared is None:
        options.say(f"{len(prepared.left)} runs are left; run it again to go on")
        return
    Console().print(render_compared(compared))
    options.say(f"written to {prepared.folder / 'comparison.json'}")
    options.record_folder(prepared.folder, "comparison.json", prepared.contest.plan)
    if report is not None:
        options.say(f"page: {api.report(prepared.folder / 'comparison.json', report)}")
