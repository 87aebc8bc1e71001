from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from instructmining.errors import RuleError
from instructmining.rules.fit import Estimation, fit_rule
from instructmining.rules.result import FitResult
from instructmining.rules.verdict import judge

from .simulated import series

SLOPES = {"len_out": -0.05, "nll": 0.05, "rew": 0.0}


@pytest.fixture(scope="module")
def result() -> FitResult:
    return fit_rule(
        series(80, SLOPES),
        evaluation="human",
        columns=dict.fromkeys(SLOPES, "clip"),
        estimation=Estimation(choose="aicc", draws=200),
    )


def test_bars_say_what_was_reached(result: FitResult) -> None:
    bars = {bar.name: bar for bar in judge(result).bars}
    assert bars["R² left out, rule as shipped"].value == result.loo_r2
    assert bars["R² left out, rule as shipped"].met == (result.loo_r2 >= 0.5)
    assert bars["gain of rule as shipped over source shares alone"].wanted == "interval above 0"
    assert bars["gain of columns and source shares over length and source shares"].met
    assert bars["largest VIF"].value == max(one.vif or 0.0 for one in result.coefficients)
    assert "overlap of the top 5 % between refits" not in bars


def test_rows_are_ranked_by_all_that_was_named(result: FitResult) -> None:
    rng = np.random.default_rng(0)
    rows = pl.DataFrame({name: rng.normal(size=500) for name in SLOPES})
    verdict = judge(result, rows)
    assert verdict.ranking is not None
    assert (verdict.ranking.n_rows, verdict.ranking.n_undefined) == (500, 0)
    assert [one.column for one in verdict.ranking.columns] == list(result.rule.columns_)
    (bar,) = [bar for bar in verdict.bars if bar.name == "overlap of the top 5 % between refits"]
    assert bar.value == verdict.ranking.overlaps[1].refits[1] > 0.7
    assert bar.met
    with pytest.raises(RuleError, match="column rew is missing"):
        judge(result, rows.drop("rew"))


def test_what_single_rows_make_of_the_rule_is_said(result: FitResult) -> None:
    rng = np.random.default_rng(0)
    near, far = (
        judge(result, pl.DataFrame({name: scale * rng.normal(size=200) for name in SLOPES}))
        for scale in (0.3, 30.0)
    )
    assert near.warnings == result.warnings
    assert any("nll: 9" in one and "the rule extrapolates" in one for one in far.warnings)
    noise = fit_rule(
        series(12, SLOPES, mixture_noise=0.3, n_sources=1),
        evaluation="human",
        columns=dict.fromkeys(SLOPES, "identity"),
    )
    said = judge(noise, pl.DataFrame({name: rng.normal(size=200) for name in SLOPES})).warnings
    assert any("another sample of mixtures would take other rows" in one for one in said)
