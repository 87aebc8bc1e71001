from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from evaluation.judges.fake_server import Script, failing, serving
from instructmining.errors import ExperimentError
from instructmining.evaluation.judges.base import Judgement, JudgementLog, Question, ask_all
from instructmining.evaluation.judges.server import Server, ServerJudge

QUESTIONS = [Question(f"prompt {i}", "x" * (1 + i % 7), "y" * (1 + i % 5)) for i in range(60)]
WANTED = [
    {0: "tie", 1: "first", -1: "second"}[int(np.sign(len(q.first) - len(q.second)))]
    for q in QUESTIONS
]


def judge_at(url: str, **changes: object) -> ServerJudge:
    return ServerJudge(Server(url, "any", **{"wait": 0.001, "timeout": 0.3, **changes}))


def verdicts(known: dict[Question, Judgement]) -> list[str | None]:
    return [known[question].verdict for question in QUESTIONS]


def test_every_question_is_asked_once_and_answered(tmp_path):
    with serving(Script()) as script:
        log = JudgementLog(tmp_path / "log.jsonl")
        found = ask_all(judge_at(script.url, key="secret"), QUESTIONS, log)
    assert verdicts(found) == WANTED
    assert set(script.answered.values()) == {1}
    assert len(script.bodies) == 60
    assert set(script.keys) == {"Bearer secret"}
    assert {body["model"] for body in script.bodies} == {"any"}
    # A key is never written down.
    assert "secret" not in (tmp_path / "log.jsonl").read_text()


def test_what_was_judged_is_not_asked_again(tmp_path):
    with serving(Script()) as script:
        log = JudgementLog(tmp_path / "log.jsonl")
        ask_all(judge_at(script.url), QUESTIONS[:40], log)
        found = ask_all(judge_at(script.url), [*QUESTIONS, *QUESTIONS], JudgementLog(log.path))
        assert len(script.bodies) == 60
        assert verdicts(found) == WANTED
        # Another judge, and other words of the same, are asked.
        ask_all(judge_at(script.url, temperature=0.5), QUESTIONS[:5], log)
        assert len(script.bodies) == 65


@pytest.mark.parametrize(
    "kinds",
    [
        ("garbage", "empty"),
        ("busy", "ailing"),
        ("slow",),
        ("hangs up",),
        ("garbage", "empty", "busy", "ailing", "slow", "hangs up"),
    ],
    ids="+".join,
)
def test_faults_lose_nothing_and_count_nothing_twice(tmp_path, kinds):
    with serving(Script(fault=failing(*kinds))) as script:
        log = JudgementLog(tmp_path / "log.jsonl")
        found = ask_all(judge_at(script.url, attempts=20), QUESTIONS, log)
    assert verdicts(found) == WANTED
    assert len(log.records()) == len({record["question"] for record in log.records()}) == 60
    assert len(script.bodies) > 60


def test_a_server_that_stays_down_ends_the_run_and_what_is_done_is_kept(tmp_path):
    down = threading.Event()

    def fault(number, handler):
        if number > 25:
            down.set()
        if down.is_set():
            handler.answer(503, b"down")
            return True
        return False

    log = JudgementLog(tmp_path / "log.jsonl")
    with serving(Script(fault=fault)) as script:
        judge = judge_at(script.url, attempts=2, concurrency=4)
        with pytest.raises(ExperimentError, match=r"no reply in 2 attempts \(HTTP 503\); what was"):
            ask_all(judge, QUESTIONS, log)
    kept = len(log.records())
    assert 15 <= kept <= 25
    with serving(Script()) as script:
        found = ask_all(judge_at(script.url), QUESTIONS, log)
    assert verdicts(found) == WANTED
    assert len(script.bodies) == 60 - kept


