"""The same mixtures from two starting points: what carries over of coefficients and rankings.

Usage, from the folder of the repository::

    python -m experiments.rule.start RUNS.jsonl SECOND.jsonl --rows SCORES.parquet

SECOND are runs on mixtures of RUNS from another model (`second.py`). Three fits of the columns
of ``small``: RUNS whole, RUNS on the mixtures of SECOND, one seed each, and SECOND. The second
tells what fewer mixtures do from what the other model does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import typer
from experiments.rule.__main__ import REPORTED, RULES, TOP, likeness, number
from experiments.runs_table import markdown

from instructmining.rules.catalog import load_rule
from instructmining.rules.choose import all_columns
from instructmining.rules.fit import to_regress
from instructmining.rules.ranking import row_features
from instructmining.rules.regression import MixtureMeans, estimate
from instructmining.rules.runlog import Run, read_runs, tuned
from instructmining.rules.runtable import log_loss, run_table
from instructmining.rules.validate import FULL, RULE, Predictor, score, spearman
from instructmining.scoring.table import ScoreTable

EVALUATION = RULES["small"]
SETS = (*EVALUATION, *REPORTED)


def series(first: Sequence[Run], second: Sequence[Run]) -> dict[str, list[Run]]:
    """Return the runs of each fit, by name."""
    shared = {run["mixture"] for run in second}
    alike = [run for run in first if run["mixture"] in shared and run["seed"] == 0]
    return {
        f"first, {_mixtures(first)} mixtures": list(first),
        f"first, {_mixtures(alike)} mixtures": alike,
        f"second, {_mixtures(second)} mixtures": list(second),
    }


def _mixtures(runs: Sequence[Run]) -> int:
    return len({run["mixture"] for run in runs})


def columns() -> dict[str, str]:
    """Return the columns of ``small`` and their transforms."""
    rule = load_rule("small")
    return dict(zip(rule.columns_, rule.transforms_, strict=True))


def fitted(runs: Sequence[Run]) -> tuple[MixtureMeans, list[str]]:
    """Return what is regressed on, and the scores of the regression with a mixture left out."""
    table = run_table(runs, EVALUATION, columns(), "token")
    means = to_regress(table, "none")
    found = (
        score(Predictor(name, means, all_columns, with_shares=name == FULL), table).loo_r2
        for name in (RULE, FULL)
    )
    return means, [f"{value:.3f}" for value in found]


def coefficients(fits: Mapping[str, tuple[MixtureMeans, list[str]]]) -> list[list[str]]:
    """Return header and rows: coefficients, source shares held, and R²."""
    first = next(iter(fits.values()))[0]
    listed = [["runs", *first.features, "R², mixture out", "with shares"]]
    for name, (means, scores) in fits.items():
        found = estimate(means)
        spans = zip(found.coefficients[1:], found.intervals()[1:], strict=True)
        cells = (f"{b:+.5f} ({low:+.5f} … {high:+.5f})" for b, (low, high) in spans)
        listed.append([name, *cells, *scores])
    return listed


def rankings(fits: Mapping[str, MixtureMeans], rows: pl.DataFrame) -> list[list[str]]:
    """Return header and rows: how alike the fits rank the same rows."""
    x = row_features(rows, columns())
    x = x[~np.isnan(x).any(axis=1)]
    predicted = {name: x @ estimate(means).coefficients[1:] for name, means in fits.items()}
    listed = [["fits", f"rank correlation of {len(x):,} rows", f"shared in the top {TOP:.0%}"]]
    for one, two in combinations(predicted, 2):
        listed.append([f"{one}; {two}", *likeness(predicted[one], predicted[two])])
    return listed


def losses(first: Sequence[Run], second: Sequence[Run]) -> list[list[str]]:
    """Return header and rows: how alike the mixtures end from the two starting points."""
    listed = [["evaluation set", "rank correlation", "sd, first", "sd, second"]]
    place = {run["mixture"]: run for run in first}
    pairs = [(place[run["mixture"]], run) for run in second]
    for name in SETS:
        a, b = np.array([[log_loss(run, [name], "token") for run in pair] for pair in pairs]).T
        listed.append(
            [name, number(spearman(a, b)), f"{a.std(ddof=1):.4f}", f"{b.std(ddof=1):.4f}"]
        )
    return listed


app = typer.Typer(add_completion=False, help=__doc__, rich_markup_mode=None)


@app.command()
def main(
    first: Annotated[Path, typer.Argument(metavar="RUNS.jsonl", exists=True)],
    second: Annotated[Path, typer.Argument(metavar="SECOND.jsonl", exists=True)],
    rows: Annotated[Path, typer.Option(help="Score table whose rows are ranked.", exists=True)],
) -> None:
    """Print three tables."""
    runs = series(*(tuned(read_runs([path])) for path in (first, second)))
    fits = {name: fitted(own) for name, own in runs.items()}
    means = {name: found for name, (found, _) in fits.items()}
    _, alike, other = runs.values()
    for title, table in (
        ("Coefficients, source shares held", coefficients(fits)),
        ("How alike they rank", rankings(means, ScoreTable.load(rows).frame)),
        ("Losses of the same mixtures", losses(alike, other)),
    ):
        typer.echo(f"### {title}\n\n{markdown(table)}\n")


if __name__ == "__main__":
    app()
