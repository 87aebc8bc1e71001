from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def test_columns_as_written_on_the_command_line() -> None:
    assert runlog.parse_columns(["nll=clip", "rew"]) == {"nll": "clip", "rew": "identity"}
    for texts in (["nll", "nll=clip"], ["=clip"], ["nll=sqrt"], ["nll="]):
        with pytest.raises(RuleError):
            runlog.parse_columns(texts)


def test_the_log_is_json_all_through(make_runs: Any) -> None:
    json.dumps(make_runs(1, 1), allow_nan=False)


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
