from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest

from instructmining import score
from instructmining.evaluation.judges.base import Judgement, JudgementLog, Question, ask_all
from instructmining.evaluation.judges.reward import RewardJudge
from instructmining.examples import Example, Turn
from instructmining.indicators.reward import Reward
from instructmining.models.reward import RewardPass
from instructmining.models.sources import DEFAULT_LM, is_ready
from instructmining.scoring.passes import Models
from models.tiny import files_of
from models.tiny_reward import save_oasst_reward

pytestmark = pytest.mark.usefixtures("one_thread")

PAIRS = [(f"Question {i}?", "a short one", f"another, longer one {i}") for i in range(70)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_oasst_reward(tmp_path_factory.mktemp("reward"))


def judge_of(folder: Path) -> RewardJudge:
    return RewardJudge(Reward(), RewardPass(files_of(folder)))


def test_the_answer_of_the_higher_reward_is_preferred(folder, tmp_path):
    judge = judge_of(folder)
    asked = [Question(*pair) for pair in PAIRS]
    found = ask_all(judge, asked, JudgementLog(tmp_path / "log.jsonl"))
    rewards = RewardPass(files_of(folder))

    def reward(prompt: str, text: str) -> float:
        (item,) = rewards.prepare([Example(0, (Turn("user", prompt),), text)])
        return float(rewards.run([item]).reward[0])

    for question in asked[::9]:
        first, second = (
            reward(question.prompt, text) for text in (question.first, question.second)
        )
        assert found[question].verdict == ("first" if first > second else "second")
    assert {one.verdict for one in found.values()} <= {"first", "second"}


def test_order_does_not_matter(folder, tmp_path):
    judge = judge_of(folder)
    assert not judge.sees_order
    asked = [Question(*pair) for pair in PAIRS[:5]]
    log = JudgementLog(tmp_path / "log.jsonl")
    found = ask_all(judge, [*asked, *(one.swapped for one in asked)], log)
    other = {"first": "second", "second": "first", "tie": "tie"}
    for one in asked:
        assert found[one.swapped].verdict == other[found[one].verdict]


def test_an_empty_answer_loses_and_two_are_a_tie(folder, tmp_path):
    said: dict[int, Judgement] = {}
    asked = [Question("q?", "", "x"), Question("q?", "x", " "), Question("q?", "", " ")]
    judge_of(folder).judge(asked, said.__setitem__)
    assert [said[place].verdict for place in range(3)] == ["second", "first", "tie"]


def test_a_head_judges_as_it_scores():
    """The head that comes with the package, on the real model."""
    if not is_ready(DEFAULT_LM):
        pytest.skip(f"{DEFAULT_LM} is not there; run `instructmining download`")
    models = Models()
    (head,) = models.indicators(["rew"])
    judge = RewardJudge(head, models.build([head.needs]))
    question = "Name three colours and say where each is seen."
    answers = [
        "Blue in the sky, green in grass and red in tulips.",
        "colours",
        "blue blue blue",
        "",
    ]
    rows = [{"instruction": question, "output": answer} for answer in answers]
    scored = score(rows, ["rew"]).frame["rew"].to_list()
    said: dict[int, Judgement] = {}
    asked = [Question(question, one, other) for one in answers for other in answers]
    judge.judge(asked, said.__setitem__)
    for place, (first, second) in enumerate(itertools.product(scored, scored)):
        one, other = (-math.inf if value is None else value for value in (first, second))
        wanted = "tie" if one == other else "first" if one > other else "second"
        assert said[place].verdict == wanted
    assert "reward head" in judge.definition
