from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open

from instructmining import api
from instructmining.experiments.runs import RunLog
from instructmining.experiments.tuning import checkpoint, finetune
from instructmining.experiments.tuning.finetune import Finetuner
from instructmining.experiments.tuning.training import Job, TrainingSetting
from models.tiny import save_causal_lm
from plans import plan_of, write_files
from texts import examples_of

COMMON = {"learning_rate": 1e-2, "epochs": 3, "batch_size": 4, "max_tokens": 256}
MIXTURE = examples_of(10, seed=1)
STEPS = 9  # three an epoch
TUNINGS = (
    {"method": "lora"},
    {"method": "lora", "n_layers": 1},
    {"method": "top", "n_layers": 1},
    {"method": "full"},
)


class Stopped(Exception):
    pass


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    monkeypatch.setattr(finetune, "pick_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(finetune, "pick_dtype", lambda device: torch.float32)
    monkeypatch.setattr(checkpoint, "EVERY_S", 0.0)
    monkeypatch.setattr(checkpoint, "MOST_SHARE", 1e9)  # written after every step


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal_lm(tmp_path_factory.mktemp("tiny"))


def tuner_of(folder: Path, unfinished: Path | None, together: int = 1, **changes: Any) -> Finetuner:
    setting = TrainingSetting(**{**COMMON, **changes})
    return Finetuner.by_name(str(folder), setting, together, unfinished)


def trained(tuner: Finetuner, jobs: list[Job]) -> list[dict[str, torch.Tensor]]:
    """What each job ends with."""
    found = []
    with closing(tuner.tuned_together(jobs)) as models:
        for one in models:
            state = one.model.state_dict()
            found.append({name: value.clone() for name, value in state.items()})
    return found


class Steps:
    """How many steps were made; training stops after ``last`` of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made, self.last = 0, -1
        advance = checkpoint.Checkpoint.advance

        def counted(state: checkpoint.Checkpoint) -> None:
            advance(state)
            self.made += 1
            if self.made == self.last:
                raise Stopped

        monkeypatch.setattr(checkpoint.Checkpoint, "advance", counted)

    def again(self, last: int = -1) -> None:
        self.made, self.last = 0, last


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


def assert_equal(found: list[dict[str, torch.Tensor]], wanted: list[dict[str, Any]]) -> None:
    assert len(found) == len(wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("tuning", TUNINGS, ids=str)
@pytest.mark.parametrize("behind", [1, 4, STEPS])
def test_a_run_that_was_stopped_ends_with_the_same_bits(folder, tmp_path, steps, tuning, behind):
    job = [Job(MIXTURE, 3)]
    whole = trained(tuner_of(folder, None, **tuning), job)
    assert steps.made == STEPS
    steps.again(behind)
    kept = tmp_path / "unfinished"
    with pytest.raises(Stopped):
        trained(tuner_of(folder, kept, **tuning), job)
    assert len(list(kept.iterdir())) == 1
    steps.again()
    assert_equal(trained(tuner_of(folder, kept, **tuning), job), whole)
    assert steps.made == STEPS - behind
    assert not kept.exists()


def test_runs_side_by_side_go_on_side_by_side(folder, tmp_path, steps):
    jobs = [Job(MIXTURE, 0), Job(examples_of(10, seed=2), 1)]
    whole = trained(tuner_of(folder, None, together=2), jobs)
    steps.again(5)
    with pytest.raises(Stopped):
        trained(tuner_of(folder, tmp_path / "kept", together=2), jobs)
    steps.again()
    assert_equal(trained(tuner_of(folder, tmp_path / "kept", together=2), jobs), whole)
    assert steps.made == STEPS - 5


def test_another_run_begins_at_its_beginning(folder, tmp_path, steps):
    steps.again(5)
    with pytest.raises(Stopped):
        trained(tuner_of(folder, tmp_path / "kept"), [Job(MIXTURE, 0)])
    others: list[tuple[dict[str, Any], Job, int]] = [
        ({}, Job(MIXTURE, 1), STEPS),
        ({}, Job(MIXTURE[1:], 0), STEPS),
        ({}, Job(MIXTURE, 0, steps=7), 7),
        ({}, Job(MIXTURE, 0, steps_per_epoch=5), 15),
        ({"learning_rate": 1e-3}, Job(MIXTURE, 0), STEPS),
        ({"method": "full"}, Job(MIXTURE, 0), STEPS),
    ]
    for changes, job, expected in others:
        steps.again()
        trained(tuner_of(folder, tmp_path / "kept", **changes), [job])
        assert steps.made == expected, (changes, job.seed)
    assert len(list((tmp_path / "kept").iterdir())) == 1  # the first run's is still there


def test_seconds_of_the_process_that_was_stopped_count(folder, tmp_path, steps, monkeypatch):
    ticking = iter(range(10_000))
    monkeypatch.setattr(checkpoint.time, "perf_counter", lambda: float(next(ticking)))
    whole = next(tuner_of(folder, None).tuned_together([Job(MIXTURE, 0)])).seconds
    steps.again(6)
    kept = tmp_path / "kept"
    with pytest.raises(Stopped):
        trained(tuner_of(folder, kept), [Job(MIXTURE, 0)])
    steps.again()
    with closing(tuner_of(folder, kept).tuned_together([Job(MIXTURE, 0)])) as models:
        assert next(models).seconds > 6 > whole


@pytest.mark.parametrize("damage", ["cut", "other", "empty"])
def test_a_damaged_state_only_costs_time(folder, tmp_path, steps, damage):
    whole = trained(tuner_of(folder, None), [Job(MIXTURE, 0)])
    steps.again(5)
    with pytest.raises(Stopped):
        trained(tuner_of(folder, tmp_path / "kept"), [Job(MIXTURE, 0)])
    (state,) = (tmp_path / "kept").iterdir()
    content = state.read_bytes()
    state.write_bytes({"cut": content[:-500], "other": b"no state at all", "empty": b""}[damage])
    steps.again()
    assert_equal(trained(tuner_of(folder, tmp_path / "kept"), [Job(MIXTURE, 0)]), whole)
    assert steps.made == STEPS


def test_a_state_that_cannot_be_written_does_not_stop_the_training(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    assert trained(tuner_of(folder, tmp_path / "file" / "kept"), [Job(MIXTURE, 0)])

    def full(*_: Any) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    assert trained(tuner_of(folder, tmp_path / "kept"), [Job(MIXTURE, 0)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_large_states_and_short_runs_are_not_written(folder, tmp_path, steps, monkeypatch):
    monkeypatch.setattr(checkpoint, "MOST_BYTES", 10_000)
    steps.again(5)
    with pytest.raises(Stopped):
        trained(tuner_of(folder, tmp_path / "kept"), [Job(MIXTURE, 0)])
    monkeypatch.undo()
    assert not (tmp_path / "kept").exists()
    trained(tuner_of(folder, tmp_path / "kept"), [Job(MIXTURE, 0)])
    assert not (tmp_path / "kept").exists()


#: Runs of four steps each; the process dies in the middle of the second.
MORTAL = """
import os, signal, sys, torch
from instructmining import api
from instructmining.experiments.tuning import checkpoint

torch.set_num_threads(1)
checkpoint.EVERY_S, checkpoint.MOST_SHARE = 0.0, 1e9
advance, made = checkpoint.Checkpoint.advance, []

def mortal(self):
    advance(self)
    made.append(self.steps)
    if len(made) == 6:
        os.kill(os.getpid(), signal.SIGKILL)

checkpoint.Checkpoint.advance = mortal
plan, log, store = sys.argv[1:]
api.prepare_experiment(plan, log, columns=["mtld"], scoring=api.Scoring(store=store)).run()
"""


def test_a_killed_process_loses_no_more_than_a_step(folder, tmp_path, monkeypatch):
    monkeypatch.undo()  # both processes pick the number format of this machine
    plan = tmp_path / "plan.json"
    plan_of(write_files(tmp_path), folder, epochs=4).save(plan)

    def run(log: Path) -> list[dict[str, Any]]:
        scoring = api.Scoring(store=tmp_path / "store")
        api.prepare_experiment(plan, log, columns=["mtld"], scoring=scoring).run()
        return RunLog(log).records()

    whole, log = run(tmp_path / "whole.jsonl"), tmp_path / "runs.jsonl"
    killed = subprocess.run(
        [sys.executable, "-c", MORTAL, str(plan), str(log), str(tmp_path / "store")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [r["run"] for r in RunLog(log).records()] == ["untuned", "m1-s0"]
    (state,) = (tmp_path / "runs.jsonl.unfinished").iterdir()
    assert safe_open(state, framework="pt").metadata()["steps"] == "2"

    steps = Steps(monkeypatch)
    found = run(log)
    assert steps.made == 4 * 6 - 4 - 2
    assert [r["losses"] for r in found] == [r["losses"] for r in whole]
    assert not state.parent.exists()
