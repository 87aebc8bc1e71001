"""Judges of other packages: imported when asked for by name, refused in one line."""

from __future__ import annotations

import pytest

from instructmining.errors import ExperimentError, InputError
from instructmining.evaluation.judges.added import judge_named
from instructmining.evaluation.judges.base import (
    Judgement,
    JudgementLog,
    Question,
    ask_all,
    key_of,
)

SOURCE = """
from instructmining.evaluation.judges.base import Judgement

class Longer:
    sees_order = False

    def __init__(self, by=1):
        self.definition = {"judge": "longer", "by": by}

    def judge(self, questions, keep):
        for place, one in enumerate(questions):
            longer = len(one.first) - len(one.second) >= self.definition["by"]
            keep(place, Judgement("first" if longer else "tie"))
"""
QUESTION = Question("Count.", "one two", "one")


@pytest.fixture
def put(distribution):
    def put(source, name="longer", package="longer-plugin"):
        distribution(package, source, {f"judges/{name}": "Longer"})

    return put


def test_a_judge_of_a_plugin_judges_as_it_is_set(put, tmp_path):
    put(SOURCE)
    log = JudgementLog(tmp_path / "judgements.jsonl")
    eager, slow = judge_named("Longer", {}), judge_named("longer", {"by": 9})
    assert ask_all(eager, [QUESTION], log) == {QUESTION: Judgement("first")}
    # Settings are in the definition, so what one judge said is not taken for the other's.
    assert ask_all(slow, [QUESTION], log) == {QUESTION: Judgement("tie")}
    assert key_of(eager, QUESTION) != key_of(slow, QUESTION)
    assert len(log.records()) == 2


def test_only_the_judge_asked_for_is_imported(put):
    put(SOURCE)
    put("import nowhere_to_be_found", "broken", "broken-plugin")
    assert judge_named("longer", {}).definition["judge"] == "longer"
    with pytest.raises(InputError, match="plugin 'broken' of broken-plugin cannot be imported"):
        judge_named("broken", {})


def test_an_unknown_judge_is_refused_with_those_known(put):
    with pytest.raises(InputError, match="'longer' is not known; install a package that adds it"):
        judge_named("longer", {})
    put(SOURCE)
    with pytest.raises(InputError, match=r"did you mean longer\? Known: longer"):
        judge_named("longr", {})
    with pytest.raises(InputError, match="'x' is not known; choose from longer"):
        judge_named("x", {})


@pytest.mark.parametrize(
    ("source", "settings", "error", "said"),
    [
        ("Longer = 3", {}, InputError, "is not a class"),
        (SOURCE, {"wide": 1}, ExperimentError, "cannot be made with wide=1: .*'wide'"),
        (SOURCE.replace("def judge", "def jugde"), {}, ExperimentError, "made with no settings"),
        (SOURCE.replace("order = False", "order = 3"), {}, InputError, "is no judge: wanted"),
        (SOURCE, {"by": float("nan")}, InputError, "has no definition: wanted names with"),
        (SOURCE.replace('{"judge": "longer", "by": by}', "{}"), {}, InputError, "no definition"),
    ],
)
def test_what_is_no_judge_is_refused_in_one_line(put, source, settings, error, said):
    put(source)
    with pytest.raises(error, match=said) as told:
        judge_named("longer", settings)
    assert "longer-plugin" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_verdict_there_is_none_of_is_not_kept(put, tmp_path):
    put(SOURCE.replace('"first"', '"First"'))
    log = JudgementLog(tmp_path / "judgements.jsonl")
    with pytest.raises(ExperimentError, match="verdict 'First'; wanted first, second, tie or None"):
        ask_all(judge_named("longer", {}), [QUESTION], log)
    assert log.records() == []


@pytest.mark.parametrize("place", [-1, 1])
def test_an_answer_to_no_question_is_not_kept(put, tmp_path, place):
    source = SOURCE.replace("keep(place,", f"keep({place},")
    assert source != SOURCE
    put(source)
    log = JudgementLog(tmp_path / "judgements.jsonl")
    with pytest.raises(ExperimentError, match=f"answered question {place} of 1"):
        ask_all(judge_named("longer", {}), [QUESTION], log)
    assert log.records() == []
