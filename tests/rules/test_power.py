from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from instructmining.rules import power


@pytest.mark.parametrize(("effect", "n"), [(0.1, 20), (0.5, 12), (0.8, 30), (3.0, 40)])
def test_power_is_that_of_statsmodels(effect: float, n: int) -> None:
    expected = TTestPower().power(effect, n, 0.05)
    assert power.power(effect, 1 / np.sqrt(n), n - 1) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("df", [1, 3, 30, 1000])
def test_what_is_detectable_has_the_power_promised(df: int) -> None:
    smallest = power.detectable(0.2, df)
    assert power.power(smallest, 0.2, df) == pytest.approx(0.8)
    # Normal theory: 1.96 + 0.84.
    assert smallest / 0.2 >= 2.8
    if df == 1000:
        assert smallest / 0.2 == pytest.approx(2.80, abs=0.01)


def test_an_effect_called_detectable_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(0)
    n, residual = 40, 0.6
    effect = power.detectable(power.standard_error(residual, n), n - 2)
    found = 0
    for _ in range(2000):
        x = rng.normal(size=n)
        x = (x - x.mean()) / x.std(ddof=1)
        y = effect * x + np.sqrt(residual) * rng.normal(size=n)
        slope = x @ y / (n - 1)
        rest = y - y.mean() - slope * x
        error = np.sqrt(rest @ rest / (n - 2) / (n - 1))
        found += abs(slope / error) > 2.0244  # t, 38 degrees of freedom
    assert found / 2000 == pytest.approx(0.8, abs=0.03)


def test_so_many_mixtures_are_needed_and_not_one_less() -> None:
    for terms, residual, vif in ((3, 1.0, 1.0), (9, 0.5, 2.0), (2, 0.01, 1.0)):
        n = power.mixtures_needed(terms, residual, vif, effect=0.3)
        assert power.detectable(power.standard_error(residual, n, vif), n - terms) <= 0.3
        if n - 1 > terms:
            error = power.standard_error(residual, n - 1, vif)
            assert power.detectable(error, n - 1 - terms) > 0.3
    assert power.mixtures_needed(3, 0.0) == 4


def test_standard_errors_from_the_variances_of_a_pilot() -> None:
    # By hand: the seeds' share of a mean of two is 1/3, the columns explain half of the rest.
    expected = power.expected_standard_error(2.0, 2.0, 51, 2, explained=0.5, vif=1.5)
    assert expected == pytest.approx(np.sqrt((1 - 0.5 * 2 / 3) * 1.5 / 50))
    assert power.expected_standard_error(4.0, 1.0, 101) == pytest.approx(0.1)


def test_the_upper_limit_of_a_variance_holds_it_four_times_in_five() -> None:
    drawn = np.random.default_rng(0).normal(size=(4000, 6)).var(axis=1, ddof=1)
    limits = [power.upper_variance(value, 5) for value in drawn]
    assert np.mean(np.array(limits) > 1.0) == pytest.approx(0.8, abs=0.02)