def test_a_refusal_is_not_asked_again(tmp_path):
    def fault(number, handler):
        handler.answer(401, b"no such\nkey")
        return True

    with serving(Script(fault=fault)) as script:
        judge = judge_at(script.url, concurrency=1)
        with pytest.raises(ExperimentError, match=r"HTTP 401: no such key\); check address"):
            ask_all(judge, QUESTIONS, JudgementLog(tmp_path / "log.jsonl"))
    # Another question may have been under way.
    assert len(script.bodies) <= 2
    assert len({str(body) for body in script.bodies}) == len(script.bodies)


def test_replies_under_way_when_a_run_ends_are_kept(tmp_path):
    under_way = threading.Event()

    def fault(number, handler):
        if number == 4:  # refused once the other three are there
            under_way.wait(5)
            handler.answer(403, b"no")
            return True
        if number == 3:
            under_way.set()
        time.sleep(0.2)
        return False

    log = JudgementLog(tmp_path / "log.jsonl")
    with serving(Script(fault=fault)) as script:
        judge = judge_at(script.url, concurrency=4, timeout=5)
        with pytest.raises(ExperimentError, match="HTTP 403"):
            ask_all(judge, QUESTIONS[:4], log)
    assert len(log.records()) == 3


def test_nobody_there_is_said_in_one_line(tmp_path):
    judge = judge_at("http://127.0.0.1:9/v1", attempts=2)
    with pytest.raises(ExperimentError, match="gave no reply in 2 attempts"):
        ask_all(judge, QUESTIONS[:1], JudgementLog(tmp_path / "log.jsonl"))


def test_replies_without_a_verdict_are_kept_as_failures(tmp_path):
    log = JudgementLog(tmp_path / "log.jsonl")
    with serving(Script(verdict=lambda first, second: "They are fine.")) as script:
        found = ask_all(judge_at(script.url), QUESTIONS[:4], log)
        assert {one.verdict for one in found.values()} == {None}
        assert {one.reply for one in found.values()} == {"They are fine."}
        ask_all(judge_at(script.url), QUESTIONS[:4], log)
    assert len(script.bodies) == 4


def test_so_many_requests_are_under_way_and_no_more(tmp_path):
    under_way, most, lock = Counter(), Counter(), threading.Lock()
    gate = threading.Event()

    def fault(number, handler):
        with lock:
            under_way["now"] += 1
            most["seen"] = max(most["seen"], under_way["now"])
            if under_way["now"] == 3:
                gate.set()
        gate.wait(5)
        with lock:
            under_way["now"] -= 1
        return False

    with serving(Script(fault=fault)) as script:
        log = JudgementLog(tmp_path / "log.jsonl")
        ask_all(judge_at(script.url, concurrency=3, timeout=10), QUESTIONS[:12], log)
    assert most["seen"] == 3


@pytest.mark.parametrize("changes", [{"concurrency": 0}, {"attempts": 0}, {"max_tokens": 0}])
def test_a_judge_that_asks_nothing_is_refused(changes):
    with pytest.raises(ExperimentError, match="give at least 1 of each"):
        Server("http://127.0.0.1:1/v1", "any", **changes)


def test_an_address_that_is_none_is_refused():
    with pytest.raises(ExperimentError, match="wanted an HTTP address"):
        Server("localhost:8000", "any")


def test_the_cost_is_expected_from_the_texts():
    judge = judge_at("http://127.0.0.1:1/v1", max_tokens=10)
    sent, received = judge.expected_tokens([Question("p" * 400, "x" * 4000, "y" * 4000)] * 2)
    assert received == 20
    assert 2 * 2100 < sent < 2 * 2700


def test_lone_surrogates_reach_the_server(tmp_path: Path):
    with serving(Script(verdict=lambda first, second: "Verdict: A")) as script:
        question = Question("a \ud800 b", "x\udfff", "y")
        log = JudgementLog(tmp_path / "log.jsonl")
        found = ask_all(judge_at(script.url), [question], log)
    assert found[question].verdict == "first"
