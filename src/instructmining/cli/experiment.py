"""``instructmining experiment``: plan fine-tuning runs, and carry them out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from instructmining.cli.options import EngineOption, StoreFolder, Workers, names, say
from instructmining.presets import SMALL

if TYPE_CHECKING:
    from instructmining.api import Designing, Planned

Sources = Annotated[
    list[str], typer.Option(metavar="[NAME=]PATH", help="Pool to draw mixtures from; repeatable.")
]
Evaluations = Annotated[
    list[str],
    typer.Option(
        metavar="NAME=PATH[#PART]",
        help="Evaluation file, or its pilot, fit or report part; repeatable.",
    ),
]
PlanFile = Annotated[Path, typer.Option("--output", "-o", help="Where to write the plan.")]
Mixtures = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=SPEC",
        help="SOURCE:SHARE,… or longest@SOURCE, shortest@*, random@*; repeatable.",
    ),
]
RandomMixtures = Annotated[int, typer.Option(help="Mixtures of random source shares to add.")]
Designed = Annotated[
    int, typer.Option(metavar="N", help="Mixtures designed to spread the indicators' means.")
]
DesignColumns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[=TRANSFORM]", help="Indicator to spread; repeatable, by default six."
    ),
]
Indicators = Annotated[
    str | None,
    typer.Option(metavar="COLUMN,…", help="Columns to log; by default the small set."),
]
Scores = Annotated[
    Path | None,
    typer.Option(
        metavar="SCORES", help="What an earlier plan of the same rows left beside it: not scored."
    ),
]
PerSource = Annotated[
    int | None,
    typer.Option(help="Rows of each source drawn from; by default all, with --design 1,000."),
]
Size = Annotated[int, typer.Option(help="Examples per mixture.")]
Seeds = Annotated[int, typer.Option(help="Training seeds per mixture.")]
Replicated = Annotated[
    int | None, typer.Option(metavar="N", help="Run only the first N mixtures with every seed.")
]
DrawSeed = Annotated[int, typer.Option(help="Seed of the draws.")]
BaseModel = Annotated[str | None, typer.Option(help="Model to tune; by default the small one.")]
Method = Annotated[
    Literal["lora", "top", "full"],
    typer.Option(help="Train adapters, the last layers, or every weight."),
]
TopLayers = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Train only the last N layers, or adapters in them; top: 4 by default."
    ),
]
LearningRate = Annotated[
    float, typer.Option(help="Peak rate; whole weights want far less than adapters.")
]
Epochs = Annotated[int, typer.Option(help="Passes over each mixture.")]
BatchSize = Annotated[int, typer.Option(help="Examples per optimiser step.")]
MaxTokens = Annotated[int, typer.Option(help="Longer examples are cut.")]
Like = Annotated[
    list[Path] | None,
    typer.Option(metavar="RUNS.jsonl", help="Log of such runs: their noise and time are told."),
]
Price = Annotated[
    float | None, typer.Option(metavar="PER_HOUR", help="What an hour costs, with --like.")
]


def plan(
    source: Sources,
    evaluation: Evaluations,
    output: PlanFile,
    mixture: Mixtures = None,
    random_mixtures: RandomMixtures = 0,
    design: Designed = 0,
    design_column: DesignColumns = None,
    per_source: PerSource = None,
    indicators: Indicators = None,
    scores: Scores = None,
    size: Size = 128,
    seeds: Seeds = 3,
    replicate: Replicated = None,
    draw_seed: DrawSeed = 0,
    base_model: BaseModel = None,
    method: Method = "lora",
    top_layers: TopLayers = None,
    learning_rate: LearningRate = 1e-3,
    epochs: Epochs = 1,
    batch_size: BatchSize = 8,
    max_tokens: MaxTokens = 1_024,
    like: Like = None,
    price: Price = None,
    store: StoreFolder = None,
) -> None:
    """Draw mixtures from source files and write down every run before any is run."""
    from instructmining import api
    from instructmining.cli.progress import Bars

    training = tuning(method, learning_rate, epochs, batch_size, max_tokens, top_layers)
    designing = _designing(design, design_column, indicators, store, scores)
    shared = (size, tuple(range(seeds)), draw_seed, replicate, per_source)
    with Bars("rows") as bars:
        planned = api.plan_experiment(
            source,
            evaluation,
            mixtures=mixture or [],
            random_mixtures=random_mixtures,
            designing=designing,
            setting=api.ExperimentSetting(base_model, training, *shared),
            progress=bars,
        )
    _tell(planned, like, price)
    for path in planned.save(output):
        say(f"written to {path}")


def tuning(
    method: str,
    learning_rate: float,
    epochs: int,
    batch_size: int,
    max_tokens: int,
    top_layers: int | None,
) -> dict[str, str | float]:
    """Say how runs are trained, as the API takes it."""
    training: dict[str, str | float] = {"method": method, "learning_rate": learning_rate}
    training |= {"epochs": epochs, "batch_size": batch_size, "max_tokens": max_tokens}
    return training if top_layers is None else {**training, "n_layers": top_layers}


def _designing(
    n: int,
    columns: list[str] | None,
    indicators: str | None,
    store: str | None,
    scores: Path | None,
) -> Designing | None:
    from instructmining import api
    from instructmining.rules.runlog import parse_columns

    if not n:
        return None
    chosen = parse_columns(columns) if columns else None
    return api.Designing(n, chosen, names(indicators) or SMALL.columns, store, scores)


def _tell(planned: Planned, like: list[Path] | None, price: float | None) -> None:
    from rich.console import Console

    from instructmining.experiments.outlook import outlook
    from instructmining.report.experiments import render_cost, render_design, render_plan

    expected = outlook(like) if like else None
    console = Console()
    console.print(render_plan(planned.plan))
    if planned.design is not None:
        console.print(render_design(planned.design, expected.noise if expected else None))
    if expected is not None:
        console.print(render_cost(len(planned.plan.runs), expected, price))


def run(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.json", help="A plan to carry out.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Run log, one line per run; resumed if there.")
    ],
    limit: Annotated[int | None, typer.Option(help="Stop after so many runs.")] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Every N-th run from the I-th; processes share the log. By default as a "
            "launcher (accelerate, torchrun, srun) numbers this process.",
        ),
    ] = None,
    together: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Adapters trained side by side; by default 8 on a GPU, else 1."
        ),
    ] = None,
    indicators: Indicators = None,
    store: StoreFolder = None,
    engine: EngineOption = "local",
    workers: Workers = None,
) -> None:
    """Tune the base model on every mixture and log its inference losses."""
    from instructmining import api
    from instructmining.cli.progress import Bars
    from instructmining.shard import Shard

    part = Shard.parse(shard) if shard else Shard.from_environment()
    columns = names(indicators) or SMALL.columns
    with Bars("rows") as bars:
        how = api.Scoring(store=store, progress=bars, engine=engine, workers=workers)
        maker = api.prepare_experiment(
            plan, output, columns=columns, together=together, scoring=how
        )
    with Bars("runs") as bars:
        maker.run(bars, limit, part)
    typer.echo(output)
