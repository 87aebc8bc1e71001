"""``instructmining fit``: estimate a rule from a run log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def fit(
    logs: Annotated[
        list[Path], typer.Argument(metavar="RUNS.jsonl", help="Logs of fine-tuning runs.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the rule.")],
    column: Annotated[
        list[str],
        typer.Option(
            metavar="NAME[=TRANSFORM]",
            help="A column to enter, with identity, log1p, clip or clip+log1p; repeatable.",
        ),
    ],
    evaluation: Annotated[
        list[str] | None,
        typer.Option(help="Evaluation set to average over; repeatable, by default all."),
    ] = None,
    weighting: Annotated[
        Literal["token", "example"], typer.Option(help="What the mean loss counts alike.")
    ] = "token",
    name: Annotated[
        str | None, typer.Option(help="The rule's name; by default the file's.")
    ] = None,
    pilot: Annotated[
        bool, typer.Option("--pilot", help="Mark the rule as a pilot in every output.")
    ] = False,
) -> None:
    """Estimate a rule from fine-tuning runs by least squares."""
    from rich.console import Console

    from instructmining.report.rules import render_fit
    from instructmining.rules.fit import fit_rule
    from instructmining.rules.runlog import evaluation_names, parse_columns, read_runs

    runs = read_runs(logs)
    result = fit_rule(
        runs,
        evaluation=evaluation or evaluation_names(runs),
        columns=parse_columns(column),
        weighting=weighting,
        name=name or output.stem,
        status="pilot" if pilot else "fitted",
    )
    result.rule.save(output)
    Console().print(render_fit(result))
    Console(stderr=True).print(f"rule written to {output}", markup=False, highlight=False)
