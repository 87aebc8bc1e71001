from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm

from instructmining.errors import RuleError
from instructmining.rules.diagnose import mixture_weights
from instructmining.rules.fit import Estimation, fit_rule
from instructmining.rules.regression import estimate, mixture_means
from instructmining.rules.rule import Rule
from instructmining.rules.runtable import run_table

from .simulated import drawn_shares, log_of, series

COLUMNS = {"len_out": "log1p", "nll": "identity"}
RAW = {"len_out": "identity", "nll": "identity"}
BOTH = ("human", "machine")


def test_known_coefficients_are_recovered(make_runs: Any, truth: dict[str, float]) -> None:
    result = fit_rule(make_runs(), evaluation=BOTH, columns=COLUMNS)
    for one in result.coefficients:
        assert one.estimate == pytest.approx(truth[one.name], rel=1e-8)
    assert result.r2 == pytest.approx(1.0)
    assert result.loo_r2 == pytest.approx(1.0)
    assert result.null_loo_r2 < 0


@pytest.mark.parametrize("n_seeds", [[1], [1, 1, 4]])
def test_coefficients_lie_in_their_intervals_as_often_as_promised(n_seeds: list[int]) -> None:
    inside = 0
    for seed in range(300):
        runs = series(
            40, n_seeds=n_seeds, mixture_noise=0.01, seed_noise=0.03, rng_seed=seed, n_sources=3
        )
        table = run_table(runs, ["human"], RAW, "token")
        means = mixture_means(table)
        means = replace(means, weights=mixture_weights(means, table))
        for (low, high), truth in zip(estimate(means).intervals()[1:], (-0.05, 0.05), strict=True):
            inside += low <= truth <= high
    assert inside / 600 == pytest.approx(0.955, abs=0.02)


def test_numbers_are_those_of_statsmodels(make_runs: Any) -> None:
    runs = make_runs(10, 3, seed_noise=0.02, mixture_noise=0.03)
    result = fit_rule(runs, evaluation=BOTH, columns=COLUMNS, weighting="example")
    table = run_table(runs, BOTH, COLUMNS, "example")
    x, y = table.x[::3], table.y.reshape(10, 3).mean(axis=1)

    main = sm.OLS(y, sm.add_constant(x)).fit(cov_type="HC3", use_t=True)
    np.testing.assert_allclose([one.estimate for one in result.coefficients], main.params)
    np.testing.assert_allclose([one.interval for one in result.coefficients], main.conf_int())
    covariance = result.rule.provenance_.covariance
    assert covariance is not None
    assert covariance["order"] == ["intercept", "len_out", "nll"]
    np.testing.assert_allclose(covariance["matrix"], main.cov_params())
    assert result.degrees_of_freedom == pytest.approx(7)

    on_runs = sm.OLS(table.y, sm.add_constant(table.x)).fit(
        cov_type="cluster", cov_kwds={"groups": table.mixtures}, use_t=True
    )
    np.testing.assert_allclose(
        [one.cluster_interval for one in result.coefficients], on_runs.conf_int()
    )
    assert result.r2 == pytest.approx(on_runs.rsquared)

    by_token = run_table(runs, BOTH, COLUMNS, "token").y.reshape(10, 3).mean(axis=1)
    other = sm.OLS(by_token, sm.add_constant(x)).fit(cov_type="HC3", use_t=True)
    np.testing.assert_allclose(
        [one.other_interval for one in result.coefficients], other.conf_int()
    )
    scaled = sm.OLS((y - y.mean()) / y.std(), (x - x.mean(0)) / x.std(0)).fit()
    np.testing.assert_allclose([one.standardised for one in result.coefficients[1:]], scaled.params)


def test_what_holds_within_sources_ships_though_between_them_it_is_the_opposite() -> None:
    rng = np.random.default_rng(0)
    shares = drawn_shares(rng, 80, 4)
    style = np.array([-3.0, -1.0, 1.0, 3.0])
    nll = shares @ style + 0.5 * rng.normal(size=80)
    # Sources whose examples are hard for the model teach it more; hard examples less.
    level = 1 + 0.05 * (nll - shares @ style) - 0.2 * shares @ style
    runs = log_of({"nll": nll}, [[v + 0.01 * rng.normal()] for v in level], shares)
    result = fit_rule(runs, evaluation="human", columns={"nll": "identity"})
    (_, nll_term) = result.coefficients
    assert nll_term.interval[0] < 0.05 < nll_term.interval[1]
    assert nll_term.estimate == pytest.approx(0.05, abs=0.01)
    assert nll_term.without_shares is not None
    assert nll_term.without_shares < -0.1
    stored = result.rule.document().to_json()
    assert stored["estimation"]["nuisance"] == ["s0", "s1", "s2", "s3"]
    assert stored["estimation"]["without_shares"]["nll"] == nll_term.without_shares
    mean = result.rule.predict({"nll": nll}).mean()
    assert mean == pytest.approx(result.means.y.mean())


