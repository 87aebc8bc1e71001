"""The regression as a step of scikit-learn: its contract, and the numbers of the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    LeaveOneGroupOut,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from instructmining.errors import RuleError
from instructmining.rules.catalog import load_rule
from instructmining.rules.fit import Estimation, fit_rule
from instructmining.rules.regressor import RuleRegressor
from instructmining.rules.rule import Rule
from instructmining.rules.runlog import Run, read_runs, tuned
from instructmining.rules.runtable import RunTable, run_table

LOG = Path(__file__).resolve().parents[2] / "experiments" / "rule" / "runs.jsonl"
EVALUATION = ["human-fit", "lima-fit"]
COLUMNS = {"len_in": "clip+log1p", "nll": "clip", "mtld": "clip+log1p", "nat": "clip"}

UNDEFINED = "predict gives NaN for a row with NaN, as for an unscored example"
NO_RULE = "the check's target is noise, of which best subset makes no rule"
EXPECTED_FAILURES = {
    "none": {"check_estimators_nan_inf": UNDEFINED},
    "ridge": {"check_estimators_nan_inf": UNDEFINED},
    "aicc": {
        "check_estimators_nan_inf": UNDEFINED,
        "check_estimators_dtypes": NO_RULE,
        "check_fit_idempotent": NO_RULE,
        "check_n_features_in": NO_RULE,
    },
}


@parametrize_with_checks(
    [RuleRegressor(choose=how) for how in EXPECTED_FAILURES],
    expected_failed_checks=lambda one: EXPECTED_FAILURES[one.choose],
)
def test_scikit_learn_contract(
    estimator: RuleRegressor, check: Callable[[RuleRegressor], None]
) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def runs() -> list[dict[str, Any]]:
    return read_runs([LOG])


@pytest.fixture(scope="module")
def table(runs: list[Run]) -> RunTable:
    return run_table(tuned(runs), EVALUATION, COLUMNS, "token")


@pytest.fixture
def regressor(table: RunTable) -> RuleRegressor:
    return RuleRegressor(COLUMNS, shares=table.share_names)


def scored(one: Any, table: RunTable, **options: Any) -> np.ndarray:
    """R² over runs, mixtures left out in five parts."""
    return cross_val_score(
        one, table.frame(), table.y, groups=table.mixtures, cv=GroupKFold(5), **options
    )


@pytest.mark.parametrize("how", ["none", "aicc", "ridge"])
def test_it_gives_the_coefficients_of_fit(
    runs: list[Run], table: RunTable, regressor: RuleRegressor, how: Any
) -> None:
    wanted = fit_rule(
        runs, evaluation=EVALUATION, columns=COLUMNS, estimation=Estimation(how, draws=2)
    )
    regressor.set_params(choose=how).fit(table.frame(), table.y, mixtures=table.mixtures)
    np.testing.assert_array_equal(regressor.coef_, wanted.rule.coef_)
    assert regressor.intercept_ == wanted.rule.intercept_
    assert regressor.rule_.columns_ == wanted.rule.columns_
    assert regressor.choice_.penalty == wanted.choice.penalty
    np.testing.assert_array_equal(regressor.estimate_.covariance, wanted.regression.covariance)
    assert (regressor.rule_.provenance_.n_runs, regressor.rule_.provenance_.n_mixtures) == (
        159,
        129,
    )


def test_leaving_mixtures_out_gives_the_figure_of_fit(
    runs: list[Run], table: RunTable, regressor: RuleRegressor
) -> None:
    result = fit_rule(runs, evaluation=EVALUATION, columns=COLUMNS, estimation=Estimation(draws=2))
    predicted = cross_val_predict(
        regressor,
        table.frame(),
        table.y,
        groups=table.mixtures,
        cv=LeaveOneGroupOut(),
        params={"mixtures": table.mixtures},
    )
    rest = ((table.y - predicted) ** 2).sum() / ((table.y - table.y.mean()) ** 2).sum()
    # Weights are held there, and estimated anew here.
    assert 1 - rest == pytest.approx(result.loo_r2, abs=1e-4)


def test_cross_validation_in_a_pipeline(table: RunTable, regressor: RuleRegressor) -> None:
    plain = scored(regressor, table, params={"mixtures": table.mixtures})
    assert plain.mean() > 0.4
    scaler = StandardScaler().set_output(transform="polars")
    pipeline = make_pipeline(scaler, regressor)
    found = scored(pipeline, table, params={"ruleregressor__mixtures": table.mixtures})
    # Least squares does not mind the units.
    np.testing.assert_allclose(found, plain, rtol=1e-9)


def test_seeds_are_told_apart_from_mixtures(table: RunTable, regressor: RuleRegressor) -> None:
    known = clone(regressor).fit(table.frame(), table.y, mixtures=table.mixtures)
    named = np.array(table.names)[table.mixtures]
    again = clone(regressor).fit(table.frame(), table.y, mixtures=named)
    np.testing.assert_allclose(again.coef_, known.coef_, rtol=1e-9)
    alone = clone(regressor).fit(table.frame(), table.y)
    assert alone.rule_.provenance_.n_mixtures == 159
    assert not np.allclose(alone.coef_, known.coef_, rtol=1e-3)


def test_a_search_chooses_how_columns_are_chosen(table: RunTable, regressor: RuleRegressor) -> None:
    search = GridSearchCV(
        regressor,
        {"choose": ["none", "ridge"], "shares": [None, table.share_names]},
        cv=GroupKFold(5),
    )
    search.set_params(estimator__columns={"nll": "clip", "mtld": "clip+log1p"})
    search.fit(table.frame(), table.y, groups=table.mixtures, mixtures=table.mixtures)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert set(search.best_estimator_.rule_.columns_) == {"nll", "mtld"}


@pytest.mark.parametrize("kind", ["polars", "pandas", "mapping", "matrix"])
def test_every_kind_of_table(table: RunTable, regressor: RuleRegressor, kind: str) -> None:
    frame = table.frame()
    wanted = clone(regressor).fit(frame, table.y).predict(frame)
    shuffled = frame.select(pl.lit("text").alias("note"), *reversed(frame.columns))
    source = {
        "polars": shuffled,
        "pandas": shuffled.to_pandas(),
        "mapping": shuffled.to_dict(as_series=False),
        "matrix": frame.to_numpy(),
    }[kind]
    fitted = regressor.fit(source, table.y)
    np.testing.assert_array_equal(fitted.predict(source), wanted)
    if kind != "matrix":
        np.testing.assert_array_equal(fitted.predict(frame.select(fitted.rule_.features)), wanted)


def test_without_columns_all_of_the_table_count(table: RunTable, regressor: RuleRegressor) -> None:
    frame = table.frame()
    named = regressor.fit(frame, table.y)
    free = RuleRegressor(shares=table.share_names).fit(frame, table.y)
    np.testing.assert_array_equal(free.coef_, named.coef_)
    assert free.rule_.columns_ == table.features
    np.testing.assert_array_equal(free.predict(frame), named.predict(frame))


def test_columns_not_chosen_are_not_read(table: RunTable) -> None:
    noise = np.random.default_rng(0).normal(size=len(table.y))
    frame = table.frame().select(pl.Series("noise", noise), *table.features)
    fitted = RuleRegressor(choose="aicc").fit(frame, table.y, mixtures=table.mixtures)
    assert "noise" not in fitted.rule_.features
    blank = frame.with_columns(noise=pl.lit(float("nan")))
    assert np.isfinite(fitted.predict(blank)).all()


def test_it_is_made_of_a_loaded_rule(table: RunTable) -> None:
    rule = load_rule("small")
    loaded = RuleRegressor.from_rule(rule)
    np.testing.assert_array_equal(loaded.predict(table.frame()), rule.predict(table.frame()))
    np.testing.assert_array_equal(loaded.predict(table.x), rule.predict(table.frame()))
    frozen = scored(FrozenEstimator(loaded), table)
    refitted = scored(loaded, table)
    assert not np.allclose(frozen, refitted)


def test_raw_rows_of_a_pool_go_through_a_pipeline() -> None:
    rule = load_rule("small")
    rng = np.random.default_rng(1)
    pool = pl.DataFrame({name: rng.gamma(2.0, 20.0, size=300) for name in rule.columns_})
    pool = pool.with_columns(nll=pl.when(pl.int_range(300) == 7).then(None).otherwise("nll"))
    pipeline = make_pipeline(
        FunctionTransformer(rule.transform_rows), RuleRegressor.from_rule(rule)
    )
    np.testing.assert_array_equal(pipeline.predict(pool), rule.predict_rows(pool))
    assert np.flatnonzero(np.isnan(pipeline.predict(pool))).tolist() == [7]


def test_the_rule_can_be_saved(table: RunTable, regressor: RuleRegressor, tmp_path: Path) -> None:
    fitted = regressor.fit(table.frame(), table.y, mixtures=table.mixtures)
    fitted.rule_.save(tmp_path / "rule.json")
    again = Rule.load(tmp_path / "rule.json")
    np.testing.assert_array_equal(again.predict(table.frame()), fitted.predict(table.frame()))


@pytest.mark.parametrize(
    ("options", "columns", "message"),
    [
        ({"shares": ["share(x)"]}, ["a", "b"], r"shares share\(x\); give the columns and then"),
        ({"columns": {"a": "identity", "c": "clip"}}, ["a", "b"], r"column clip\(c\) is missing"),
        ({"columns": {"a": "identity"}}, None, "a table of 2 columns came for a with shares of no"),
        ({"choose": "best"}, ["a", "b"], "choosing by 'best' is unknown"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(
    options: Any, columns: list[str] | None, message: str
) -> None:
    values = np.random.default_rng(0).normal(size=(12, 2))
    source = values if columns is None else pl.DataFrame(values, schema=columns)
    with pytest.raises(RuleError, match=message) as error:
        RuleRegressor(**options).fit(source, values.sum(axis=1) + 1.0)
    assert "\n" not in str(error.value)


def test_mixtures_are_as_many_as_runs(table: RunTable, regressor: RuleRegressor) -> None:
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        regressor.fit(table.frame(), table.y, mixtures=[1, 2])
