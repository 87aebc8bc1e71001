from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.outliers_influence import variance_inflation_factor

from instructmining.rules import diagnose
from instructmining.rules.runlog import RunTable


@pytest.fixture
def table() -> RunTable:
    rng = np.random.default_rng(0)
    # Three to five seeds a mixture, not in order.
    mixtures = rng.permutation(np.repeat(np.arange(8), [3, 4, 5, 3, 3, 4, 3, 3]))
    x = rng.normal(size=(8, 2))[mixtures]
    y = 1.0 + x @ [0.5, -0.2] + 0.1 * rng.normal(size=8)[mixtures]
    return RunTable(("a", "b"), x, y + 0.05 * rng.normal(size=len(y)), mixtures)


def test_variance_inflation_is_that_of_statsmodels() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(30, 3))
    x[:, 2] += 2 * x[:, 0]
    design = np.column_stack([np.ones(30), x])
    expected = [variance_inflation_factor(design, i) for i in (1, 2, 3)]
    np.testing.assert_allclose(diagnose.variance_inflation(x), expected, rtol=1e-10)
    assert diagnose.variance_inflation(x[:, :1]).tolist() == [1.0]


def test_leaving_a_mixture_out_leaves_all_its_seeds_out(table: RunTable) -> None:
    expected = np.empty_like(table.y)
    for run, mixture in enumerate(table.mixtures):
        others = [m for m in range(8) if m != mixture]
        x = np.array([table.x[table.mixtures == m].mean(axis=0) for m in others])
        y = np.array([table.y[table.mixtures == m].mean() for m in others])
        design = np.column_stack([np.ones(7), x])
        solved = np.linalg.solve(design.T @ design, design.T @ y)
        expected[run] = np.array([1.0, *table.x[run]]) @ solved
    np.testing.assert_allclose(diagnose.leave_one_mixture_out(table), expected, rtol=1e-10)


def test_the_null_rule_predicts_the_mean_of_the_other_mixtures(table: RunTable) -> None:
    null = RunTable((), table.x[:, :0], table.y, table.mixtures)
    means = table.means(table.y)
    expected = [np.delete(means, mixture).mean() for mixture in table.mixtures]
    predicted = diagnose.leave_one_mixture_out(null)
    np.testing.assert_allclose(predicted, expected)
    assert diagnose.r2(table.y, predicted) < 0


def test_noise_splits_the_sum_of_squares(table: RunTable) -> None:
    noise = diagnose.noise(table)
    groups = [table.y[table.mixtures == m] for m in range(8)]
    within = sum(float(((g - g.mean()) ** 2).sum()) for g in groups)
    total = float(((table.y - table.y.mean()) ** 2).sum())
    assert noise.seeds == pytest.approx(within / (28 - 8))
    assert noise.mixtures == pytest.approx(np.var([g.mean() for g in groups], ddof=1))
    assert noise.r2_ceiling == pytest.approx(1 - within / total)


def test_without_replicates_seed_noise_is_unknown(table: RunTable) -> None:
    single = RunTable(table.features, table.x[:8], table.y[:8], np.arange(8))
    assert diagnose.noise(single).seeds is None
    assert diagnose.noise(single).r2_ceiling is None


def test_condition_number_ignores_units() -> None:
    x = np.random.default_rng(2).normal(size=(20, 2))
    assert diagnose.condition_number(x * [1, 1e6]) == pytest.approx(diagnose.condition_number(x))
