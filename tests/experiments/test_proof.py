"""`experiments/proof`: its scripts, and that the committed logs are of the plans they draw."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import REPOSITORY

PROOF = REPOSITORY / "experiments" / "proof"


def bash(*words: str) -> subprocess.CompletedProcess[str]:
    found = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", *words],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": found},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize("name", ["run", "bounds", "size", "judge"])
def test_a_script_without_its_arguments_says_what_it_wants(name):
    ended = bash(str(PROOF / f"{name}.sh"))
    assert ended.returncode != 0
    assert f"usage: {name}.sh DATA" in ended.stderr


def take(logs: Path, out: Path) -> None:
    ended = bash("-c", f'. "{PROOF}/common.sh"; take_runs "{logs}" "{out}"')
    assert ended.returncode == 0, ended.stderr


def test_a_folder_begins_with_the_runs_and_answers_that_lie_there(tmp_path):
    (tmp_path / "pool.runs.jsonl").write_text('{"run": "a"}\n', encoding="utf-8")
    with gzip.open(tmp_path / "pool.answers.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write('{"answers": []}\n')
    take(tmp_path / "pool", tmp_path / "out")
    assert (tmp_path / "out" / "runs.jsonl").read_text(encoding="utf-8") == '{"run": "a"}\n'
    assert (tmp_path / "out" / "answers.jsonl").read_text(encoding="utf-8") == '{"answers": []}\n'


def test_a_folder_that_has_begun_is_left_as_it_is(tmp_path):
    (tmp_path / "pool.runs.jsonl").write_text("new\n", encoding="utf-8")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "runs.jsonl").write_text("own\n", encoding="utf-8")
    take(tmp_path / "pool", tmp_path / "out")
    take(tmp_path / "absent", tmp_path / "other")
    assert (tmp_path / "out" / "runs.jsonl").read_text(encoding="utf-8") == "own\n"
    assert not (tmp_path / "other").exists()


def test_judgements_that_lie_there_are_not_asked_for_again(tmp_path):
    (tmp_path / "out").mkdir()
    words = f'. "{PROOF}/common.sh"; take_judgements "{tmp_path}/pool" "{tmp_path}/out"'
    assert bash("-c", words).returncode == 0
    assert not list((tmp_path / "out").iterdir())
    judged = tmp_path / "out" / "judgements.jsonl"
    for content in ("theirs\n", "later\n"):
        with gzip.open(tmp_path / "pool.judgements.jsonl.gz", "wt", encoding="utf-8") as file:
            file.write(content)
        assert bash("-c", words).returncode == 0
        assert judged.read_text(encoding="utf-8") == "theirs\n"


@pytest.mark.parametrize("pool", ["alpaca", "mixed"])
def test_the_committed_runs_are_of_the_plan_the_script_draws(pool, tmp_path, shared_data):
    ended = bash("-c", f'python experiments/proof/pools.py "{shared_data}" experiments/proof/work')
    assert ended.returncode == 0, ended.stderr
    rule = "small"
    if pool == "alpaca":
        rule = str(tmp_path / "rule.json")
        ended = bash("experiments/rule/without.sh", "alpaca", rule)
        assert ended.returncode == 0, ended.stderr
    words = [str(shared_data), pool, rule, str(tmp_path / "out"), "--limit", "0"]
    ended = bash(str(PROOF / "run.sh"), *words)
    assert ended.returncode == 0, ended.stderr
    plan = json.loads((tmp_path / "out" / "plan.json").read_text(encoding="utf-8"))
    lines = (PROOF / f"{pool}.tokens.runs.jsonl").read_text(encoding="utf-8").splitlines()
    runs = [json.loads(line) for line in lines]
    assert {run["plan"] for run in runs} == {plan["hash"]}
    n_left = 32 - sum(run["mixture"] is not None for run in runs)
    assert f"32 runs, {n_left} of them still to be made" in ended.stderr
