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
    from instructmining.api.selections import Overlapping

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


NoMap = Annotated[
    bool, typer.Option("--no-map", help="Leave the map out of the page: nothing is embedded.")
]


ExcludeOverlap = Annotated[
    list[str] | None,
    typer.Option(
        metavar="EVAL", help="Keep no row that overlaps this evaluation file; repeatable."
    ),
]
Overlap = Annotated[
    Literal["drop", "flag"],
    typer.Option(help="Drop rows that overlap, or let them compete and flag them."),
]
OverlapSimilarity = Annotated[
    str | None,
    typer.Option(
        metavar="SHARE",
        help="Near-duplicates overlap, too: this share of word shingles in common, such as 0.7.",
    ),
]
OverlapDistance = Annotated[
    str | None,
    typer.Option(
        metavar="DISTANCE",
        help="So do rows nearer than this, by the encoder, to an evaluation example.",
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Where to write the rows kept.")]
Keep = Annotated[
    str | None, typer.Option(help="1000 rows; 0.1 or 10% of the pool; 1 is one row, 1.0 is all.")
]
KeepTokens = Annotated[
    str | None, typer.Option(help="Tokens to keep instead, such as 200k, counted as len.")
]
Rule = Annotated[str, typer.Option(help="Name or file of the rule.")]
Order = Annotated[Literal["input", "rank"], typer.Option(help="Order of the rows written.")]
Scores = Annotated[
    Path | None, typer.Option(help="Score table of this pool to use instead of scoring.")
]
AllowMismatch = Annotated[
    bool, typer.Option(help="Apply the rule to columns defined otherwise, and say so.")
]


def select(
    pool: options.Pool,
    output: Output,
    keep: Keep = None,
    keep_tokens: KeepTokens = None,
    diverse: Diverse = False,
    min_distance: MinDistance = None,
    quota: Quota = None,
    exclude_overlap: ExcludeOverlap = None,
    overlap: Overlap = "drop",
    overlap_similarity: OverlapSimilarity = None,
    overlap_distance: OverlapDistance = None,
    rule: Rule = "small",
    order: Order = "input",
    scores: Scores = None,
    allow_mismatch: AllowMismatch = False,
    report: options.Report = None,
    no_map: NoMap = False,
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
    """Score a pool, rank it by a rule, and write the best rows as they came."""
    from instructmining import api
    from instructmining.cli.progress import Bars

    _check(output, report)
    source = options.open_source(pool, format, columns, config, split)
    models, labour = (lm, encoder, reward, evaluator), (engine, workers)
    against = _against(exclude_overlap, overlap, overlap_similarity, overlap_distance)
    how = options.scoring(preset, models, evaluator_history, knn_reference, store, labour)
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
            **against,
        )
        written = _write(result, output, order, report, with_map=not no_map)
    _finish(result, written, [pool, rule, scores, *(exclude_overlap or ())])


def _check(*targets: Path | None) -> None:
    for target in filter(None, targets):
        check_target(target)


def _against(
    files: list[str] | None, action: str, similarity: str | None, distance: str | None
) -> Overlapping:
    return {
        "exclude_overlap": files or (),
        "overlap": action,
        "overlap_similarity": similarity,
        "overlap_distance": distance,
    }


def _write(
    result: Selected, output: Path, order: str, report: Path | None, *, with_map: bool
) -> list[tuple[str, Path]]:
    written = [("rows kept", output), ("decisions", result.write(output, order=order))]
    if report is not None:
        result.write_report(report, with_map=with_map)
        written.append(("page", report))
    return written


def _finish(
    result: Selected, written: list[tuple[str, Path]], read: list[Path | str | None]
) -> None:
    from rich.console import Console

    from instructmining.report.select import render_summary

    options.record([path for _, path in written], read, result.facts)
    Console().print(render_summary(result.summary))
    for what, path in written:
        options.say(f"{what}: {path}")
