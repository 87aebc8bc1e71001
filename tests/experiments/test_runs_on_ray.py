"""Runs made by the workers of a Ray cluster are those one process makes; a death costs one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from instructmining import api
from instructmining.cluster import Resources
from instructmining.errors import ExperimentError
from instructmining.examples import Example
from instructmining.experiments.execute import Executor
from instructmining.experiments.plan import Plan
from instructmining.experiments.ray import RayExecutor
from instructmining.experiments.runs import Log, RunLog
from instructmining.experiments.tuning.training import Job, Tuned
from instructmining.scoring.table import ScoreTable
from models.tiny import save_causal_lm
from plans import plan_of, write_files

pytestmark = pytest.mark.usefixtures("ray_cluster")

PARTS = (("whole", "all"),)


@dataclass
class MortalTuner:
    """Its loss is the seed; it notes every run, and kills its process in a fatal one."""

    folder: Path
    fatal: int = -1
    deaths: int = 0

    base = 0.0
    together = 1

    def tuned_together(self, jobs: Sequence[Job]) -> Generator[Tuned, None, None]:
        for place, job in enumerate(jobs):
            with (self.folder / "made").open("a") as made:
                made.write(f"{job.examples[0].source or len(job.examples)}-{job.seed}\n")
            if job.seed == self.fatal and self._dies():
                os.kill(os.getpid(), signal.SIGKILL)
            if job.seed == 99:
                raise ExperimentError("this seed does not grow")
            yield Tuned(place, float(job.seed), 0.0)

    def _dies(self) -> bool:
        with (self.folder / "deaths").open("a+") as died:
            died.write("x")
            return died.tell() <= self.deaths


def measure(model: float, examples: Sequence[Example]) -> dict[str, Any]:
    return {"token_mean": model, "worker": os.getpid()}


def load(log: Log, *, plan: Plan, tuner: MortalTuner, scores: ScoreTable) -> Executor:
    return Executor(plan, log, tuner, measure, scores)


@pytest.fixture(scope="module", autouse=True)
def _carried_to_workers():
    # A test file is no module they could import.
    pickle = pytest.importorskip("ray.cloudpickle")
    pickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def files(tmp_path) -> dict[str, str]:
    return write_files(tmp_path)


@pytest.fixture
def mortal(files, tmp_path):
    """Makes an executor on two workers whose tuner may die."""
    model = save_causal_lm(tmp_path / "tiny")
    pool = [row for name in ("few", "many") for row in api.load_examples(files[name])]
    scores = api.score(pool, ["mtld"], scoring=api.Scoring(store=tmp_path / "store"))

    def make(seeds: tuple[int, ...], together: int = 1, **tuner: int) -> RayExecutor:
        plan = plan_of(files, model, seeds=seeds, parts=PARTS)
        given = {"plan": plan, "tuner": MortalTuner(tmp_path, **tuner), "scores": scores}
        log = RunLog(tmp_path / "runs.jsonl")
        return RayExecutor(plan, log, partial(load, **given), Resources.share(2), together)

    return make


def logged(folder: Path) -> dict[str, dict[str, Any]]:
    return {record["run"]: record for record in RunLog(folder / "runs.jsonl").records()}


def test_every_run_is_made_once_by_two_workers(mortal, tmp_path):
    executor = mortal((0, 1))
    assert executor.run(limit=2) == 2
    assert executor.run() == 4

    runs = logged(tmp_path)
    assert len(runs) == 7
    assert runs["m2-s1"]["losses"]["whole"]["token_mean"] == 1
    assert len({run["losses"]["whole"]["worker"] for run in runs.values()}) == 2
    assert len((tmp_path / "made").read_text().splitlines()) == 6
    assert executor.run() == 0


def test_a_worker_that_dies_costs_its_run(mortal, tmp_path):
    assert mortal((0, 1), fatal=1, deaths=2).run() == 6

    assert len(logged(tmp_path)) == 7
    made = (tmp_path / "made").read_text().splitlines()
    assert 8 <= len(made) <= 10


def test_a_run_that_kills_every_worker_is_named_and_the_others_stay(mortal, tmp_path):
    with pytest.raises(Exception, match=r"^run m\d-s1: killed 3 workers"):
        mortal((0, 1), fatal=1, deaths=99).run()
    before = len(logged(tmp_path))
    assert 1 <= before < 7
    assert mortal((0, 1)).run() == 7 - before


def test_what_a_run_says_comes_through(mortal):
    with pytest.raises(ExperimentError, match=r"^this seed does not grow$"):
        mortal((99,)).run()


def test_the_command_line_makes_the_runs_of_one_process(files, tmp_path, one_thread):
    from typer.testing import CliRunner

    from instructmining.cli.main import app

    model = save_causal_lm(tmp_path / "tiny")
    plan_of(files, model, parts=PARTS).save(tmp_path / "plan.json")
    losses = []
    for name, options in (("here", []), ("there", ["--engine", "ray", "--workers", "2"])):
        arguments = [
            *("experiment", "run", str(tmp_path / "plan.json"), "-o", str(tmp_path / name)),
            *("--indicators", "mtld", "--store", str(tmp_path / "store"), *options),
        ]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        runs = {record["run"]: record for record in RunLog(tmp_path / name).records()}
        losses.append({run: line["losses"]["whole"]["token_mean"] for run, line in runs.items()})
    here, there = losses
    assert len(here) == 7
    assert there == pytest.approx(here, rel=1e-5)
