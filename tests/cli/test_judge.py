"""`instructmining judge`, from tuned models' answers to a verdict."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest

from evaluation.judges.fake_server import Script, failing, longer, serving
from instructmining.evaluation.answers import AnswerLog
from instructmining.evaluation.judges.base import JudgementLog
from instructmining.experiments.runs import RunLog
from instructmining.journal import is_intact, sealed
from instructmining.models.heads import Head, HeadFile
from instructmining.models.sources import resolve
from models.tiny import save_causal_lm
from models.tiny_reward import save_oasst_reward
from texts import write_pool

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal_lm(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("files")
    rows = [{"instruction": f"Say word number {i}.", "input": "", "output": ""} for i in range(6)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    people = [
        {"prompt": f"Name colour {i}.", "chosen": "blue and green " * (1 + i % 3), "rejected": "no"}
        for i in range(12)
    ]
    (folder / "people.jsonl").write_text("".join(json.dumps(row) + "\n" for row in people))
    return {
        "pool": write_pool(folder / "pool.jsonl", 24, letters="abcdef", seed=1),
        "evaluation": write_pool(folder / "evaluation.jsonl", 8, letters="nopqrst", seed=3),
        "prompts": str(folder / "prompts.jsonl"),
        "people": str(folder / "people.jsonl"),
        "store": str(folder / "store"),
    }


@pytest.fixture
def compare(files: dict[str, str], model: Path, tmp_path: Path) -> list[str]:
    return [
        *("compare", files["pool"], "--eval", f"human={files['evaluation']}", "--keep", "6"),
        *("--methods", "rule,random,shortest", "--rule", "longest", "--seeds", "2"),
        *("--answer", files["prompts"], "--max-new-tokens", "6"),
        *("--base-model", str(model), "--lm", str(model), "--store", files["store"]),
        *("--max-tokens", "256", "--learning-rate", "0.05", "-o", str(tmp_path / "out")),
    ]


@pytest.fixture
def compared(run, compare, tmp_path) -> Path:
    ended = run(*compare)
    assert ended.code == 0, ended.err
    return tmp_path / "out"


def judge_at(url: str, folder: Path, *more: str) -> list[str]:
    return ["judge", str(folder), "--judge-url", url, "--judge-model", "any", *more]


def document(folder: Path) -> dict[str, object]:
    found = json.loads((folder / "judged.json").read_text())
    assert is_intact(found)
    return found


def test_tuned_models_answer_and_an_interruption_leaves_no_trace(
    run, compare, compared, tmp_path, monkeypatch
):
    expected = AnswerLog(compared / "answers.jsonl").records()
    assert [len(record["answers"]) for record in expected] == [6] * 6
    assert {record["run"] for record in expected} == {
        *("rule-s0", "rule-s1", "random-s0-s0", "random-s1-s1", "shortest-s0", "shortest-s1")
    }
    assert expected[0]["writing"]["max_new_tokens"] == 6
    texts = {str(record["answers"]) for record in expected}
    assert len(texts) > 1  # models tuned on other rows answer otherwise

    # Killed between the answers of a run and its line in the log.
    append, calls = RunLog.append, []

    def dies(self, record):
        calls.append(record)
        if len(calls) == 4:
            raise KeyboardInterrupt
        append(self, record)

    again = [*compare[:-1], str(tmp_path / "again")]
    monkeypatch.setattr(RunLog, "append", dies)
    assert run(*again).code == 130
    monkeypatch.setattr(RunLog, "append", append)
    ended = run(*again)
    assert ended.code == 0, ended.err
    assert AnswerLog(tmp_path / "again" / "answers.jsonl").records() == expected


def test_answers_to_other_prompts_are_refused(run, compare, compared, files):
    other = [files["evaluation"] if text == files["prompts"] else text for text in compare]
    ended = run(*other)
    assert ended.code == 2
    assert "holds answers to other prompts" in ended.err


def test_a_judge_is_measured_asked_and_reported(run, compared, files, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("MY_KEY", "secret")
    with serving(Script(fault=failing("busy", "garbage", every=7))) as script:
        more = ("--human-pairs", files["people"], "--judge-key", "MY_KEY")
        arguments = judge_at(script.url, compared, *more)
        shown = run(*arguments, "--limit", "0", "--price-in", "2", "--price-out", "8")
        assert shown.code == 0, shown.err
        assert not script.bodies
        assert "held against people" in shown.err
        assert "at most about" in shown.err
        some = run(*arguments, "--limit", "10")
        assert some.code == 0, some.err
        assert "questions are left; run it again to go on" in some.err
        ended = run(*arguments)
        assert ended.code == 0, ended.err
        assert set(script.answered.values()) == {1}
        assert set(script.keys) == {"Bearer secret"}
    found = document(compared)
    quality = found["quality"]
    assert quality["n"] == 12
    # People and this judge like length alone.
    assert quality["agreement"]["value"] == 1
    assert quality["longer"]["value"] == 1
    assert quality["order"]["consistent"]["value"] == 1
    assert not found["plumbing"]
    assert [one["other"] for one in found["contrasts"]] == ["random", "shortest"]
    assert "agrees with people" in ended.out
    assert max(len(line) for line in ended.out.splitlines()) <= 80
    check_shares(compared, found)


def check_shares(folder: Path, found: dict[str, object]) -> None:
    """What is reported is what the judge's rule says of the answers on file."""
    answers = {
        (record["mixture"], record["seed"]): [text for text, *_ in record["answers"]]
        for record in AnswerLog(folder / "answers.jsonl").records()
    }
    won = [
        len(ours) > len(theirs)
        for seed in (0, 1)
        for ours, theirs in zip(answers["rule", seed], answers["shortest", seed], strict=True)
    ]
    contrast = found["contrasts"][1]
    assert contrast["win"] == pytest.approx(sum(won) / len(won))
    assert contrast["n_failed"] == 0


