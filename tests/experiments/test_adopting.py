"""Runs that two comparisons share are made once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from experiments.test_comparing import (  # noqa: F401
    compared,
    contest_of,
    files,
    materials,
    run,
    timeless,
)
from instructmining.errors import ExperimentError
from instructmining.evaluation.answers import AnswerLog, Writing
from instructmining.examples import Example, Turn
from instructmining.experiments.contest.adopting import adopt
from instructmining.experiments.contest.answering import Answering, Prompts
from instructmining.experiments.contest.choosing import Ration
from instructmining.experiments.runs import RunLog, remaining

if TYPE_CHECKING:
    from instructmining.models.chat import ChatTokenizer


@pytest.fixture
def made(materials, tmp_path):  # noqa: F811
    """A comparison with three seeds that was carried out; its folder."""
    contest, scores = contest_of(materials)
    folder = tmp_path / "old"
    folder.mkdir()
    contest.plan.save(folder / "plan.json")
    run(contest, folder / "runs.jsonl", scores)
    return folder


def more_seeds(materials):  # noqa: F811
    return contest_of(materials, Ration(6, "rule", seeds=(0, 1, 2, 3), batch_size=4))


def test_only_what_is_new_is_left(made, materials, tmp_path):  # noqa: F811
    contest, scores = more_seeds(materials)
    log = RunLog(tmp_path / "runs.jsonl")

    # Three seeds of four methods, two of all, and the untuned model.
    assert adopt(contest.plan, log, made) == 3 * 4 + 2 + 1
    assert {seed for _, seed in remaining(contest.plan, log)} == {3}
    theirs = {one["run"]: one for one in RunLog(made / "runs.jsonl").records()}
    for one in log.records():
        assert one["adopted_from"] == theirs[one["run"]]["plan"] != one["plan"]
        assert one["losses"] == theirs[one["run"]]["losses"]
    assert adopt(contest.plan, log, made) == 0
    # The comparison is the one whose runs were all made for it.
    fresh, _ = more_seeds(materials)
    documents = []
    for one, name in ((contest, "runs.jsonl"), (fresh, "fresh.jsonl")):
        found = compared(one, run(one, tmp_path / name, scores))
        found.save(tmp_path / "comparison.json")
        documents.append(timeless(json.loads((tmp_path / "comparison.json").read_text())))
    assert documents[0] == documents[1]


def test_rows_decide_and_not_names(made, materials, tmp_path):  # noqa: F811
    contest, _ = contest_of(materials)
    first, second, *others = contest.plan.mixtures
    renamed = replace(first, name="theirs")
    shorter = replace(second, rows=second.rows[:-1])
    turned = replace(others[0], rows=others[0].rows[::-1])
    plan = replace(contest.plan, mixtures=(renamed, shorter, turned, *others[1:]))
    log = RunLog(tmp_path / "runs.jsonl")
    adopt(plan, log, made)
    left = {mixture for mixture, _ in remaining(plan, log)}
    assert "theirs" not in left
    assert {second.name, others[0].name} <= left


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"training": {"method": "fake", "epochs": 3}}, "training"),
        ({"base_model": {"name": "another"}}, "base model"),
    ],
)
def test_runs_of_another_setting_are_refused(made, materials, tmp_path, change, what):  # noqa: F811
    contest, _ = contest_of(materials)
    plan = replace(contest.plan, setting=replace(contest.plan.setting, **change))
    with pytest.raises(ExperimentError, match=f"another {what}"):
        adopt(plan, RunLog(tmp_path / "runs.jsonl"), made)
    assert not (tmp_path / "runs.jsonl").exists()


def test_other_evaluation_files_are_refused(made, materials, tmp_path):  # noqa: F811
    contest, _ = contest_of(materials)
    plan = replace(contest.plan, evaluations=contest.plan.evaluations[:1])
    with pytest.raises(ExperimentError, match="another set of evaluation files"):
        adopt(plan, RunLog(tmp_path / "runs.jsonl"), made)


def test_a_folder_without_a_plan_is_refused(materials, tmp_path):  # noqa: F811
    contest, _ = contest_of(materials)
    with pytest.raises(ExperimentError, match="plan cannot be read"):
        adopt(contest.plan, RunLog(tmp_path / "runs.jsonl"), tmp_path)


def answering_of(folder: Path, questions: int = 3, **how: int) -> Answering:
    asked = tuple(Example(row, (Turn("user", f"Why {row}?"),), "") for row in range(questions))
    folder.mkdir(exist_ok=True)
    log = AnswerLog(folder / "answers.jsonl")
    nobody = cast("ChatTokenizer", None)  # nothing is asked anew
    return Answering(log, Prompts("questions.jsonl", asked), nobody, Writing(**how))


def answer(answering: Answering, runs: Sequence[Mapping[str, Any]]) -> None:
    """Let runs answer with their names."""
    for one in runs:
        answering.log.append(
            {
                **{key: one[key] for key in ("run", "mixture", "seed")},
                "prompts": {"path": "old", "content": answering.prompts.content},
                "writing": asdict(answering.how),
                "answers": [[one["run"], 5, True]],
            }
        )


def test_answers_come_with_their_runs(made, materials, tmp_path):  # noqa: F811
    theirs = [one for one in RunLog(made / "runs.jsonl").records() if one["mixture"]]
    answer(answering_of(made), theirs[:-2])
    contest, _ = more_seeds(materials)
    first, *others = contest.plan.mixtures
    plan = replace(contest.plan, mixtures=(replace(first, name="theirs"), *others))
    log, ours = RunLog(tmp_path / "runs.jsonl"), answering_of(tmp_path / "new")

    assert adopt(plan, log, made, ours) == len(theirs) - 2 + 1  # the untuned model answers nothing
    assert not {one["run"] for one in theirs[-2:]} & log.finished()
    assert ours.log.finished() == log.finished() - {"untuned"}
    for one in ours.log.records():
        old = one["run"].replace("theirs-", f"{first.name}-")
        assert one["answers"] == [[old, 5, True]]
        assert one["run"] == f"{one['mixture']}-s{one['seed']}"
    assert adopt(plan, log, made, ours) == 0
    # Cut short between an answer and its run.
    (tmp_path / "runs.jsonl").unlink()
    adopt(plan, RunLog(tmp_path / "runs.jsonl"), made, ours)
    assert len(ours.log.records()) == len(theirs) - 2


@pytest.mark.parametrize("other", [{"questions": 2}, {"max_new_tokens": 9}], ids=str)
def test_answers_to_something_else_are_refused(made, materials, tmp_path, other):  # noqa: F811
    answer(answering_of(made), RunLog(made / "runs.jsonl").records()[1:])
    contest, _ = contest_of(materials)
    log = RunLog(tmp_path / "runs.jsonl")
    with pytest.raises(ExperimentError, match="holds answers to other prompts, or written otherw"):
        adopt(contest.plan, log, made, answering_of(tmp_path / "new", **other))
    assert not log.records()
