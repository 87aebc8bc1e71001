"""`python -m experiments.rule.plain` and `.start`: other ways, other mixtures, another model."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from experiments.rule import plain, start
from experiments.rule.plain import RAW, most_significant, overlap, precision
from typer.testing import CliRunner

from conftest import REPOSITORY
from instructmining.api.experiments import DESIGN_COLUMNS
from instructmining.rules.refits import refit
from instructmining.rules.regression import MixtureMeans
from instructmining.rules.runlog import read_runs, tuned

FOLDER = REPOSITORY / "experiments" / "rule"
DESIGNED, PLAIN, SECOND = (
    FOLDER / f"{name}.jsonl" for name in ("runs", "plain.runs", "second.runs")
)
ROWS = FOLDER / "plan.scores.parquet"


def made(effects: list[float], n: int = 60, seed: int = 0) -> MixtureMeans:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, len(effects)))
    y = x @ effects + 0.5 * rng.normal(size=n)
    names = tuple(f"x{i}" for i in range(len(effects)))
    return MixtureMeans(names, x, y, np.empty((n, 0)), np.ones(n))


def by_hand(means: MixtureMeans) -> tuple[tuple[int, ...], np.ndarray]:
    """Try every subset with statsmodels."""
    n_columns = len(means.features)
    tried = []
    for bits in range(1, 2**n_columns):
        some = tuple(i for i in range(n_columns) if bits >> i & 1)
        found = sm.OLS(means.y, sm.add_constant(means.x[:, some])).fit()
        n_significant = int((found.pvalues[1:] < 0.05).sum())
        tried.append((n_significant, found.rsquared, some, found.params[1:]))
    *_, some, slopes = max(tried, key=lambda one: one[:2])
    return some, slopes


@pytest.mark.parametrize("seed", range(4))
def test_the_papers_choice_is_that_of_every_subset_tried_by_hand(seed):
    means = made([0.5, 0.0, -0.3, 0.1], seed=seed)
    some, slopes = by_hand(means)
    found = refit(means, np.ones((1, len(means))), most_significant).coefficients[0]
    assert tuple(np.flatnonzero(found)) == some
    assert found[list(some)] == pytest.approx(slopes)


def test_the_papers_choice_takes_the_best_fit_where_nothing_is_significant():
    means = made([0.0, 0.0, 0.0], seed=5)
    some, _ = by_hand(means)
    found = refit(means, np.ones((1, len(means))), most_significant).coefficients[0]
    assert tuple(np.flatnonzero(found)) == some == (0, 1, 2)


def test_the_paper_takes_perplexity_and_transforms_nothing():
    assert set(RAW) - set(DESIGN_COLUMNS) == {"ppl"}
    assert set(RAW.values()) == {"identity"}


def test_overlap_is_whole_for_one_ranking_and_next_to_none_for_opposite_ones():
    x = np.arange(1000.0)[:, None]
    assert overlap(x, np.array([[1.0], [2.0]])) == 1.0
    assert overlap(x, np.array([[1.0], [-1.0]])) == 0.0


def test_the_design_tells_columns_apart_at_least_twice_as_well_as_a_random_draw():
    logs = {"designed": DESIGNED, "random": PLAIN}
    ratio = precision({name: tuned(read_runs([path])) for name, path in logs.items()})[-1]
    assert ratio[0] == "ratio of errors"
    assert float(ratio[-2]) <= 0.5


def test_the_second_start_is_compared_on_its_own_mixtures_and_seeds():
    first, second = (tuned(read_runs([path])) for path in (DESIGNED, SECOND))
    whole, alike, other = start.series(first, second).values()
    assert len(whole) == len(first)
    assert len(alike) == len(other) == len(second)
    assert {run["mixture"] for run in alike} == {run["mixture"] for run in other}
    means = {run["mixture"]: run["indicators"]["mtld"]["means"] for run in alike}
    assert all(means[run["mixture"]] == run["indicators"]["mtld"]["means"] for run in other)
    assert {run["seed"] for run in alike} == {0}
    weights = {run["base_model"]["weights"] for run in first + second}
    assert len(weights) == 2


@pytest.mark.parametrize(
    ("app", "log", "n_lines"), [(plain.app, PLAIN, 7 + 4 + 6), (start.app, SECOND, 5 + 5 + 7)]
)
def test_the_tables_of_the_results_page_are_printed(app, log, n_lines):
    ended = CliRunner().invoke(app, [str(DESIGNED), str(log), "--rows", str(ROWS)])
    assert ended.exit_code == 0, ended.output
    page = (REPOSITORY / "docs" / "results.md").read_text(encoding="utf-8")
    tables = [line for line in ended.stdout.splitlines() if line.startswith("|")]
    assert len(tables) == n_lines
    for line in tables:
        assert line in page
