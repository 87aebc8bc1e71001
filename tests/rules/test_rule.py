from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from instructmining.errors import DefinitionMismatch, RuleError
from instructmining.rules.provenance import Provenance
from instructmining.rules.rule import Rule

EXPECTED_FAILURES = {
    "check_estimators_nan_inf": "predict gives NaN for a row with NaN, as for an unscored example"
}


@parametrize_with_checks([Rule()], expected_failed_checks=lambda _: EXPECTED_FAILURES)
def test_scikit_learn_contract(estimator: Rule, check: Callable[[Rule], None]) -> None:
    check(estimator)


@pytest.fixture
def rule() -> Rule:
    rng = np.random.default_rng(1)
    rule = Rule(columns=("len_out", "nll"), transforms={"len_out": "clip+log1p"})
    rule.fit(rng.normal(size=(9, 2)), rng.normal(size=9))
    rule.provenance_ = Provenance(
        name="test",
        definitions={"len_out": {"indicator": "len"}, "nll": {"model": "a", "dtype": "float32"}},
        ranges={"len_out": (5.0, 100.0)},
    )
    return rule


@pytest.fixture
def pool() -> pl.DataFrame:
    rng = np.random.default_rng(2)
    lengths = rng.integers(1, 500, size=300).tolist()
    nll: list[float | None] = rng.gamma(4.0, 0.5, size=300).tolist()
    lengths[7], nll[9], nll[7] = None, None, None
    return pl.DataFrame({"row": range(300), "nll": nll, "len_out": lengths})


def test_fit_recovers_a_linear_law() -> None:
    x = np.random.default_rng(0).normal(size=(20, 3))
    rule = Rule().fit(x, 2.0 + x @ [1.0, -3.0, 0.5])
    np.testing.assert_allclose([rule.intercept_, *rule.coef_], [2.0, 1.0, -3.0, 0.5], atol=1e-12)


def test_fit_refuses_undefined_values() -> None:
    with pytest.raises(ValueError, match="NaN"):
        Rule().fit([[1.0], [np.nan], [2.0]], [1.0, 2.0, 3.0])


def test_predictions_of_rows_are_predictions_of_their_features(
    rule: Rule, pool: pl.DataFrame
) -> None:
    features = rule.transform_rows(pool)
    assert features.columns == ["clip+log1p(len_out)", "nll"]
    lengths = pool["len_out"].drop_nulls().to_numpy()
    low, high = np.percentile(lengths, [1, 99])
    expected = (
        rule.intercept_
        + rule.coef_[0] * np.log1p(np.clip(pool["len_out"].cast(float).to_numpy(), low, high))
        + rule.coef_[1] * pool["nll"].to_numpy()
    )
    np.testing.assert_allclose(rule.predict_rows(pool), expected, rtol=1e-14)
    assert np.isfinite(expected).sum() == 298

    named = Rule(rule.columns, rule.transforms).fit(features.drop_nans(), np.arange(298.0))
    np.testing.assert_array_equal(named.predict(features), named.predict_rows(pool))
    np.testing.assert_array_equal(named.quality(features), -named.predict(features))


def test_predict_refuses_raw_rows_of_a_transformed_column(rule: Rule, pool: pl.DataFrame) -> None:
    with pytest.raises(RuleError, match=r"column clip\+log1p\(len_out\) is missing"):
        rule.predict(pool)


def test_contributions_and_mean_add_up_to_the_prediction(rule: Rule, pool: pl.DataFrame) -> None:
    predicted = rule.predict_rows(pool)
    parts = rule.contributions(pool)
    assert parts.columns == ["len_out", "nll"]
    total = rule.mean_prediction(pool) + parts.fill_null(np.nan).to_numpy().sum(axis=1)
    np.testing.assert_allclose(total, predicted, rtol=0, atol=1e-13)
    assert rule.mean_prediction(pool) == pytest.approx(np.nanmean(predicted), abs=1e-13)


def test_a_row_without_one_column_keeps_the_contribution_of_the_other(
    rule: Rule, pool: pl.DataFrame
) -> None:
    parts = rule.contributions(pool)
    assert parts["nll"].is_null().arg_true().to_list() == [7, 9]
    assert parts["len_out"].is_null().arg_true().to_list() == [7]
    assert np.flatnonzero(np.isnan(rule.predict_rows(pool))).tolist() == [7, 9]


def test_nothing_to_predict(rule: Rule) -> None:
    empty = pl.DataFrame({"len_out": [None, None], "nll": [1.0, 2.0]})
    assert np.isnan(rule.predict_rows(empty)).all()
    assert rule.contributions(empty).null_count().row(0) == (2, 2)