def test_without_people_it_is_a_test_of_the_plumbing(run, compared):
    with serving(Script()) as script:
        ended = run(*judge_at(script.url, compared))
    assert ended.code == 0, ended.err
    assert ended.out.startswith("a test of the plumbing, not of answers:")
    assert document(compared)["plumbing"]


def test_so_it_is_with_a_judge_who_disagrees_with_people(run, compared, files):
    def shorter(first: str, second: str) -> str:
        return longer(second, first)

    with serving(Script(verdict=shorter)) as script:
        ended = run(*judge_at(script.url, compared, "--human-pairs", files["people"]))
    assert ended.code == 0, ended.err
    found = document(compared)
    assert found["quality"]["agreement"]["value"] == 0
    assert found["plumbing"]
    assert "below 60 % it is no judge" in " ".join(ended.out.split())


def test_a_killed_judging_goes_on(run, compared, monkeypatch):
    append, calls = JudgementLog.append, []

    def dies(self, record):
        calls.append(record)
        if len(calls) == 5:
            raise KeyboardInterrupt
        append(self, record)

    with serving(Script()) as script:
        arguments = judge_at(script.url, compared, "--concurrency", "1")
        monkeypatch.setattr(JudgementLog, "append", dies)
        assert run(*arguments).code == 130
        monkeypatch.setattr(JudgementLog, "append", append)
        kept = len(JudgementLog(compared / "judgements.jsonl").records())
        asked = len(script.bodies)
        assert run(*arguments).code == 0
        records = JudgementLog(compared / "judgements.jsonl").records()
        # What was not on the disk is asked again, nothing else.
        assert len(script.bodies) == asked + len(records) - kept


def test_a_reward_model_judges(run, compared, files, tmp_path):
    reward = save_oasst_reward(tmp_path / "reward")
    ended = run(
        *("judge", str(compared), "--judge-reward", str(reward)),
        *("--human-pairs", files["people"]),
    )
    assert ended.code == 0, ended.err
    found = document(compared)
    assert found["quality"]["order"] is None
    assert found["contrasts"][0]["order"] is None


