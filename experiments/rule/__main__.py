"""Fit the three rules from the run log, and print every table of docs/results.md on them.

Usage, from the folder of the repository::

    python -m experiments.rule RUNS.jsonl --rows SCORES.parquet [--out FOLDER]

The rules: for human references, for LIMA's answers, and for the mean of both log losses, which
is the one called ``small``. What is reported on is never fitted: the report parts of both, and
text-davinci-003's answers. With ``--out`` rules, numbers and figures are written there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import typer
from experiments.runs_table import markdown

from instructmining import api
from instructmining.api.experiments import DESIGN_COLUMNS
from instructmining.errors import RuleError
from instructmining.rules.fit import Estimation, fit_rule
from instructmining.rules.ranking import between_pairs, n_top
from instructmining.rules.result import FitResult
from instructmining.rules.rule import Rule
from instructmining.rules.runlog import Run, read_runs, tuned
from instructmining.rules.runtable import log_loss
from instructmining.rules.transforms import Floats
from instructmining.rules.validate import FULL, RULE, spearman
from instructmining.rules.verdict import Verdict
from instructmining.scoring.table import ScoreTable

#: Rule to the evaluation sets whose log losses are averaged.
RULES: Mapping[str, tuple[str, ...]] = {
    "small": ("human-fit", "lima-fit"),
    "small-human": ("human-fit",),
    "small-lima": ("lima-fit",),
}
#: What no rule is fitted on.
REPORTED = ("human-report", "lima-report", "davinci-report")
#: Share of the rows that is called the top.
TOP = 0.05

app = typer.Typer(add_completion=False, help=__doc__, rich_markup_mode=None)


def coefficients(verdict: Verdict) -> list[list[str]]:
    """Return header and rows: one per coefficient."""
    rows = [["feature", "estimate", "95 %", "95 %, clustered", "without shares"]]
    rows[0] += ["std.", "by example", "95 %, by example", "same sign in draws", "VIF"]
    kept = {one.feature: one.same_sign for one in verdict.result.resampled.spreads}
    for one in verdict.result.coefficients:
        rows.append(
            [
                one.name,
                f"{one.estimate:+.5f}",
                _span(one.interval),
                _span(one.cluster_interval),
                "–" if one.without_shares is None else f"{one.without_shares:+.5f}",
                "" if one.standardised is None else f"{one.standardised:+.2f}",
                f"{one.other_weighting:+.5f}",
                _span(one.other_interval),
                f"{kept[one.name]:.0%}" if one.name in kept else "",
                "" if one.vif is None else f"{one.vif:.1f}",
            ]
        )
    return rows


def scores(verdicts: Mapping[str, Verdict]) -> list[list[str]]:
    """Return header and rows: what each rule, and what is simpler, predicts unseen."""
    rows = [["rule", "predicted by", "R² in sample", "R², mixture out", "ranks"]]
    rows[0] += ["R², source out", "ranks, source out"]
    for name, verdict in verdicts.items():
        for one in verdict.result.validation.scores.values():
            rows.append(
                [
                    f"`{name}`",
                    one.name,
                    f"{one.r2:.3f}",
                    f"{one.loo_r2:.3f}",
                    number(one.loo_spearman),
                    number(one.source_r2),
                    number(one.source_spearman),
                ]
            )
    return rows


def reported(verdicts: Mapping[str, Verdict], runs: Sequence[Run]) -> list[list[str]]:
    """Return header and rows: rank correlation of left-out predictions with losses not fitted."""
    sets = [*dict.fromkeys([*RULES["small"], *REPORTED])]
    rows = [["rule", "predicted by", *sets]]
    for name, verdict in verdicts.items():
        table = verdict.result.table
        losses = {
            one: table.means(np.array([log_loss(run, [one], "token") for run in tuned(runs)]))
            for one in sets
        }
        for predictor in (RULE, FULL):
            found = verdict.result.validation.scores.get(predictor)
            if found is not None:
                ranks = [number(spearman(found.left_out, losses[one])) for one in sets]
                rows.append([f"`{name}`", predictor, *ranks])
    return rows


def agreement(rules: Mapping[str, Rule], rows: pl.DataFrame) -> list[list[str]]:
    """Return header and rows: how alike rules rank the same rows, length beside them."""
    predicted = {name: rule.predict_rows(rows) for name, rule in rules.items()}
    predicted["longest"] = -rows["len_out"].cast(pl.Float64).to_numpy()
    known = np.isfinite(np.array(list(predicted.values()))).all(axis=0)
    table = [["rules", "rank correlation", f"shared in the top {TOP:.0%}"]]
    for one, two in combinations(predicted, 2):
        alike = likeness(predicted[one][known], predicted[two][known])
        table.append([f"`{one}`, `{two}`", *alike])
    return table


def likeness(one: Floats, other: Floats) -> list[str]:
    """Return rank correlation of two predictions for the same rows, and what their tops share."""
    n = n_top(TOP, len(one))
    tops = np.array([np.argsort(values, kind="stable")[:n] for values in (one, other)])
    _, shared, _ = between_pairs(tops, len(one))
    return [number(spearman(one, other)), f"{shared:.0%}"]


def bars(verdicts: Mapping[str, Verdict]) -> list[list[str]]:
    """Return header and rows: what a rule should reach, and whether it does."""
    rows = [["rule", "bar", "reached", "wanted", ""]]
    for name, verdict in verdicts.items():
        for bar in verdict.bars:
            met = "met" if bar.met else "not met"
            rows.append([f"`{name}`", bar.name, f"{bar.value:.3f}", bar.wanted, met])
    return rows


def fitted(runs: Sequence[Run], evaluation: Sequence[str], name: str) -> FitResult:
    """Fit one of the rules, its columns chosen by AICc among the design's."""
    return fit_rule(
        runs,
        evaluation=evaluation,
        columns=DESIGN_COLUMNS,
        estimation=Estimation("aicc"),
        name=name,
    )