def test_every_kind_of_table_gives_the_same(rule: Rule, pool: pl.DataFrame) -> None:
    wanted = rule.predict_rows(pool)
    columns = {name: pool[name].to_list() for name in ("nll", "len_out")}
    frame = pd.DataFrame({name: pd.array(v, dtype="Float64") for name, v in columns.items()})
    for table in (columns, pd.DataFrame(columns), frame, rule_matrix(pool)):
        np.testing.assert_array_equal(rule.predict_rows(table), wanted)


def rule_matrix(pool: pl.DataFrame) -> np.ndarray:
    return pool.select("len_out", "nll").cast(pl.Float64).to_numpy()


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1000, 7))
    rule = Rule().fit(x[:20], rng.normal(size=20))
    whole = rule.predict_rows(x)
    single = np.concatenate([rule.predict_rows(x[i : i + 1]) for i in range(100)])
    np.testing.assert_array_equal(whole[:100], single)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"nll": [1.0]}, "column len_out is missing, the table has nll"),
        ({"nll": [1.0], "len_out": ["long"]}, "column len_out does not hold numbers"),
        (pl.DataFrame({"nll": [1.0], "len_out": ["long"]}), "column len_out does not hold"),
        (np.ones((2, 3)), r"shape \(2, 3\) came, \(rows, 2\) was wanted"),
    ],
)
def test_unfit_tables_are_refused(rule: Rule, table: Any, message: str) -> None:
    with pytest.raises(RuleError, match=message):
        rule.predict_rows(table)


def test_unfit_parameters_are_refused() -> None:
    x, y = np.ones((3, 1)), np.ones(3)
    with pytest.raises(RuleError, match="every transformed column among them"):
        Rule(columns=["a"], transforms={"b": "clip"}).fit(x, y)
    with pytest.raises(RuleError, match="each column once"):
        Rule(columns=["a", "a"]).fit(np.ones((3, 2)), y)
    with pytest.raises(RuleError, match="'cut' is unknown"):
        Rule(columns=["a"], transforms={"a": "cut"}).fit(x, y)


def test_n_outside_counts_raw_values_and_knows_what_it_does_not_know(
    rule: Rule, pool: pl.DataFrame
) -> None:
    lengths = pool["len_out"]
    expected = ((lengths < 5) | (lengths > 100)).sum()
    assert expected > 0
    assert rule.n_outside(pool) == {"len_out": expected, "nll": None}


def test_check_passes_what_agrees_on_the_stated_keys(rule: Rule) -> None:
    scores = {
        "len_out": {"indicator": "len", "version": 3},
        "nll": {"model": "a", "dtype": "bfloat16"},
        "mtld": {},
    }
    assert rule.check(scores) == []


def test_check_names_column_key_and_both_values(rule: Rule) -> None:
    scores = {"len_out": {"indicator": "len"}, "nll": {"model": "b"}}
    with pytest.raises(DefinitionMismatch) as caught:
        rule.check(scores)
    for part in ("column nll", "model", "'a'", "'b'", "--allow-mismatch"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    notes = rule.check(scores, allow_mismatch=True)
    assert notes == ["column nll: model is 'b' in the scores, 'a' in rule test"]


def test_check_never_passes_an_absent_column_or_key(rule: Rule) -> None:
    with pytest.raises(DefinitionMismatch, match="needs column nll, the scores have len_out"):
        rule.check({"len_out": {"indicator": "len"}}, allow_mismatch=True)
    with pytest.raises(DefinitionMismatch, match="model is None in the scores"):
        rule.check({"len_out": {"indicator": "len"}, "nll": {}})


def test_check_takes_the_same_weights_by_another_name(rule: Rule) -> None:
    definitions = {"len_out": {}, "nll": {"model": "a", "weights": "0f"}}
    rule.provenance_ = Provenance(definitions=definitions)
    scores = {"len_out": {}, "nll": {"model": "/a/path", "weights": "0f"}}
    assert rule.check(scores) == []
    scores["nll"]["weights"] = "1e"
    assert len(rule.check(scores, allow_mismatch=True)) == 2


def test_saved_and_loaded_it_is_the_same_rule(
    rule: Rule, pool: pl.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "rule.json"
    rule.save(path)
    loaded = Rule.load(path)
    np.testing.assert_array_equal(loaded.predict_rows(pool), rule.predict_rows(pool))
    np.testing.assert_array_equal(
        loaded.predict(rule.transform_rows(pool)), rule.predict_rows(pool)
    )
    assert loaded.document() == rule.document()
    assert loaded.n_outside(pool) == rule.n_outside(pool)


def test_a_copy_for_refitting_keeps_columns_and_transforms(rule: Rule) -> None:
    copy = clone(rule)
    assert (copy.columns, copy.transforms) == (rule.columns, rule.transforms)
    assert not hasattr(copy, "coef_")


def test_importing_the_package_loads_no_scikit_learn() -> None:
    code = "import sys, instructmining; sys.exit('sklearn' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
