from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from instructmining.errors import RuleError
from instructmining.rules.rule import Rule

MINIMAL: dict[str, Any] = {
    "schema": 1,
    "name": "mine",
    "status": "baseline",
    "intercept": 0,
    "columns": [{"name": "len_out", "coefficient": -1}],
}


def load(tmp_path: Path, document: Any) -> Rule:
    path = tmp_path / "rule.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return Rule.load(path)


def column(**changes: Any) -> dict[str, Any]:
    return {**MINIMAL, "columns": [{**MINIMAL["columns"][0], **changes}]}


def test_a_hand_written_rule_needs_few_keys_and_is_saved_with_all(tmp_path: Path) -> None:
    rule = load(tmp_path, MINIMAL)
    assert rule.predict_rows({"len_out": [3.0]}).tolist() == [-3.0]
    rule.save(tmp_path / "whole.json")
    whole = json.loads((tmp_path / "whole.json").read_text())
    assert whole["loo_r2"] is None
    assert whole["columns"][0]["range"] is None
    assert set(whole) == {
        *("schema", "name", "description", "status", "intercept", "columns", "n_runs"),
        *("n_mixtures", "r2", "loo_r2", "estimation", "choice", "vif", "covariance"),
        *("base_model", "training", "evaluation", "dependent_variable", "seeds"),
        *("source", "notes", "sha256"),
    }


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "not JSON"),
        ("[]", "JSON, but not a rule"),
        ({"a": 1}, "JSON, but not a rule"),
        ({**MINIMAL, "schema": 2}, "rule of schema 2, this version reads 1"),
        ({**MINIMAL, "colour": "red"}, "unknown key colour"),
        ({**MINIMAL, "intercept": None}, "intercept is missing or null"),
        ({**MINIMAL, "intercept": True}, "intercept is True; a finite int or float"),
        ({**MINIMAL, "n_runs": "many"}, "n_runs is 'many'; a finite int was wanted"),
        ({**MINIMAL, "status": "great"}, "status is 'great'; one of published"),
        ({**MINIMAL, "columns": []}, "at least one, each once"),
        ({**MINIMAL, "columns": MINIMAL["columns"] * 2}, "at least one, each once"),
        ({**MINIMAL, "columns": ["len_out"]}, "columns holds 'len_out'"),
        (column(coefficient=float("nan")), "coefficient is nan; a finite"),
        (column(coefficient=None), "coefficient is missing or null"),
        (column(transform="sqrt"), "transform 'sqrt' is unknown"),
        (column(weight=1), "unknown key weight"),
        (column(range=[3, 1]), "range is [3, 1]; 2 ascending numbers"),
        (column(quartiles=[1, 2]), "quartiles is [1, 2]; 3 ascending numbers"),
    ],
)
def test_what_is_no_rule_is_refused_in_one_line(
    tmp_path: Path, document: Any, message: str
) -> None:
    with pytest.raises(RuleError) as caught:
        load(tmp_path, document)
    assert message in str(caught.value)
    assert "rule.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="cannot be read"):
        Rule.load(tmp_path / "absent.json")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RuleError, match="cannot be read"):
        Rule.load(tmp_path / "binary")
