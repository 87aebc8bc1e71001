"""``instructmining experiment``: plan fine-tuning runs, and carry them out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from instructmining.cli.options import StoreFolder, names
from instructmining.presets import SMALL

Method = Annotated[
    Literal["lora", "top", "full"],
    typer.Option(help="Train adapters, the last layers, or every weight."),
]
TopLayers = Annotated[
    int | None, typer.Option(metavar="N", help="Layers trained by --method top; 4 by default.")
]


def plan(
    source: Annotated[
        list[str],
        typer.Option(metavar="[NAME=]PATH", help="Pool to draw mixtures from; repeatable."),
    ],
    evaluation: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=PATH[#PART]",
            help="Evaluation file, or its pilot, fit or report part; repeatable.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the plan.")],
    mixture: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SPEC",
            help="SOURCE:SHARE,… or longest@SOURCE, shortest@*, random@*; repeatable.",
        ),
    ] = None,
    random_mixtures: Annotated[
        int, typer.Option(help="Mixtures of random source shares to add.")
    ] = 0,
    size: Annotated[int, typer.Option(help="Examples per mixture.")] = 128,
    seeds: Annotated[int, typer.Option(help="Training seeds per mixture.")] = 3,
    draw_seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    base_model: Annotated[
        str | None, typer.Option(help="Model to tune; by default the small one.")
    ] = None,
    method: Method = "lora",
    top_layers: TopLayers = None,
    learning_rate: Annotated[
        float, typer.Option(help="Peak rate; whole weights want far less than adapters.")
    ] = 1e-3,
    epochs: Annotated[int, typer.Option(help="Passes over each mixture.")] = 1,
    max_tokens: Annotated[int, typer.Option(help="Longer examples are cut.")] = 1_024,
) -> None:
    """Draw mixtures from source files and write down every run before any is run."""
    from instructmining import api

    training: dict[str, str | float] = {"method": method, "learning_rate": learning_rate}
    training |= {"epochs": epochs, "max_tokens": max_tokens}
    training |= {} if top_layers is None else {"n_layers": top_layers}
    drawn = api.plan_experiment(
        source,
        evaluation,
        mixtures=mixture or [],
        random_mixtures=random_mixtures,
        setting=api.ExperimentSetting(base_model, training, size, tuple(range(seeds)), draw_seed),
    )
    drawn.save(output)
    from rich.console import Console

    from instructmining.report.experiments import render_plan

    Console().print(render_plan(drawn))
    Console(stderr=True).print(f"plan written to {output}", markup=False, highlight=False)


def run(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.json", help="A plan to carry out.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Run log, one line per run; resumed if there.")
    ],
    limit: Annotated[int | None, typer.Option(help="Stop after so many runs.")] = None,
    shard: Annotated[
        str,
        typer.Option(metavar="I/N", help="Every N-th run from the I-th; processes share the log."),
    ] = "1/1",
    indicators: Annotated[
        str | None,
        typer.Option(metavar="COLUMN,…", help="Columns to log; by default the small set."),
    ] = None,
    store: StoreFolder = None,
) -> None:
    """Tune the base model on every mixture and log its inference losses."""
    from instructmining import api
    from instructmining.cli.progress import Bars
    from instructmining.experiments.specs import Shard

    part = Shard.parse(shard)
    columns = names(indicators) or SMALL.columns
    with Bars("rows") as bars:
        executor = api.prepare_experiment(plan, output, columns=columns, store=store, progress=bars)
    with Bars("runs") as bars:
        executor.run(bars, limit, part)
    typer.echo(output)