def test_a_judge_that_the_rows_were_chosen_by_is_refused(run, compared, model, tmp_path):
    """Heads share a model with other columns: what counts is whether the head is the same."""
    rng = np.random.default_rng(0)
    weights = resolve(str(model)).weights
    definitions = {}
    for name in ("one", "other"):
        head = Head("rew", (2,), rng.standard_normal((1, 32)).astype(np.float32), 0.0)
        HeadFile({"rew": head}, str(model), weights, {}).save(tmp_path / f"{name}.safetensors")
        definitions[name] = {"indicator": "head", "weights": weights, "head": head.hash}
    log = compared / "runs.jsonl"
    records = [json.loads(line) for line in log.read_text().splitlines()]
    for record in records:
        record["indicators"] = {"rew": {"definition": definitions["one"]}}
    log.write_text("".join(json.dumps(sealed(record)) + "\n" for record in records))
    own = ("--judge-reward", str(tmp_path / "one.safetensors"))
    ended = run("judge", str(compared), *own, "--limit", "0")
    assert ended.code == 2
    assert "fills column rew, which the comparison chose rows by" in ended.err
    other = ("--judge-reward", str(tmp_path / "other.safetensors"))
    ended = run("judge", str(compared), *other)
    assert ended.code == 0, ended.err
    assert document(compared)["contrasts"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "one judge is wanted"),
        (["--judge-url", "http://127.0.0.1:1/v1"], "belong together"),
        (["--judge-url", "ftp://x", "--judge-model", "m"], "wanted an HTTP address"),
        (["--judge-url", "http://h/v1", "--judge-model", "m", "--reference", "x"], "choose one of"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_one_line(run, compared, arguments, said):
    ended = run("judge", str(compared), *arguments)
    assert ended.code == 2
    assert said in ended.err.strip().splitlines()[-1]


def test_a_comparison_without_answers_is_refused(run, compare, tmp_path):
    plain = list(compare)
    at = plain.index("--answer")
    del plain[at : at + 4]
    assert run(*plain).code == 0
    ended = run(*judge_at("http://h/v1", tmp_path / "out"))
    assert ended.code == 2
    assert "compare with --answer PROMPTS writes them" in ended.err


def test_a_real_server_is_asked(run, compared, model, tmp_path):
    """`transformers serve` with a tiny model, whose replies hold no verdict: all are failures."""
    pytest.importorskip("uvicorn", reason="transformers[serving] is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = [str(Path(sys.executable).with_name("transformers")), "serve", str(model)]
    serve += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    hub = {"HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    (tmp_path / "hub" / "hub").mkdir(parents=True)
    with (tmp_path / "serve.log").open("w") as log:
        server = subprocess.Popen(serve, stdout=log, stderr=log, env={**os.environ, **hub})
    try:
        _wait(f"http://127.0.0.1:{port}/health", server, tmp_path / "serve.log")
        ended = run(
            *("judge", str(compared), "--judge-url", f"http://127.0.0.1:{port}/v1"),
            *("--judge-model", str(model), "--judge-tokens", "8", "--concurrency", "2"),
        )
    finally:
        server.terminate()
        server.wait(20)
    # Nothing is made of replies that say nothing.
    assert ended.code == 2, ended.out
    assert "0 prompts have a verdict" in ended.err
    replies = JudgementLog(compared / "judgements.jsonl").records()
    assert len(replies) > 20
    assert {record["verdict"] for record in replies} == {None}
    assert any(record["reply"] for record in replies)


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            with urlopen(url, timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.3)
    pytest.fail(log.read_text()[-2000:])


def test_a_run_is_logged_after_its_answers(compared):
    """So that a run in the log always has them."""
    runs = [one["run"] for one in RunLog(compared / "runs.jsonl").records()[1:]]
    assert runs == [record["run"] for record in AnswerLog(compared / "answers.jsonl").records()]
