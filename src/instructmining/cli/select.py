"""``instructmining select``: the best part of a pool, by a rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from instructmining.cli import options
from instructmining.cli.destination import check_destination, final_name, placed
from instructmining.errors import InputError

if TYPE_CHECKING:
    from instructmining.api import Scoring, Selected
    from instructmining.api.parts import KeepingParts
    from instructmining.api.selections import Amount, Keeping, Overlapping
    from instructmining.formats import Pool

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
Within = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=LOW:HIGH",
        help="Keep no row whose value lies outside, such as nat=-3: or ifd=:1; repeatable.",
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
Output = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE|DIR|s3://…",
        help="Where to write the rows kept; of a pool in files, a folder.",
    ),
]
Keep = Annotated[
    str | None, typer.Option(help="1000 rows; 0.1 or 10% of the pool; 1 is one row, 1.0 is all.")
]
KeepTokens = Annotated[
    str | None, typer.Option(help="Tokens to keep instead, such as 200k, counted as len.")
]
Rule = Annotated[str, typer.Option(help="Name or file of the rule.")]
Order = Annotated[Literal["input", "rank"], typer.Option(help="Order of the rows written.")]
Scores = Annotated[
    str | None,
    typer.Option(
        metavar="TABLE|DIR",
        help="Score table of this pool to use instead of scoring; of a pool in files, a folder.",
    ),
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
    within: Within = None,
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
    """Score a pool, rank it by a rule, and write the best rows as they came.

    A pattern, such as 'pool/*.jsonl', is a pool in files, of which no process holds all.
    """
    from instructmining.parts.pattern import is_pattern

    models, labour = (lm, encoder, reward, evaluator), (engine, workers)
    how = options.scoring(preset, models, evaluator_history, knn_reference, store, labour)
    roles = options.column_roles(columns)
    amount: Amount = {"keep": keep, "keep_tokens": keep_tokens, "quota": quota, "within": within}
    against = _against(exclude_overlap, overlap, overlap_similarity, overlap_distance)
    apart: Keeping = {"diverse": diverse, "min_distance": min_distance}
    asked = _Asked(pool, rule, scores, how, allow_mismatch=allow_mismatch)
    if is_pattern(pool):
        flags = {"order": order != "input", "overlap": overlap != "drop", "report": report}
        texts = {"config": config, "split": split, "overlap_distance": overlap_distance}
        _whole_pools_only({**apart, **flags, **texts})
        read: KeepingParts = {"format": format, "columns": roles}
        read["exclude_overlap"] = exclude_overlap or ()
        read["overlap_similarity"] = overlap_similarity
        _select_parts(asked, output, {**amount, **read})
        return
    source = options.open_source(pool, format, columns, config, split)
    page = (report, not no_map) if report else None
    _select(asked, source, {**amount, **apart, **against}, (output, order), page)


@dataclass(frozen=True)
class _Asked:
    """What is selected from, and by what."""

    pool: str
    rule: str
    scores: str | None
    scoring: Scoring
    allow_mismatch: bool


def _select(
    asked: _Asked,
    source: Pool,
    keeping: Keeping,
    to: tuple[str, str],
    page: tuple[Path, bool] | None,
) -> None:
    from instructmining import api
    from instructmining.cli.progress import Bars

    output, order = to
    check_destination(output, page[0] if page else None)
    with Bars() as bars, placed(output) as path:
        result = api.select(
            source,
            rule=asked.rule,
            scores=asked.scores,
            allow_mismatch=asked.allow_mismatch,
            scoring=replace(asked.scoring, progress=bars),
            **keeping,
        )
        written = {"rows kept": path, "decisions": result.write(path, order=order)}
        if page is not None:
            result.write_report(page[0], with_map=page[1])
        pages = [page[0]] if page else []
        inputs = [asked.pool, asked.rule, asked.scores, *keeping.get("exclude_overlap", ())]
        options.record([*written.values(), *pages], inputs, result.facts)
    shown = {what: final_name(output, one) for what, one in written.items()}
    _show(result, shown | ({"page": str(page[0])} if page else {}))


def _select_parts(asked: _Asked, output: str, keeping: KeepingParts) -> None:
    from rich.console import Console

    from instructmining import api
    from instructmining.cli.progress import Bars
    from instructmining.report.parts import render_parts

    with Bars() as bars:
        result = api.select_parts(
            asked.pool,
            output,
            asked.rule,
            scores=asked.scores,
            allow_mismatch=asked.allow_mismatch,
            scoring=replace(asked.scoring, progress=bars),
            **keeping,
        )
    if "://" not in output:
        # Hashes of what lies elsewhere would be hashes of what was sent, not of what is there.
        written = [Path(output) / name for name in result.files]
        inputs = [*(part.address for part in result.parts), asked.rule]
        inputs += keeping.get("exclude_overlap", ())
        options.record(written, inputs, result.facts)
    Console().print(render_parts(result.selection, asked.pool))
    options.say(f"rows kept and decisions: {output}")


def _whole_pools_only(given: Mapping[str, Any]) -> None:
    """Refuse what needs all rows of a pool in one place."""
    for name, value in given.items():
        if value:
            raise InputError(
                f"--{name.replace('_', '-')}: wants all rows of the pool in one place, a pool in "
                "files is not; leave it out, or join the files"
            )


def _against(
    files: list[str] | None, action: str, similarity: str | None, distance: str | None
) -> Overlapping:
    return {
        "exclude_overlap": files or (),
        "overlap": action,
        "overlap_similarity": similarity,
        "overlap_distance": distance,
    }


def _show(result: Selected, written: dict[str, str]) -> None:
    from rich.console import Console

    from instructmining.report.select import render_summary

    Console().print(render_summary(result.summary))
    for what, path in written.items():
        options.say(f"{what}: {path}")
