from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instructmining.errors import RuleError
from instructmining.rules import runlog

Write = Callable[[list[dict[str, Any]]], Path]
COLUMNS = {"nll": "identity", "len_out": "log1p"}


def test_what_was_logged_is_read(make_runs: Any, write_log: Write, untuned: Any) -> None:
    runs = [*make_runs(3, 2), untuned]
    path = write_log(runs)
    path.write_text(path.read_text() + "\n\n")
    assert runlog.read_runs([path]) == runs
    assert len(runlog.tuned(runs)) == 6
    assert runlog.evaluation_names(runs) == ("human", "machine")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "list came"),
        ("{}", "run is 'missing'"),
        ('{"run": "m", "mixture": 3}', "mixture is 3"),
    ],
)
def test_a_bad_line_is_named(make_runs: Any, write_log: Write, line: str, message: str) -> None:
    path = write_log(make_runs(2, 1))
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(RuleError) as caught:
        runlog.read_runs([path])
    assert "runs.jsonl, line 3" in str(caught.value)
    assert message in str(caught.value)


def test_a_run_given_twice_or_a_missing_log_is_refused(make_runs: Any, write_log: Write) -> None:
    path = write_log(make_runs(2, 1))
    with pytest.raises(RuleError, match=r"run m00-s0 came before, at .*line 1"):
        runlog.read_runs([path, path])
    with pytest.raises(RuleError, match="cannot be read"):
        runlog.read_runs([path.with_name("absent")])


def test_the_table_holds_transformed_means_and_mean_log_losses(make_runs: Any) -> None:
    runs = make_runs(3, 2)
    table = runlog.run_table(runs, ("human", "machine"), COLUMNS, "token")
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
    ("path", "value", "message"),
    [
        (("training", "rate"), 3e-4, r"training\.rate: 0\.001 and 0\.0003"),
        (("base_model", "weights"), "1e", r"base_model\.weights: '0f' and '1e'"),
        (("indicators", "nll", "definition", "model"), "b", r"definition of nll\.model: 'tiny'"),
        (("losses", "human", "part"), "pilot", r"evaluation\.human\.part: 'fit' and 'pilot'"),
        (("training", "extra"), {"a": 1}, r"training\.extra: None and \{'a': 1\}"),
    ],
)
def test_runs_of_two_settings_do_not_mix(
    make_runs: Any, path: tuple[str, ...], value: Any, message: str
) -> None:
    runs = copy.deepcopy(make_runs(3, 1))
    *parents, last = path
    place = runs[2]
    for key in parents:
        place = place[key]
    place[last] = value
    with pytest.raises(RuleError, match=f"runs m00-s0 and m02-s0 differ in {message}"):
        runlog.require_one_setting(runs, ["human"], ["nll"])


def test_what_the_rule_does_not_read_may_differ(make_runs: Any) -> None:
    runs = copy.deepcopy(make_runs(3, 1))
    runs[1]["indicators"]["mtld"]["definition"]["model"] = "b"
    runs[1]["losses"]["machine"]["part"] = "pilot"
    runs[1]["base_model"]["name"] = "/a/path/to/the/same/weights"
    runlog.require_one_setting(runs, ["human"], ["nll"])


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
        runlog.run_table(runs, ["human"], COLUMNS, "token")


def test_one_name_in_two_plans_is_one_mixture_only_if_the_means_agree(make_runs: Any) -> None:
    runs = make_runs(2, 2)
    again = copy.deepcopy(runs)
    for run in again:
        run["plan"] = "longer"
    mixed = runlog.run_table([*runs, *again], ["human"], COLUMNS, "token")
    assert mixed.mixtures.tolist() == [0, 0, 1, 1] * 2
    for run in again[:2]:
        run["indicators"]["mtld"]["means"]["identity"] += 1
    apart = runlog.run_table([*runs, *again], ["human"], COLUMNS, "token")
    assert apart.mixtures.tolist() == [0, 0, 1, 1, 2, 2, 1, 1]


def test_columns_as_written_on_the_command_line() -> None:
    assert runlog.parse_columns(["nll=clip", "rew"]) == {"nll": "clip", "rew": "identity"}
    for texts in (["nll", "nll=clip"], ["=clip"], ["nll=sqrt"], ["nll="]):
        with pytest.raises(RuleError):
            runlog.parse_columns(texts)


def test_the_log_is_json_all_through(make_runs: Any) -> None:
    json.dumps(make_runs(1, 1), allow_nan=False)


def test_the_table_holds_shares_of_sources(make_runs: Any) -> None:
    runs = copy.deepcopy(make_runs(3, 2))
    for run in runs[:2]:
        run["sources"] = {"b": 96, "a": 32}
    runs[2].pop("sources")
    table = runlog.run_table(runs, ("human",), COLUMNS, "token")
    assert table.sources == ("a", "b", "simulated")
    np.testing.assert_array_equal(table.shares[0], [0.25, 0.75, 0.0])
    np.testing.assert_array_equal(table.shares[2], [0.0, 0.0, 0.0])
    assert table.names == ("m00", "m01", "m02")
    assert table.n_seeds.tolist() == [2, 2, 2]


@pytest.mark.parametrize("change", [{"sources": {"a": "many"}}, {"n_examples": 0}])
def test_sources_that_are_not_counted_are_refused(make_runs: Any, change: dict[str, Any]) -> None:
    runs = make_runs(2, 1)
    with pytest.raises(RuleError, match=r"run m01-s0: .* a number of rows per source was wanted"):
        runlog.run_table([runs[0], {**runs[1], **change}], ("human",), COLUMNS, "token")


def test_runs_that_hold_a_source_are_left_out(make_runs: Any, untuned: Any) -> None:
    mixed, without, other = make_runs(3, 1)
    mixed["sources"] = {"dolly": 28, "lima": 100}
    without["sources"] = {"lima": 128}
    other["sources"] = {"dolly": 128, "lima": 0}
    runs = [untuned, mixed, without, other]
    assert runlog.without_sources(runs, ()) == runs
    assert runlog.without_sources(runs, ["dolly"]) == [untuned, without]
    assert runlog.without_sources(runs, ["lima"]) == [untuned, other]


def test_a_source_no_run_or_every_run_holds_is_refused(make_runs: Any, untuned: Any) -> None:
    runs = [untuned, *make_runs(3, 1)]
    with pytest.raises(RuleError, match=r"'doly' is in no mixture .* hold simulated; name"):
        runlog.without_sources(runs, ["simulated", "doly"])
    with pytest.raises(RuleError, match="every mixture holds rows of simulated; run mixtures"):
        runlog.without_sources(runs, ["simulated"])
