from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from instructmining.errors import DefinitionMismatch, RuleError
from instructmining.rules.catalog import list_rules, load_rule


def test_the_published_rules_and_the_baseline_are_there() -> None:
    assert {"instructmining-v1", "instructmining-v2", "longest"} <= set(list_rules())


@pytest.mark.parametrize("name", list_rules())
def test_every_rule_carries_the_name_it_is_found_by(name: str) -> None:
    rule = load_rule(name)
    assert rule.name == name
    assert rule.provenance_.description


def test_version_1_by_hand() -> None:
    rows = {"rew": [2.0], "len": [300.0], "knn_6": [0.9]}
    expected = 1.0694 - 0.1498 * 2.0 + 8.257e-5 * 300.0 - 0.9350 * 0.9
    assert load_rule("instructmining-v1").predict_rows(rows) == pytest.approx(expected)


def test_version_2_by_hand() -> None:
    rows = {"rew": [1.5], "und_p": [0.9], "nat_p": [0.8], "coh_p": [0.7]}
    expected = 0.0274 - 0.0078 * 1.5 + 0.4421 * 0.9 - 0.3212 * 0.8 - 0.1520 * 0.7
    assert load_rule("instructmining-v2").predict_rows(rows) == pytest.approx(expected)


def test_longest_puts_the_longest_response_first() -> None:
    predicted = load_rule("longest").predict_rows({"len_out": [10.0, 500.0, 3.0]})
    assert np.argsort(predicted).tolist() == [1, 0, 2]


def test_a_published_rule_refuses_another_reward_model() -> None:
    rule = load_rule("instructmining-v2")
    unieval = {"model": "MingZhong/unieval-dialog"}
    scores = {name: dict(unieval) for name in ("und_p", "nat_p", "coh_p")}
    scores["rew"] = {"indicator": "rew", "model": "small-reward"}
    with pytest.raises(DefinitionMismatch, match=r"oasst-rm-2\.1-pythia-1\.4b"):
        rule.check(scores)


def test_a_pilot_says_so_wherever_it_is_named() -> None:
    for name in list_rules():
        rule = load_rule(name)
        assert ("pilot" in rule.label) == (rule.provenance_.status == "pilot")


def test_a_near_miss_gets_a_suggestion() -> None:
    with pytest.raises(RuleError, match="did you mean instructmining-v1"):
        load_rule("instructminingv1")
    with pytest.raises(RuleError, match="neither a rule nor a file; rules are instructmining-v1"):
        load_rule("qqq")


def test_a_rule_file_by_path(tmp_path: Path) -> None:
    rule = load_rule("longest")
    rule.save(tmp_path / "copy.json")
    assert load_rule(tmp_path / "copy.json").document() == rule.document()
    assert load_rule(str(tmp_path / "copy.json")).document() == rule.document()
