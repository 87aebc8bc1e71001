from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import statsmodels.api as sm

from instructmining.errors import RuleError
from instructmining.rules import choose
from instructmining.rules.fit import Estimation, fit_rule
from instructmining.rules.refits import moments, refit
from instructmining.rules.regression import MixtureMeans, estimate

from .simulated import drawn_shares, series
from .test_refits import counted
from .test_regression import means_of


def noisy(rng: np.random.Generator, n: int, slopes: list[float]) -> MixtureMeans:
    shares = drawn_shares(rng, n, 3)
    x = rng.normal(size=(n, len(slopes)))
    y = x @ slopes + shares @ [0.0, 1.0, 2.0] + rng.normal(size=n)
    names = tuple("abcdefg"[: len(slopes)])
    return MixtureMeans(names, x, y, shares, np.ones(n))


def aicc(means: MixtureMeans) -> float:
    design = np.column_stack([np.ones(len(means)), means.x, means.shares[:, 1:]])
    fitted = sm.OLS(means.y, design).fit()
    k = design.shape[1] + 1
    return float(-2 * fitted.llf + 2 * k + 2 * k * (k + 1) / (len(means) - k - 1))


def test_aicc_is_that_of_statsmodels() -> None:
    means = noisy(np.random.default_rng(0), 40, [1.0, 0.0, -0.6])
    choice = choose.choose(means, "aicc")
    assert len(choice.considered) == 8
    for one in choice.considered:
        assert one.aicc == pytest.approx(aicc(means.only(one.features)))
    assert [one.aicc for one in choice.considered] == sorted(one.aicc for one in choice.considered)
    assert choice.features == choice.considered[0].features
    assert {"a", "c"} <= set(choice.features)


def test_repeated_choices_are_those_of_each_sample_by_itself() -> None:
    means = noisy(np.random.default_rng(1), 40, [0.5, 0.2, -0.3, 0.0])
    counts = 1.0 - np.eye(40)
    found = refit(means, counts, choose.best_subset).coefficients
    for i in range(0, 40, 7):
        own = counted(means, counts[i])
        chosen = choose.choose(own, "aicc").features
        expected = dict(zip(chosen, estimate(own.only(chosen)).coefficients[1:], strict=True))
        np.testing.assert_allclose(found[i], [expected.get(name, 0.0) for name in means.features])


def test_collinear_columns_are_not_chosen_together() -> None:
    rng = np.random.default_rng(2)
    means = noisy(rng, 60, [1.0, 1.0, 0.5])
    x = means.x.copy()
    x[:, 1] = x[:, 0] + 0.2 * rng.normal(size=60)
    means = replace(means, x=x, y=x @ [1.0, 1.0, 0.5] + 0.01 * rng.normal(size=60))
    choice = choose.choose(means, "aicc")
    assert choice.considered[0].refused
    assert choice.considered[0].vif > choose.VIF_LIMIT
    assert not {"a", "b"} <= set(choice.features)
    assert "c" in choice.features


def test_a_null_column_is_chosen_as_often_as_aicc_promises() -> None:
    """A column of noise lowers AIC if its chi-square exceeds 2: in 16 of 100 samples."""
    rng = np.random.default_rng(3)
    taken = 0
    for _ in range(400):
        found = choose.best_subset(moments(noisy(rng, 80, [1.0, 0.0]), np.ones((1, 80))))
        assert found[0, 0] != 0
        taken += found[0, 1] != 0
    # AICc is stricter than AIC by a little.
    assert 0.09 < taken / 400 < 0.19


def test_no_column_worth_its_cost_is_an_error_that_says_what_to_do() -> None:
    means = noisy(np.random.default_rng(7), 40, [0.0])
    with pytest.raises(RuleError, match=r"no set of a lowers AICc.*--choose none"):
        choose.choose(means, "aicc")


def test_too_many_candidates_and_unknown_ways_are_refused() -> None:
    means = noisy(np.random.default_rng(0), 40, [1.0])
    wide = replace(
        means, features=tuple(map(str, range(13))), x=np.random.default_rng(1).normal(size=(40, 13))
    )
    with pytest.raises(RuleError, match="at most 12"):
        choose.choose(wide, "aicc")
    with pytest.raises(RuleError, match="'r2' is unknown; one of none, aicc, ridge"):
        choose.choose(means, "r2")  # type: ignore[arg-type]


def test_too_few_mixtures_for_a_subset_leave_it_out() -> None:
    means = means_of(5, 1, weighted=False)
    for one in choose.choose(replace(means, y=means.x[:, 0]), "aicc").considered:
        assert np.isfinite(one.aicc) == (len(one.features) < 2)


def test_ridge_shrinks_noise_more_than_signal() -> None:
    rng = np.random.default_rng(5)
    penalties = {
        size: choose.choose(noisy(rng, 40, [size, size, size]), "ridge").penalty
        for size in (0.0, 2.0)
    }
    assert penalties[0.0] > 1.0
    assert penalties[2.0] < 0.05


def test_ridge_repeated_is_ridge_by_itself() -> None:
    means = noisy(np.random.default_rng(6), 30, [0.3, 0.1])
    choice = choose.choose(means, "ridge")
    found = refit(means, np.ones((1, 30)), choose.chooser("ridge")).coefficients[0]
    np.testing.assert_allclose(found, estimate(means, choice.penalty).coefficients[1:])


def test_best_subset_over_all_sizes_looks_at_every_one() -> None:
    means = noisy(np.random.default_rng(8), 50, [1.0, 1.0, 1.0, 1.0])
    listed = {one.features for one in choose.choose(means, "aicc").considered}
    every = {some for size in range(5) for some in combinations("abcd", size)}
    assert listed == every


@pytest.mark.parametrize("method", ["aicc", "ridge"])
def test_a_column_that_others_determine_may_be_a_candidate(method: str) -> None:
    slopes = {"len_in": 0.05, "len_out": -0.05, "nll": 0.05}
    runs = series(60, slopes, n_seeds=[1, 3], n_sources=3)
    for run in runs:
        indicators = run["indicators"]
        total = sum(indicators[name]["means"]["identity"] for name in ("len_in", "len_out"))
        indicators["len"] = {**indicators["len_in"], "means": {"identity": total}}
    result = fit_rule(
        runs,
        evaluation="human",
        columns=dict.fromkeys([*slopes, "len"], "identity"),
        estimation=Estimation(choose=method, draws=50),
    )
    assert all(np.isfinite(one.estimate) for one in result.coefficients)
    largest = max(one.vif or 0.0 for one in result.coefficients)
    assert (largest < 5) == (method == "aicc")
