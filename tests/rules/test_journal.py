"""A flipped bit in a rule or a run log is refused, or changes nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from instructmining.errors import ExperimentError, InstructMiningError, RuleError
from instructmining.experiments.runs import RunLog
from instructmining.journal import SEAL, is_intact, sealed
from instructmining.rules.rule import Rule
from instructmining.rules.runlog import read_runs


def flips(path: Path, n: int, seed: int = 0) -> Iterator[None]:
    """Flip one bit of a file, `n` times; put the file back at the end."""
    whole = path.read_bytes()
    chance = random.Random(seed)
    for _ in range(n):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        yield
    path.write_bytes(whole)


def test_a_seal_holds_for_the_same_values_only() -> None:
    document = {"b": [1, 2.5, None], "a": {"é": "x"}}
    whole = sealed(document)
    assert is_intact(document)
    assert is_intact(json.loads(json.dumps(whole, sort_keys=True, indent=3)))
    assert not is_intact({**whole, "b": [1, 2.5, 0]})
    assert not is_intact({**whole, "c": None})
    assert not is_intact({**whole, SEAL: None})


def test_any_flipped_bit_of_a_rule(tmp_path: Path) -> None:
    rule = Rule(["nll", "mtld"], {"nll": "clip"})
    rule.fit({"clip(nll)": [1.0, 2.5, 3.0], "mtld": [60.0, 71.0, 80.5]}, [0.5, 0.25, 0.125])
    path = tmp_path / "rule.json"
    rule.save(path)
    refused = 0
    for _ in flips(path, 300):
        try:
            document = Rule.load(path).document()
        except RuleError as error:
            refused += 1
            assert str(path) in str(error)
        else:
            assert document == rule.document()
    assert refused > 200


def test_a_rule_changed_on_purpose_says_how(tmp_path: Path) -> None:
    rule = Rule(["mtld"])
    rule.fit({"mtld": [60.0, 71.0, 80.5]}, [0.5, 0.25, 0.125])
    path = tmp_path / "rule.json"
    rule.save(path)
    changed = {**json.loads(path.read_text()), "intercept": 1.0}
    path.write_text(json.dumps(changed))
    with pytest.raises(RuleError, match="remove the key sha256"):
        Rule.load(path)
    del changed[SEAL]
    path.write_text(json.dumps(changed))
    assert Rule.load(path).intercept_ == 1.0


def test_any_flipped_bit_of_a_run_log(make_runs: Any, tmp_path: Path) -> None:
    log = RunLog(tmp_path / "runs.jsonl")
    runs = make_runs(2, 2)
    for run in runs:
        log.append({"plan": "p", "sources": {}, **run})
    logged = log.records()
    whole = log.path.read_bytes()
    refused = torn = 0
    for _ in flips(log.path, 300):
        try:
            found = RunLog(log.path).records()
        except ExperimentError as error:
            refused += 1
            assert str(log.path) in str(error)
        else:
            # A last line that is no JSON any more passes for torn, and its run is done again.
            known = [{key: run[key] for key in run if key in logged[0]} for run in found]
            assert known in (logged, logged[:-1])
            torn += known == logged[:-1]
        log.torn_path.unlink(missing_ok=True)
    assert refused > 100
    assert torn > 10
    assert log.path.read_bytes() == whole
    for _ in flips(log.path, 300, seed=1):
        try:
            found = read_runs([log.path])
        except InstructMiningError as error:
            assert f"{log.path}, line " in str(error) or "cannot be read" in str(error)
        else:
            assert [{k: v for k, v in run.items() if k in logged[0]} for run in found] == logged


def test_a_changed_number_in_the_log_is_refused_by_line(make_runs: Any, tmp_path: Path) -> None:
    log = RunLog(tmp_path / "runs.jsonl")
    for run in make_runs(3, 1):
        log.append({"plan": "p", "sources": {}, **run})
    lines = log.path.read_text().splitlines()
    changed = {**json.loads(lines[1]), "seed": 7}
    log.path.write_text("\n".join([lines[0], json.dumps(changed), lines[2], ""]))
    with pytest.raises(ExperimentError, match=r"line 2 was changed after it was written"):
        RunLog(log.path).records()
    with pytest.raises(RuleError, match=r"line 2: was changed after it was written"):
        read_runs([log.path])
