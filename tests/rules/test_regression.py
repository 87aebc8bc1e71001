from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from statsmodels.stats.outliers_influence import variance_inflation_factor

from instructmining.rules import regression
from instructmining.rules.regression import MixtureMeans
from instructmining.rules.runtable import run_table

from .simulated import drawn_shares, series


def means_of(n: int = 30, n_sources: int = 3, *, weighted: bool = True) -> MixtureMeans:
    rng = np.random.default_rng(0)
    shares = drawn_shares(rng, n, n_sources)
    x = shares @ rng.normal(size=(n_sources, 2)) + rng.normal(size=(n, 2)) * [1.0, 30.0]
    y = 1 + x @ [0.5, -0.02] + shares @ rng.normal(size=n_sources) + rng.normal(size=n)
    weights = rng.uniform(0.5, 1.5, size=n) if weighted else np.ones(n)
    return MixtureMeans(("a", "b"), x, y, shares, weights * n / weights.sum())


def by_statsmodels(means: MixtureMeans) -> sm.WLS:
    centred = means.shares - np.average(means.shares, axis=0, weights=means.weights)
    return sm.WLS(
        means.y,
        np.column_stack([np.ones(len(means)), means.x, centred[:, 1:]]),
        weights=means.weights,
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_estimates_and_hc3_are_those_of_statsmodels(weighted: bool) -> None:
    means = means_of(weighted=weighted)
    ours, theirs = (
        regression.estimate(means),
        by_statsmodels(means).fit(cov_type="HC3", use_t=True),
    )
    np.testing.assert_allclose(ours.coefficients, theirs.params[:3], rtol=1e-9)
    np.testing.assert_allclose(ours.covariance, theirs.cov_params()[:3, :3], rtol=1e-8)
    np.testing.assert_allclose(ours.intervals(), theirs.conf_int()[:3], rtol=1e-8)
    np.testing.assert_allclose(ours.fitted, theirs.fittedvalues, rtol=1e-9)
    assert ours.degrees_of_freedom == pytest.approx(theirs.df_resid)
    assert ours.variance == pytest.approx(theirs.scale)


def test_which_source_is_left_out_of_the_shares_does_not_matter() -> None:
    means = means_of()
    turned = replace(means, shares=means.shares[:, ::-1])
    dropped = replace(means, shares=means.shares[:, 1:])
    for other in (turned, dropped):
        assert other.n_nuisance == means.n_nuisance == 2
        np.testing.assert_allclose(
            regression.estimate(other).coefficients, regression.estimate(means).coefficients
        )


def test_the_intercept_makes_the_mean_prediction_without_shares_the_mean_loss() -> None:
    means = means_of(weighted=False)
    intercept, *slopes = regression.estimate(means).coefficients
    assert (intercept + means.x @ slopes).mean() == pytest.approx(means.y.mean())
    bare = regression.estimate(means.without_shares()).coefficients
    assert (bare[0] + means.x @ bare[1:]).mean() == pytest.approx(means.y.mean())


def test_clustered_intervals_are_those_of_statsmodels_on_runs() -> None:
    runs = series(20, n_seeds=[1, 2, 4], n_sources=3)
    table = run_table(runs, ["human"], {"len_out": "identity", "nll": "identity"}, "token")
    weights = np.random.default_rng(1).uniform(0.5, 1.5, size=20)
    means = replace(regression.mixture_means(table), weights=weights / weights.mean())
    centred = means.shares - np.average(means.shares, axis=0, weights=means.weights)
    terms = np.column_stack([np.ones(20), means.x, centred[:, 1:]])
    theirs = sm.WLS(
        table.y,
        terms[table.mixtures],
        weights=(means.weights / table.n_seeds)[table.mixtures],
    ).fit(cov_type="cluster", cov_kwds={"groups": table.mixtures}, use_t=True)
    ours = regression.clustered_intervals(means, table)
    np.testing.assert_allclose(ours, theirs.conf_int()[:3], rtol=1e-8)


def test_variance_inflation_is_that_of_statsmodels_with_the_shares_in() -> None:
    means = means_of(weighted=False)
    means = replace(means, x=means.x @ [[1.0, 2.0], [0.0, 0.1]])
    design = np.column_stack([np.ones(len(means)), means.x, means.shares[:, 1:]])
    expected = [variance_inflation_factor(design, i) for i in (1, 2)]
    np.testing.assert_allclose(regression.variance_inflation(means), expected, rtol=1e-9)
    alone = means.without_shares().only(("a",))
    np.testing.assert_allclose(regression.variance_inflation(alone), [1.0])


def test_condition_number_ignores_units() -> None:
    means = means_of()
    other = replace(means, x=means.x * [1.0, 1e6])
    expected = regression.condition_number(means)
    assert regression.condition_number(other) == pytest.approx(expected)


def test_partial_regression_has_the_slope_of_the_coefficient() -> None:
    means = means_of()
    x, y = regression.partial_points(means, "b")
    slope = (means.weights * x * y).sum() / (means.weights * x**2).sum()
    assert slope == pytest.approx(regression.estimate(means).coefficients[2])


def test_a_mixture_alone_with_its_source_tells_nothing_of_the_columns() -> None:
    means = means_of(weighted=False)
    shares = np.column_stack([means.shares, np.zeros(30)])
    shares[0] = [0, 0, 0, 1]
    alone = replace(means, shares=shares)
    without = replace(
        means, x=means.x[1:], y=means.y[1:], shares=means.shares[1:], weights=means.weights[1:]
    )
    ours, theirs = regression.estimate(alone), regression.estimate(without)
    assert ours.leverage[0] == pytest.approx(1.0)
    np.testing.assert_allclose(ours.coefficients[1:], theirs.coefficients[1:])
    np.testing.assert_allclose(ours.covariance[1:, 1:], theirs.covariance[1:, 1:])


def test_ridge_shrinks_the_columns_and_nothing_else() -> None:
    means = means_of(weighted=False)
    x = (means.x - means.x.mean(axis=0)) / means.x.std(axis=0, ddof=1)
    centred = means.shares - means.shares.mean(axis=0)
    terms = np.column_stack([np.ones(30), x, centred[:, 1:]])
    penalty = np.diag([0, 3.0, 3.0, 0, 0])  # 0.1 times 30 mixtures
    expected = np.linalg.solve(terms.T @ terms + penalty, terms.T @ means.y)
    found = regression.estimate(means, penalty=0.1)
    np.testing.assert_allclose(found.coefficients[1:] * means.x.std(axis=0, ddof=1), expected[1:3])
    assert (found.coefficients[0] + means.x @ found.coefficients[1:]).mean() == pytest.approx(
        means.y.mean()
    )
    assert found.degrees_of_freedom > regression.estimate(means).degrees_of_freedom


def test_exactly_determined_the_residual_variance_is_unknown() -> None:
    means = means_of(3, 1, weighted=False)
    assert np.isnan(regression.estimate(means).variance)
