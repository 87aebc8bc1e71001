"""The paper's way beside ours: mixtures drawn at random, and the paper's choices in the fit.

Usage, from the folder of the repository::

    python -m experiments.rule.plain RUNS.jsonl PLAIN.jsonl --rows SCORES.parquet

RUNS are those of the designed mixtures, PLAIN those of as many mixtures of random source shares,
tuned and measured alike. Each is fitted in our way (clipped columns, source shares held, subset of
lowest AICc) and in the paper's, as far as that is known: raw means, no source shares, and of all
subsets the one with the most significant coefficients (ordinary least squares, 5 %), of those
alike the one of highest R² in the sample. The evaluation sets are those of the rule ``small``.

A series predicts the other's mixtures, too, which no fold of its own can be accused of. Choices
are repeated in every fold and bootstrap draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import typer
from experiments.rule.__main__ import RULES, TOP, number
from experiments.runs_table import markdown
from scipy.stats import t

from instructmining.api.experiments import DESIGN_COLUMNS
from instructmining.rules.catalog import load_rule
from instructmining.rules.choose import Subset, all_columns, best_subset, cheapest_subset
from instructmining.rules.fit import to_regress
from instructmining.rules.ranking import between_pairs, n_top, row_features, top_rows
from instructmining.rules.refits import Chooser, Moments, refit
from instructmining.rules.regression import (
    MixtureMeans,
    condition_number,
    estimate,
    mixture_means,
    variance_inflation,
)
from instructmining.rules.runlog import Run, read_runs, tuned
from instructmining.rules.runtable import RunTable, run_table
from instructmining.rules.stability import bootstrap_counts
from instructmining.rules.transforms import Floats
from instructmining.rules.validate import RULE, SHARES, Predictor, score, spearman
from instructmining.scoring.table import ScoreTable

EVALUATION = RULES["small"]
#: What the paper calls a significant coefficient.
LEVEL = 0.05
#: The columns of ours as the paper takes them: perplexity itself, and nothing transformed.
RAW = {"ppl" if name == "nll" else name: "identity" for name in DESIGN_COLUMNS}
#: Bootstrap draws whose rankings are compared, in pairs.
DRAWS = 200


def most_significant(found: Moments) -> Floats:
    """Coefficients of the subset with the most significant ones, of those alike the best fit.

    Parameters
    ----------
    found : Moments
        Without source shares; see `refits.Chooser`.
    """

    def cost(one: Subset) -> Floats:
        spare = found.n - len(one.columns) - 1
        diagonal = np.einsum("rii->ri", one.inverse)
        errors = np.sqrt(diagonal * (one.residual / spare)[:, np.newaxis])
        critical = t.ppf(1 - LEVEL / 2, spare)[:, np.newaxis]
        # The share left is below 1, so that it only tells apart what counts alike.
        share: Floats = one.residual / found.yy
        return share - (abs(one.slopes) > critical * errors).sum(axis=1)

    return cheapest_subset(found, cost, np.full(len(found.yy), np.inf))


@dataclass(frozen=True)
class Way:
    """How a rule is made of runs: transforms, whether shares are held, and the choice."""

    columns: Mapping[str, str]
    with_shares: bool
    chooser: Chooser

    def means(self, table: RunTable) -> MixtureMeans:
        """Return what is regressed on."""
        return (
            to_regress(table, "aicc") if self.with_shares else mixture_means(table).without_shares()
        )


OURS = Way(DESIGN_COLUMNS, with_shares=True, chooser=best_subset)
WAYS = {"ours": OURS, "the paper's": Way(RAW, with_shares=False, chooser=most_significant)}
ALL = Way(DESIGN_COLUMNS, with_shares=True, chooser=all_columns)


def tables(series: Mapping[str, Sequence[Run]], way: Way) -> dict[str, RunTable]:
    """Return the runs of each series, with the columns as a way takes them."""
    return {
        name: run_table(runs, EVALUATION, way.columns, "token") for name, runs in series.items()
    }


def fits(series: Mapping[str, Sequence[Run]], rows: pl.DataFrame) -> list[list[str]]:
    """Return header and rows: each series fitted in each way."""
    head = ["mixtures", "way", "columns", "largest VIF", "R² in sample", "R², mixture out"]
    head += ["ranks, other series", "with shares", "level off"]
    head += [f"top {TOP:.0%}, refits", "ranks, `small`"]
    listed = [head]
    small = load_rule("small").predict_rows(rows)
    given = {
        title: (tables(series, way), row_features(rows, way.columns)) for title, way in WAYS.items()
    }
    for name in series:
        for title, (found, x) in given.items():
            (other,) = (mixture_means(one) for key, one in found.items() if key != name)
            listed.append([name, title, *_fitted(WAYS[title], found[name], other, x, small)])
    return listed


def _fitted(way: Way, table: RunTable, unseen: MixtureMeans, x: Floats, small: Floats) -> list[str]:
    means = way.means(table)
    found = refit(means, np.ones((1, len(means))), way.chooser)
    slopes = found.coefficients[0]
    chosen = [n for n, slope in zip(means.features, slopes, strict=True) if slope]
    if not chosen:
        return ["none", *["–"] * 8]
    own = score(Predictor(RULE, means, way.chooser, with_shares=False), table)
    predicted = found.predict(unseen, with_shares=False)[0]
    ranks = [number(spearman(predicted, unseen.y)), "–"]
    if way.with_shares:
        ranks[1] = number(spearman(found.predict(unseen, with_shares=True)[0], unseen.y))
    kept = (~np.isnan(x)).all(axis=1)
    drawn = refit(means, bootstrap_counts(len(means), DRAWS, 0), way.chooser).coefficients
    return [
        ", ".join(chosen),
        f"{variance_inflation(means.only(chosen)).max():.1f}",
        f"{own.r2:.3f}",
        f"{own.loo_r2:.3f}",
        *ranks,
        f"{float((predicted - unseen.y).mean()):+.4f}",
        f"{overlap(x[kept], drawn):.0%}",
        number(spearman(x[kept] @ slopes, small[kept])),
    ]


def overlap(x: Floats, coefficients: Floats) -> float:
    """Return the median share of the top rows that two of several rankings share."""
    n = n_top(TOP, len(x))
    _, median, _ = between_pairs(top_rows(x, coefficients)[:, :n], len(x))
    return median


def precision(runs: Mapping[str, Sequence[Run]]) -> list[list[str]]:
    """Return header and rows: how well each series tells the columns apart, all entered."""
    series = {name: ALL.means(table) for name, table in tables(runs, ALL).items()}
    errors = {
        name: np.sqrt(np.diag(estimate(means).covariance))[1:] for name, means in series.items()
    }
    head = ["", *DESIGN_COLUMNS, "median", "condition number"]
    listed = [head]
    for name, means in series.items():
        vif, own = variance_inflation(means), errors[name]
        listed.append([f"standard error, {name}", *(f"{e:.5f}" for e in own), "", ""])
        listed.append(
            [
                f"VIF, {name}",
                *(f"{value:.1f}" for value in vif),
                f"{np.median(vif):.1f}",
                f"{condition_number(means):.0f}",
            ]
        )
    ratio = np.divide(*errors.values())
    listed.append(["ratio of errors", *(f"{r:.2f}" for r in ratio), f"{np.median(ratio):.2f}", ""])
    return listed


def shares_alone(series: Mapping[str, Sequence[Run]]) -> list[list[str]]:
    """Return header and rows: what sources alone predict, and how much losses differ."""
    listed = [["mixtures", "runs", "sd of log loss", "R² of source shares, mixture out"]]
    for name, table in tables(series, OURS).items():
        none = OURS.means(table).only(())
        found = score(Predictor(SHARES, none, all_columns, with_shares=True), table)
        spread = float(table.means(table.y).std(ddof=1))
        listed.append([name, str(len(table.y)), f"{spread:.4f}", f"{found.loo_r2:.3f}"])
    return listed


app = typer.Typer(add_completion=False, help=__doc__, rich_markup_mode=None)


@app.command()
def main(
    designed: Annotated[Path, typer.Argument(metavar="RUNS.jsonl", exists=True)],
    plain: Annotated[Path, typer.Argument(metavar="PLAIN.jsonl", exists=True)],
    rows: Annotated[Path, typer.Option(help="Score table whose rows are ranked.", exists=True)],
) -> None:
    """Print three tables."""
    logs = {"designed": designed, "random": plain}
    series = {name: tuned(read_runs([path])) for name, path in logs.items()}
    frame = ScoreTable.load(rows).frame
    for title, table in (
        ("What can be told apart, all six columns entered, shares held", precision(series)),
        ("What sources say", shares_alone(series)),
        ("What is fitted", fits(series, frame)),
    ):
        typer.echo(f"### {title}\n\n{markdown(table)}\n")


if __name__ == "__main__":
    app()