def test_too_few_mixtures_for_the_shares_leave_them_out_aloud() -> None:
    runs = series(8, n_sources=6)
    result = fit_rule(runs, evaluation="human", columns=RAW)
    assert result.means.n_nuisance == 0
    assert result.coefficients[1].without_shares is None
    assert "too few mixtures to hold the shares of 6 sources" in "\n".join(result.warnings)
    enough = fit_rule(series(9, n_sources=6), evaluation="human", columns=RAW)
    assert enough.means.n_nuisance == 5
    assert enough.degrees_of_freedom == pytest.approx(1)


def test_a_column_that_is_the_same_within_sources_is_refused() -> None:
    rng = np.random.default_rng(0)
    shares = drawn_shares(rng, 30, 3)
    runs = log_of({"nll": shares @ [1.0, 2.0, 4.0]}, [[v] for v in rng.normal(size=30)], shares)
    with pytest.raises(RuleError, match="nll differs between sources only"):
        fit_rule(runs, evaluation="human", columns={"nll": "identity"})


def test_mixtures_may_have_unequal_numbers_of_seeds() -> None:
    runs = series(40, n_seeds=[1, 1, 4], mixture_noise=0.01, seed_noise=0.03)
    result = fit_rule(runs, evaluation="human", columns=RAW)
    assert result.means.weights[2] > result.means.weights[0]
    assert result.rule.document().to_json()["estimation"]["weights"] == "by seeds and mixtures"
    even = fit_rule(series(40, n_seeds=2), evaluation="human", columns=RAW)
    assert even.rule.document().to_json()["estimation"]["weights"] == "equal"


def test_columns_are_chosen_and_what_was_considered_is_recorded(tmp_path: Path) -> None:
    slopes = {"len_out": -0.05, "nll": 0.05, "mtld": 0.0, "rew": 0.0}
    runs = series(80, slopes, rng_seed=3)
    result = fit_rule(
        runs,
        evaluation="human",
        columns=dict.fromkeys(slopes, "clip"),
        estimation=Estimation(choose="aicc"),
    )
    assert {"clip(len_out)", "clip(nll)"} <= set(result.means.features)
    path = tmp_path / "rule.json"
    result.rule.save(path)
    choice = json.loads(path.read_text())["choice"]
    assert choice["method"] == "aicc"
    assert list(choice["candidates"]) == list(slopes)
    assert choice["chosen"] == list(result.rule.columns_)
    assert choice["n_considered"] == 16
    assert choice["considered"][0]["columns"] == choice["chosen"]
    assert len({tuple(one["columns"]) for one in choice["considered"]}) == 16
    assert Rule.load(path).document() == result.rule.document()
    assert any("columns were chosen on these mixtures" in one for one in result.warnings)


def test_a_shrunken_rule_ships_as_a_linear_one() -> None:
    runs = series(30, {"len_out": -0.05, "nll": 0.02, "mtld": 0.0}, mixture_noise=0.1)
    columns = dict.fromkeys(["len_out", "nll", "mtld"], "identity")
    plain = fit_rule(runs, evaluation="human", columns=columns)
    ridge = fit_rule(
        runs, evaluation="human", columns=columns, estimation=Estimation(choose="ridge")
    )
    assert ridge.rule.columns_ == plain.rule.columns_
    assert abs(ridge.rule.coef_).sum() < abs(plain.rule.coef_).sum()
    choice = ridge.rule.document().to_json()["choice"]
    assert choice["penalty"] == ridge.choice.penalty > 0
    assert plain.rule.document().to_json()["choice"]["penalty"] is None


def test_the_length_compared_with_is_found_or_named() -> None:
    runs = series(20, {"len_out": -0.05, "len_in": 0.0, "nll": 0.05})

    def length(columns: dict[str, str], named: tuple[str, str] | None = None) -> Any:
        found = fit_rule(
            runs, evaluation="human", columns=columns, estimation=Estimation(length=named)
        ).length
        return found and (found.column, found.transform)

    assert length({"nll": "clip"}) == ("len_out", "log1p")
    assert length({"nll": "clip", "len_out": "clip+log1p"}) == ("len_out", "clip+log1p")
    assert length({"nll": "clip"}, ("len_in", "identity")) == ("len_in", "identity")
    with pytest.raises(RuleError, match="has no column len"):
        length({"nll": "clip"}, ("len", "identity"))
    without = copy.deepcopy(runs)
    for run in without:
        run["indicators"].pop("len_out")
    assert fit_rule(without, evaluation="human", columns={"nll": "clip"}).length is None


