from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instructmining.errors import RuleError
from instructmining.rules.runtable import run_table

Write = Callable[[list[dict[str, Any]]], Path]
COLUMNS = {"nll": "identity", "len_out": "log1p"}


def test_the_table_holds_transformed_means_and_mean_log_losses(make_runs: Any) -> None:
    runs = make_runs(3, 2)
    table = run_table(runs, ("human", "machine"), COLUMNS, "token")
    assert table.features == ("nll", "log1p(len_out)")
    assert table.mixtures.tolist() == [0, 0, 1, 1, 2, 2]
    losses = runs[4]["losses"]
    assert table.y[4] == pytest.approx(
        (math.log(losses["human"]["token_mean"]) + math.log(losses["machine"]["token_mean"])) / 2
    )
    means = runs[4]["indicators"]["len_out"]["means"]
    assert table.x[4, 1] == means["log1p"]
    np.testing.assert_allclose(table.means(table.x), table.x[::2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: run["losses"].pop("human"), "has no loss on human, it has machine"),
        (lambda run: run["losses"]["human"].update(token_mean=None), "token_mean on human is None"),
        (lambda run: run["losses"]["human"].update(token_mean=0.0), "token_mean on human is 0.0"),
        (lambda run: run["indicators"].pop("nll"), "has no column nll, it has len_out, mtld"),
        (
            lambda run: run["indicators"]["nll"]["means"].update(identity=None),
            "mean of nll is None",
        ),
    ],
)
def test_missing_values_are_named(
    make_runs: Any, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    runs = copy.deepcopy(make_runs(2, 1))
    change(runs[1])
    with pytest.raises(RuleError, match=f"m01-s0.*{message}"):
        run_table(runs, ["human"], COLUMNS, "token")


def test_one_name_in_two_plans_is_one_mixture_only_if_the_means_agree(make_runs: Any) -> None:
    runs = make_runs(2, 2)
    again = copy.deepcopy(runs)
    for run in again:
        run["plan"] = "longer"
    mixed = run_table([*runs, *again], ["human"], COLUMNS, "token")
    assert mixed.mixtures.tolist() == [0, 0, 1, 1] * 2
    for run in again[:2]:
        run["indicators"]["mtld"]["means"]["identity"] += 1
    apart = run_table([*runs, *again], ["human"], COLUMNS, "token")
    assert apart.mixtures.tolist() == [0, 0, 1, 1, 2, 2, 1, 1]


def test_the_table_holds_shares_of_sources(make_runs: Any) -> None:
    runs = copy.deepcopy(make_runs(3, 2))
    for run in runs[:2]:
        run["sources"] = {"b": 96, "a": 32}
    runs[2].pop("sources")
    table = run_table(runs, ("human",), COLUMNS, "token")
    assert table.sources == ("a", "b", "simulated")
    np.testing.assert_array_equal(table.shares[0], [0.25, 0.75, 0.0])
    np.testing.assert_array_equal(table.shares[2], [0.0, 0.0, 0.0])
    assert table.names == ("m00", "m01", "m02")
    assert table.n_seeds.tolist() == [2, 2, 2]


@pytest.mark.parametrize("change", [{"sources": {"a": "many"}}, {"n_examples": 0}])
def test_sources_that_are_not_counted_are_refused(make_runs: Any, change: dict[str, Any]) -> None:
    runs = make_runs(2, 1)
    with pytest.raises(RuleError, match=r"run m01-s0: .* a number of rows per source was wanted"):
        run_table([runs[0], {**runs[1], **change}], ("human",), COLUMNS, "token")
