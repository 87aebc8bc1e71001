from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm

from instructmining.errors import RuleError
from instructmining.rules.fit import fit_rule
from instructmining.rules.rule import Rule
from instructmining.rules.runlog import run_table

COLUMNS = {"len_out": "log1p", "nll": "identity"}
BOTH = ("human", "machine")


def test_known_coefficients_are_recovered(make_runs: Any, truth: dict[str, float]) -> None:
    result = fit_rule(make_runs(), evaluation=BOTH, columns=COLUMNS)
    for one in result.coefficients:
        assert one.estimate == pytest.approx(truth[one.name], rel=1e-8)
    assert result.r2 == pytest.approx(1.0)
    assert result.loo_r2 == pytest.approx(1.0)
    assert result.null_loo_r2 < 0


def test_noisy_coefficients_lie_in_their_intervals_as_often_as_promised(
    make_runs: Any, truth: dict[str, float]
) -> None:
    inside = total = 0
    for seed in range(60):
        runs = make_runs(8, 3, seed_noise=0.01, mixture_noise=0.03, rng_seed=seed)
        for one in fit_rule(runs, evaluation=BOTH, columns=COLUMNS).coefficients:
            total += 1
            inside += one.interval[0] <= truth[one.name] <= one.interval[1]
    assert 0.89 <= inside / total <= 0.99


def test_numbers_are_those_of_statsmodels(make_runs: Any) -> None:
    runs = make_runs(10, 3, seed_noise=0.02, mixture_noise=0.03)
    result = fit_rule(runs, evaluation=BOTH, columns=COLUMNS, weighting="example")
    table = run_table(runs, BOTH, COLUMNS, "example")
    x, y = table.x[::3], table.y.reshape(10, 3).mean(axis=1)

    main = sm.OLS(y, sm.add_constant(x)).fit()
    np.testing.assert_allclose([one.estimate for one in result.coefficients], main.params)
    np.testing.assert_allclose([one.interval for one in result.coefficients], main.conf_int())
    covariance = result.rule.provenance_.covariance
    assert covariance is not None
    assert covariance["order"] == ["intercept", "len_out", "nll"]
    np.testing.assert_allclose(covariance["matrix"], main.cov_params())
    assert result.degrees_of_freedom == 7

    on_runs = sm.OLS(table.y, sm.add_constant(table.x)).fit(
        cov_type="cluster", cov_kwds={"groups": table.mixtures}, use_t=True
    )
    np.testing.assert_allclose(
        [one.cluster_interval for one in result.coefficients], on_runs.conf_int()
    )
    assert result.r2 == pytest.approx(on_runs.rsquared)

    scaled = sm.OLS((y - y.mean()) / y.std(), (x - x.mean(0)) / x.std(0)).fit()
    np.testing.assert_allclose([one.standardised for one in result.coefficients[1:]], scaled.params)


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


def warnings_of(runs: list[dict[str, Any]], **columns: str) -> str:
    return "\n".join(fit_rule(runs, evaluation="human", columns=columns or COLUMNS).warnings)


def test_a_good_experiment_raises_no_warning(make_runs: Any) -> None:
    assert warnings_of(make_runs(30, 3, seed_noise=0.005, mixture_noise=0.005)) == ""


def test_what_the_runs_do_not_support_is_said(make_runs: Any, untuned: Any) -> None:
    runs = copy.deepcopy(make_runs(5, 1, mixture_noise=0.02))
    runs[0]["n_examples"] = 256
    runs[1]["indicators"]["mtld"]["n_null"] = 4
    untuned["losses"]["human"]["token_mean"] = 0.01
    columns = {"nll": "identity", "len_out": "identity", "mtld": "identity"}
    said = warnings_of([untuned, *runs], **columns)
    for part in (
        "5 mixtures are few for 3 columns",
        "1 degree of freedom",
        "saturated",
        "mixtures hold 128 to 256 examples",
        "noise between seeds is not known",
        "mtld: undefined in 4 of 640 rows",
        "5 of 5 runs ended no better than the untuned model",
        "mtld: no detectable effect; interval -",
    ):
        assert part in said


def test_pure_noise_is_called_noise(make_runs: Any) -> None:
    said = warnings_of(make_runs(12, 2, seed_noise=1.0, rng_seed=5), mtld="identity")
    assert "predicts no better than the mean of the others" in said


def test_a_sign_that_depends_on_the_weighting_is_unresolved(make_runs: Any) -> None:
    runs = copy.deepcopy(make_runs(12, 1))
    for run in runs:
        loss = run["losses"]["human"]
        loss["example_mean"] = 1 / loss["token_mean"]
    said = warnings_of(runs)
    assert said.count("unresolved") == 2
    assert "with token weighting" in said


def test_collinear_columns_are_named(make_runs: Any) -> None:
    runs = copy.deepcopy(make_runs(12, 1))
    rng = np.random.default_rng(0)
    for run in runs:
        nll = run["indicators"]["nll"]
        run["indicators"]["ifd"] = copy.deepcopy(nll)
        run["indicators"]["ifd"]["means"]["identity"] = (
            nll["means"]["identity"] + 0.02 * rng.normal()
        )
    assert "ifd: collinear with the other columns (VIF" in warnings_of(
        runs, nll="identity", ifd="identity"
    )