def test_a_fit_made_twice_is_the_same() -> None:
    runs = series(30, n_seeds=[1, 2])
    one, other = (fit_rule(runs, evaluation="human", columns=RAW) for _ in range(2))
    assert one.rule.document() == other.rule.document()
    assert one.validation.gains == other.validation.gains
    assert one.resampled.spreads == other.resampled.spreads


def test_loo_r2_is_that_of_refits_through_the_front_door(make_runs: Any) -> None:
    runs = make_runs(9, 2, seed_noise=0.02, mixture_noise=0.05)
    table = run_table(runs, BOTH, COLUMNS, "token")
    predicted = []
    for i, run in enumerate(runs):
        others = [other for other in runs if other["mixture"] != run["mixture"]]
        rule = fit_rule(others, evaluation=BOTH, columns=COLUMNS).rule
        predicted.append(rule.intercept_ + table.x[i] @ rule.coef_)
    residual = ((table.y - np.array(predicted)) ** 2).sum()
    expected = 1 - residual / ((table.y - table.y.mean()) ** 2).sum()
    result = fit_rule(runs, evaluation=BOTH, columns=COLUMNS)
    assert result.loo_r2 == pytest.approx(expected)
    assert result.loo_r2 < result.r2


def test_seeds_of_one_mixture_do_not_count_as_independent_runs(make_runs: Any) -> None:
    few = make_runs(6, 1, mixture_noise=0.05)
    many = [
        {**copy.deepcopy(run), "run": f"{run['run']}-{seed}", "seed": seed}
        for run in few
        for seed in range(20)
    ]
    once = fit_rule(few, evaluation="human", columns=COLUMNS)
    often = fit_rule(many, evaluation="human", columns=COLUMNS)
    for one, other in zip(once.coefficients, often.coefficients, strict=True):
        np.testing.assert_allclose(other.interval, one.interval, rtol=1e-6)


def test_the_rule_carries_where_it_comes_from(make_runs: Any, untuned: Any, tmp_path: Path) -> None:
    runs = [untuned, *make_runs(6, 2, seed_noise=0.01)]
    result = fit_rule(
        runs, evaluation="human", columns={"nll": "clip"}, name="mine", status="pilot"
    )
    assert result.untuned == pytest.approx(5.0)
    path = tmp_path / "rule.json"
    result.rule.save(path)
    stored = json.loads(path.read_text())
    (column,) = stored["columns"]
    quantiles = np.array([run["indicators"]["nll"]["quantiles"] for run in runs[1:]])
    assert column["transform"] == "clip"
    assert column["definition"] == {"indicator": "nll", "model": "tiny"}
    assert column["range"] == [quantiles[:, 0].min(), quantiles[:, 4].max()]
    assert column["quartiles"] == pytest.approx(quantiles[:, 1:4].mean(axis=0).tolist())
    assert (stored["n_runs"], stored["n_mixtures"], stored["seeds"]) == (12, 6, [0, 1])
    assert stored["evaluation"] == {
        "names": ["human"],
        "files": {"human": "eval.jsonl"},
        "parts": {"human": "fit"},
        "weighting": "token",
    }
    assert stored["vif"] == {"nll": 1.0}
    assert stored["notes"] == list(result.warnings)
    loaded = Rule.load(path)
    assert loaded.label == "mine (pilot)"
    assert loaded.document() == result.rule.document()


@pytest.mark.parametrize(
    ("n_mixtures", "columns", "message"),
    [
        (3, COLUMNS, "3 mixtures came for 2 columns, at least 4 are needed"),
        (0, COLUMNS, "0 tuned runs"),
        (6, {}, "0 columns"),
    ],
)
def test_too_little_to_fit(
    make_runs: Any, n_mixtures: int, columns: dict[str, str], message: str
) -> None:
    with pytest.raises(RuleError, match=message):
        fit_rule(make_runs(n_mixtures), evaluation="human", columns=columns)


def test_columns_that_say_nothing_of_their_own_are_refused(make_runs: Any) -> None:
    runs = copy.deepcopy(make_runs(6, 1))
    for run in runs:
        indicators = run["indicators"]
        indicators["rew"] = copy.deepcopy(indicators["nll"])
        indicators["rew"]["means"]["identity"] = 3 - 2 * indicators["nll"]["means"]["identity"]
        indicators["mtld"]["means"]["identity"] = 50.0
    with pytest.raises(RuleError, match="mtld is the same in all mixtures"):
        fit_rule(runs, evaluation="human", columns={"nll": "identity", "mtld": "identity"})
    with pytest.raises(RuleError, match="nll, rew say the same"):
        fit_rule(runs, evaluation="human", columns={"nll": "identity", "rew": "identity"})
