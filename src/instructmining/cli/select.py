"""``instructmining select``: the best part of a pool, by a rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from instructmining.cli import options
from instructmining.files import check_target

if TYPE_CHECKING:
    from instructmining.api import Selected

Diverse = Annotated[
    bool,
    typer.Option(
        "--diverse", help="Keep no two rows nearer than 0.45, the same task in other words."
    ),
]
MinDistance = Annotated[
    str | None,
    typer.Option(
        metavar="DISTANCE",
        help="Keep no two rows nearer than this by the encoder: 0.2 is nearly the same text.",
    ),
]
Quota = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN[=NAME:SHARE,…]",
        help="Share the budget over the values of a column, as the pool does or as given.",
    ),
]


def select(
    pool: options.Pool,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the rows kept.")],
    keep: Annotated[
        str | None,
        typer.Option(help="1000 rows; 0.1 or 10% of the pool; 1 is one row, 1.0 is all."),
    ] = None,
    keep_tokens: Annotated[
        str | None, typer.Option(help="Tokens to keep instead, such as 200k, counted as len.")
    ] = None,
    diverse: Diverse = False,
    min_distance: MinDistance = None,
    quota: Quota = None,
    rule: Annotated[str, typer.Option(help="Name or file of the rule.")] = "small",
    order: Annotated[
        Literal["input", "rank"], typer.Option(help="Order of the rows written.")
    ] = "input",
    scores: Annotated[
        Path | None, typer.Option(help="Score table of this pool to use instead of scoring.")
    ] = None,
    allow_mismatch: Annotated[
        bool, typer.Option(help="Apply the rule to columns defined otherwise, and say so.")
    ] = False,
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
) -> None:
    """Score a pool, rank it by a rule, and write the best rows as they came."""
    from instructmining import api
    from instructmining.cli.progress import Bars

    check_target(output)
    source = options.open_source(pool, format, columns, config, split)
    models = (lm, encoder, reward, evaluator)
    how = options.scoring(preset, models, evaluator_history, knn_reference, store)
    with Bars() as bars:
        result = api.select(
            source,
            rule=rule,
            keep=keep,
            keep_tokens=keep_tokens,
            diverse=diverse,
            min_distance=min_distance,
            quota=quota,
            scores=scores,
            allow_mismatch=allow_mismatch,
            scoring=replace(how, progress=bars),
        )
    _show(result, output, result.write(output, order=order))


def _show(result: Selected, output: Path, decisions: Path) -> None:
    from rich.console import Console

    from instructmining.report.select import render_summary

    Console().print(render_summary(result.summary))
    options.say(f"rows kept: {output}\ndecisions: {decisions}")
