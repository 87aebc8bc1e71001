"""``instructmining fit``: estimate a rule from a run log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from instructmining.cli import options

if TYPE_CHECKING:
    from instructmining.rules.verdict import Verdict

Column = Annotated[
    list[str],
    typer.Option(
        metavar="NAME[=TRANSFORM]",
        help="A column to enter, with identity, log1p, clip or clip+log1p; repeatable.",
    ),
]
Choose = Annotated[
    Literal["none", "aicc", "ridge"],
    typer.Option(help="Choose among the columns: all, best subset by AICc, or all shrunken."),
]
LengthColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME[=TRANSFORM]", help="What is compared with; by default len_out."),
]
WithoutSource = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Fit on the mixtures that hold no row of this source; repeatable. To select from "
        "it later by a rule that has not seen it.",
    ),
]
Rows = Annotated[
    Path | None,
    typer.Option(metavar="SCORES", help="Score table whose ranking by refits is compared."),
]
Diagnostics = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where to write all numbers and figures.")
]


def fit(
    logs: Annotated[
        list[Path], typer.Argument(metavar="RUNS.jsonl", help="Logs of fine-tuning runs.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the rule.")],
    column: Column,
    evaluation: Annotated[
        list[str] | None,
        typer.Option(help="Evaluation set to average over; repeatable, by default all."),
    ] = None,
    weighting: Annotated[
        Literal["token", "example"], typer.Option(help="What the mean loss counts alike.")
    ] = "token",
    without_source: WithoutSource = None,
    choose: Choose = "none",
    length_column: LengthColumn = None,
    rows: Rows = None,
    diagnostics: Diagnostics = None,
    report: options.Report = None,
    name: Annotated[
        str | None, typer.Option(help="The rule's name; by default the file's.")
    ] = None,
    pilot: Annotated[
        bool, typer.Option("--pilot", help="Mark the rule as a pilot in every output.")
    ] = False,
) -> None:
    """Estimate a rule from fine-tuning runs, and say what they do and do not support."""
    from instructmining.api import judge_fit
    from instructmining.rules import runlog
    from instructmining.rules.fit import Estimation, fit_rule

    _check_targets(output, diagnostics, report)
    runs = runlog.without_sources(runlog.read_runs(logs), without_source or ())
    length = next(iter(runlog.parse_columns([length_column]).items())) if length_column else None
    result = fit_rule(
        runs,
        evaluation=evaluation or runlog.evaluation_names(runs),
        columns=runlog.parse_columns(column),
        weighting=weighting,
        estimation=Estimation(choose, length),
        name=name or output.stem,
        status="pilot" if pilot else "fitted",
    )
    verdict = judge_fit(result, rows)
    result.rule.save(output)
    facts = {"name": name or output.stem, "n_runs": len(runs), "without": without_source or []}
    options.record([output], [*logs, rows], facts)
    _show(verdict, output, diagnostics, report)


def _check_targets(output: Path, diagnostics: Path | None, report: Path | None) -> None:
    """Refuse before the work what would be refused after it."""
    from instructmining.files import check_target
    from instructmining.report.fit_plots import require_matplotlib

    check_target(output)
    if report is not None:
        check_target(report)
    if diagnostics is not None:
        check_target(diagnostics / "diagnostics.json")
        require_matplotlib()


def _show(verdict: Verdict, output: Path, diagnostics: Path | None, report: Path | None) -> None:
    from rich.console import Console

    from instructmining.api import write_diagnostics, write_fit_page
    from instructmining.report.fits import render_fit

    Console().print(render_fit(verdict))
    talk = Console(stderr=True)
    talk.print(f"rule written to {output}", markup=False, highlight=False)
    if diagnostics is not None:
        n = len(write_diagnostics(verdict, diagnostics))
        talk.print(f"{n} files written to {diagnostics}", markup=False, highlight=False)
    if report is not None:
        talk.print(f"page: {write_fit_page(verdict, report)}", markup=False, highlight=False)
