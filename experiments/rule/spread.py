"""What the spread of an indicator within a mixture adds to its mean.

Usage, from the folder of the repository::

    python -m experiments.rule.spread PLAN.json RUNS.jsonl SCORES.parquet

A rule is a mean over rows: it cannot say that rows should differ. Here the standard deviation
of one transformed column within the mixture is put beside the rule's columns, one column at a
time, and scored on mixtures and sources left out. The runs are those the rules are fitted on;
the report parts and text-davinci-003's answers are fitted by no rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import typer
from experiments.rule.__main__ import REPORTED, RULES, number
from experiments.runs_table import markdown

from instructmining.api.experiments import DESIGN_COLUMNS
from instructmining.experiments.plan import Plan
from instructmining.rules.catalog import load_rule
from instructmining.rules.choose import all_columns
from instructmining.rules.regression import (
    MixtureMeans,
    estimate,
    mixture_means,
    variance_inflation,
)
from instructmining.rules.runlog import read_runs, tuned
from instructmining.rules.runtable import RunTable, run_table
from instructmining.rules.stability import bootstrap_counts
from instructmining.rules.transforms import apply_transform, feature_name
from instructmining.rules.validate import Predictor, Score, gain, score
from instructmining.scoring.table import ScoreTable

#: What is fitted on, by name.
FITTED = {"human": RULES["small-human"], "LIMA": RULES["small-lima"], "both": RULES["small"]}
#: Bootstrap draws of the gains.
DRAWS = 1_000
NOTHING = "nothing"


def spreads(plan: Plan, scores: ScoreTable) -> dict[str, dict[str, float]]:
    """Return the standard deviation of each transformed column in each mixture.

    Returns
    -------
    dict
        Name of a mixture to feature to its standard deviation over the mixture's rows.
    """
    place = {digest: i for i, digest in enumerate(scores.frame["example"])}
    features = {
        feature_name(name, kind): apply_transform(kind, scores.frame[name].cast(pl.Float64))
        for name, kind in DESIGN_COLUMNS.items()
    }
    found = {}
    for mixture in plan.mixtures:
        rows = [place[row.digest] for row in mixture.rows]
        found[mixture.name] = {
            name: float(np.nanstd(values[rows])) for name, values in features.items()
        }
    return found


def with_spread(means: MixtureMeans, values: np.ndarray, name: str) -> MixtureMeans:
    """Put one more column beside the features."""
    return replace(means, features=(*means.features, name), x=np.column_stack([means.x, values]))


def scored(means: MixtureMeans, table: RunTable, *, with_shares: bool) -> Score:
    """Score a regression on mixtures and sources left out, its columns held."""
    return score(Predictor("", means, all_columns, with_shares=with_shares), table)


def terms(table: RunTable, within: Mapping[str, Mapping[str, float]]) -> dict[str, MixtureMeans]:
    """Return what is regressed on, by what is added to the rule's columns."""
    means = mixture_means(table)
    found = {NOTHING: means}
    for name in next(iter(within.values())):
        values = np.array([within[mixture][name] for mixture in table.names])
        found[f"sd of {name}"] = with_spread(means, values, f"sd of {name}")
    return found


def left_out(
    tables: Mapping[str, RunTable], within: Mapping[str, Mapping[str, float]]
) -> list[list[str]]:
    """Return header and rows: R² with a mixture left out, by added term and evaluation set."""
    rows = [["added to the columns of `small`", *tables]]
    found = {name: terms(table, within) for name, table in tables.items()}
    for term in next(iter(found.values())):
        values = [
            scored(found[name][term].without_shares(), table, with_shares=False).loo_r2
            for name, table in tables.items()
        ]
        rows.append([term, *(f"{value:.3f}" for value in values)])
    return rows


def closely(
    tables: Mapping[str, RunTable], within: Mapping[str, Mapping[str, float]], term: str
) -> list[list[str]]:
    """Return header and rows: what one added term does, by evaluation set."""
    rows = [["fitted on", "R², mixture out", "gain", "95 %", "R², source out", "without it"]]
    rows[0] += ["with source shares", "largest VIF"]
    for name, table in tables.items():
        found = terms(table, within)
        counts = bootstrap_counts(table.n_mixtures, DRAWS, 0)
        bare, more = (
            scored(found[one].without_shares(), table, with_shares=False) for one in (NOTHING, term)
        )
        gained = gain(more, bare, table, counts)
        low, high = gained.interval
        rows.append(
            [
                name,
                f"{more.loo_r2:.3f}",
                f"{gained.value:+.3f}",
                f"{low:+.3f} … {high:+.3f}",
                number(more.source_r2),
                number(bare.source_r2),
                f"{scored(found[term], table, with_shares=True).loo_r2:.3f}",
                f"{variance_inflation(found[term]).max():.1f}",
            ]
        )
    return rows


def coefficients(
    tables: Mapping[str, RunTable], within: Mapping[str, Mapping[str, float]], term: str
) -> list[list[str]]:
    """Return header and rows: coefficients with the term beside them, source shares held."""
    rows: list[list[str]] = []
    for name, table in tables.items():
        means = terms(table, within)[term]
        found = estimate(means)
        rows = rows or [["fitted on", *means.features]]
        spans = zip(found.coefficients[1:], found.intervals()[1:], strict=True)
        rows.append([name, *(f"{b:+.5f} ({low:+.5f} … {high:+.5f})" for b, (low, high) in spans)])
    return rows


app = typer.Typer(add_completion=False, help=__doc__, rich_markup_mode=None)


@app.command()
def main(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.json", exists=True)],
    log: Annotated[Path, typer.Argument(metavar="RUNS.jsonl", exists=True)],
    scores: Annotated[Path, typer.Argument(metavar="SCORES.parquet", exists=True)],
) -> None:
    """Print three tables."""
    rule = load_rule("small")
    columns = dict(zip(rule.columns_, rule.transforms_, strict=True))
    runs = tuned(read_runs([log]))
    within = spreads(Plan.load(plan), ScoreTable.load(scores))
    sets = {**FITTED, **{name: (name,) for name in REPORTED}}
    tables = {name: run_table(runs, used, columns, "token") for name, used in sets.items()}
    typer.echo(markdown(left_out(tables, within)))
    term = f"sd of {feature_name('len_out', DESIGN_COLUMNS['len_out'])}"
    typer.echo(f"\nWith the {term}:\n")
    typer.echo(markdown(closely(tables, within, term)))
    typer.echo("\nCoefficients, source shares held:\n")
    typer.echo(markdown(coefficients(tables, within, term)))


if __name__ == "__main__":
    app()