@app.command()
def main(
    logs: Annotated[list[Path], typer.Argument(metavar="RUNS.jsonl", exists=True)],
    rows: Annotated[Path, typer.Option(help="Score table whose rows are ranked.", exists=True)],
    out: Annotated[Path | None, typer.Option(help="Where rules and figures go.")] = None,
) -> None:
    """Fit the rules and print the tables."""
    began = time.perf_counter()
    runs = read_runs(logs)
    verdicts: dict[str, Verdict] = {}
    for name, evaluation in RULES.items():
        try:
            verdicts[name] = api.judge_fit(fitted(runs, evaluation, name), rows)
        except RuleError as error:  # no column is worth choosing: a result, too
            typer.echo(f"### `{name}`\n\n{error}\n")
            continue
        if out is not None:
            verdicts[name].result.rule.save(out / f"{name}.json")
            api.write_diagnostics(verdicts[name], out / name)
    for name, verdict in verdicts.items():
        typer.echo(f"### `{name}`\n\n{markdown(coefficients(verdict))}\n")
        typer.echo("".join(f"- {warning}\n" for warning in verdict.warnings))
    found = {name: verdict.result.rule for name, verdict in verdicts.items()}
    for title, table in (
        ("What is predicted unseen", scores(verdicts)),
        ("Rank correlation with each set's losses, mixtures left out", reported(verdicts, runs)),
        ("How alike the rules rank", agreement(found, ScoreTable.load(rows).frame)),
        ("Bars", bars(verdicts)),
    ):
        typer.echo(f"### {title}\n\n{markdown(table)}\n")
    typer.echo(f"{len(tuned(runs))} runs, {time.perf_counter() - began:.0f} s")


def _span(pair: tuple[float, float]) -> str:
    return f"{pair[0]:+.4f} … {pair[1]:+.4f}"


def number(value: float | None) -> str:
    """Write a share or a rank correlation; a dash where there is none."""
    return "–" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    app()
