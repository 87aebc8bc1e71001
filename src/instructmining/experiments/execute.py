"""Carry out a plan: tune on each mixture with each seed, measure, log; resumable."""

from __future__ import annotations

import os
import platform
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from instructmining.errors import ExperimentError
from instructmining.examples import Example
from instructmining.experiments.mixtures import Mixture, MixtureRow
from instructmining.experiments.plan import (
    Plan,
    Source,
    evaluation_examples,
    rows_of_sources,
    training_examples,
)
from instructmining.experiments.runs import Log, indicator_summary, remaining, run_id
from instructmining.experiments.tuning.training import Job, Tuned
from instructmining.formats import open_pool
from instructmining.indicators.base import Indicator
from instructmining.models.runtime import is_out_of_memory, release_memory
from instructmining.models.sources import ModelFiles, resolve
from instructmining.scoring.engine import Engine, Progress, Silent
from instructmining.scoring.reference import ReferenceSpec
from instructmining.scoring.rows import Chained
from instructmining.scoring.table import ScoreTable
from instructmining.shard import WHOLE, Shard


class Tuner(Protocol):
    """What tunes a model on a mixture: `finetune.Finetuner`, or `fake.FakeFinetuner`."""

    @property
    def base(self) -> Any:
        """The model before it is tuned."""

    @property
    def together(self) -> int | None:
        """How many runs are tuned side by side."""

    def tuned_together(self, jobs: Sequence[Job]) -> Generator[Tuned, None, None]:
        """Tune on mixtures, several side by side; give the models one after the other."""


#: Identifier of the run that trains nothing.
UNTUNED = "untuned"

#: (model, evaluation set) -> the loss as it stands in a run log.
Measure = Callable[[Any, Sequence[Example]], Mapping[str, Any]]


class RunMaker(ABC):
    """Makes runs of a plan and logs them: `Executor` in this process, `ray.RayExecutor` elsewhere.

    Attributes
    ----------
    plan : Plan
        What to run.
    log : RunLog
        Where finished runs are appended; what is in it is not run again.
    """

    plan: Plan
    log: Log

    def measure_untuned(self) -> dict[str, Any]:
        """Log the base model as it is, the reference every run is read against, unless it is."""
        logged = (record for record in self.log.records() if record["run"] == UNTUNED)
        return next(logged, None) or self._measure_untuned()

    @abstractmethod
    def _measure_untuned(self) -> dict[str, Any]:
        """Measure the base model, log it and return what was logged."""

    @abstractmethod
    def carry_out(self, runs: Sequence[tuple[Mixture, int]]) -> Iterator[dict[str, Any]]:
        """Make runs, each a mixture and a seed, in any order; log and yield each as it is done.

        Parameters
        ----------
        runs : sequence of (Mixture, int)
            Mixtures of rows that are in the plan's mixtures, and training seeds.
        """

    def run(
        self,
        progress: Progress | None = None,
        limit: int | None = None,
        shard: Shard = WHOLE,
    ) -> int:
        """Carry out the remaining runs of a shard, or the first `limit`; return how many.

        Several processes may share one log, each with a shard of its own.
        """
        watch = progress or Silent()
        todo = remaining(self.plan, self.log, shard)
        total = sum(map(shard.holds, range(len(self.plan.runs))))
        mixtures = {mixture.name: mixture for mixture in self.plan.mixtures}
        if todo and shard.index == 1:
            self.measure_untuned()
        watch.start("fine-tuning", total, total - len(todo))
        wanted = [(mixtures[name], seed) for name, seed in todo[:limit]]
        for _ in self.carry_out(wanted):
            watch.advance(1)
        return len(wanted)


@dataclass
class Executor(RunMaker):
    """Runs what a log still lacks of a plan, one run after the other, or adapters side by side.

    Parameters
    ----------
    plan : Plan
        What to run.
    log : Log
        Where finished runs are appended; what is in it is not run again.
    tuner : Tuner
        Tunes the base model.
    measure : callable
        Measures a model's inference loss on an evaluation set.
    scores : ScoreTable
        Indicators of all rows of all mixtures.
    answering : callable, optional
        Given (run, mixture, seed, model) before a run is logged: `answering.Answering`.
    """

    plan: Plan
    log: Log
    tuner: Tuner
    measure: Measure
    scores: ScoreTable
    answering: Callable[[str, str, int, Any], None] | None = None
    _rows: dict[MixtureRow, Example] = field(init=False, repr=False)
    _sets: dict[str, list[Example]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._rows = training_examples(self.plan)
        self._sets = evaluation_examples(self.plan)

    def _measure_untuned(self) -> dict[str, Any]:
        started = time.perf_counter()
        losses = self._measure_all(self.tuner.base)
        record = {
            **self._head(UNTUNED, None, None),
            "n_examples": 0,
            "sources": {},
            "indicators": {},
            "losses": losses,
            "seconds": {"train": 0.0, "evaluate": round(time.perf_counter() - started, 2)},
        }
        self.log.append(record)
        return record

    def carry_out(self, runs: Sequence[tuple[Mixture, int]]) -> Iterator[dict[str, Any]]:
        """Make runs, those of as many steps side by side where the tuner does so.

        What does not fit into memory side by side is made in halves.
        """
        for group in side_by_side(runs, self.tuner.together or 1):
            yield from self._in_halves(group)

    def _in_halves(self, runs: Sequence[tuple[Mixture, int]]) -> Iterator[dict[str, Any]]:
        if len(runs) == 1:
            yield from self._together(runs)
            return
        n_made = 0
        try:
            for record in self._together(runs):
                n_made += 1
                yield record
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Not inside the handler: the exception there keeps what was computed alive.
        if left := runs[n_made:]:
            release_memory()
            half = -(-len(left) // 2)
            yield from self._in_halves(left[:half])
            if rest := left[half:]:
                yield from self._in_halves(rest)

    def _together(self, runs: Sequence[tuple[Mixture, int]]) -> Iterator[dict[str, Any]]:
        jobs = [self._job(mixture, seed) for mixture, seed in runs]
        with closing(self.tuner.tuned_together(jobs)) as tuned:
            for one in tuned:
                yield self._finish(*runs[one.place], one.model, one.seconds)

    def _job(self, mixture: Mixture, seed: int) -> Job:
        examples = [self._rows[row] for row in mixture.rows]
        return Job(examples, seed, mixture.steps_per_epoch, mixture.steps)

    def _finish(self, mixture: Mixture, seed: int, model: Any, training: float) -> dict[str, Any]:
        """Measure a tuned model, let it answer, and log the run."""
        trained = time.perf_counter()
        losses = self._measure_all(model)
        seconds = {"train": training, "evaluate": time.perf_counter() - trained}
        if self.answering is not None:
            self.answering(run_id(mixture.name, seed), mixture.name, seed, model)
        steps = {"steps_per_epoch": mixture.steps_per_epoch, "steps": mixture.steps}
        record = {
            **self._head(run_id(mixture.name, seed), mixture.name, seed),
            **{key: value for key, value in steps.items() if value is not None},
            "n_examples": len(mixture.rows),
            "sources": mixture.counts,
            "indicators": self._indicators(mixture),
            "losses": losses,
            "seconds": {key: round(value, 2) for key, value in seconds.items()},
        }
        self.log.append(record)
        return record

    def _measure_all(self, model: Any) -> dict[str, Any]:
        return {
            wanted.name: {
                "file": Path(wanted.path).name,
                "part": wanted.part,
                **self.measure(model, self._sets[wanted.name]),
            }
            for wanted in self.plan.evaluations
        }

    def _indicators(self, mixture: Mixture) -> dict[str, Any]:
        frame = pl.DataFrame({"example": [row.digest for row in mixture.rows]})
        return indicator_summary(frame, self.scores.definitions, self.scores.frame)

    def _head(self, run: str, mixture: str | None, seed: int | None) -> dict[str, Any]:
        return {
            "run": run,
            "mixture": mixture,
            "seed": seed,
            "plan": self.plan.hash,
            "base_model": dict(self.plan.setting.base_model),
            "training": dict(self.plan.setting.training),
            "versions": {
                name: version(name) for name in ("instructmining", "torch", "transformers", "peft")
            },
            "machine": describe_machine(),
            "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }


def side_by_side(
    runs: Sequence[tuple[Mixture, int]], together: int
) -> list[list[tuple[Mixture, int]]]:
    """Group runs of as many steps, in their order, at most `together` in a group."""
    if together == 1:
        return [[run] for run in runs]
    by_length: dict[tuple[int | None, int | None, int], list[tuple[Mixture, int]]] = {}
    for mixture, seed in runs:
        n_rows = 0 if mixture.steps or mixture.steps_per_epoch else len(mixture.rows)
        length = (mixture.steps, mixture.steps_per_epoch, n_rows)
        by_length.setdefault(length, []).append((mixture, seed))
    return [
        alike[first : first + together]
        for alike in by_length.values()
        for first in range(0, len(alike), together)
    ]


def base_model_files(plan: Plan) -> ModelFiles:
    """Find the base model the plan was drawn for.

    Raises
    ------
    ExperimentError
        If other weights lie there now: the log would name weights that were not tuned.
    ModelError
        If there is no such model.
    """
    wanted = plan.setting.base_model
    files = resolve(wanted["name"])
    if wanted.get("weights") not in (None, files.weights):
        raise ExperimentError(
            f"base model {files.name} has weights {files.weights[:12]}, the plan was drawn for "
            f"{str(wanted['weights'])[:12]}; restore them or draw a new plan"
        )
    return files


def score_mixtures(plan: Plan, engine: Engine, indicators: Sequence[Indicator]) -> ScoreTable:
    """Score every row of the plan's mixtures, neighbours looked for in all its sources.

    Parameters
    ----------
    plan : Plan
        Whose mixtures.
    engine : Engine
        With the store and models to use.
    indicators : sequence of Indicator
        What the run log shall hold, so that rules can be fitted from it.
    """
    rows = chain.from_iterable(mixture.rows for mixture in plan.mixtures)
    return score_rows(plan.sources, rows, engine, indicators)


def score_rows(
    sources: Sequence[Source],
    rows: Iterable[MixtureRow],
    engine: Engine,
    indicators: Sequence[Indicator],
) -> ScoreTable:
    """Score rows of sources, neighbours looked for in all of the sources.

    Parameters
    ----------
    sources : sequence of Source
        Where the rows stand.
    rows : iterable of MixtureRow
        Repetitions are scored once.
    engine, indicators
        As for `score_mixtures`.
    """
    chosen = rows_of_sources(sources, rows).values()
    examples = [replace(example, row=index) for index, example in enumerate(chosen)]
    everything = Chained([open_pool(source.path) for source in sources])
    return engine.score(examples, indicators, reference=ReferenceSpec("sample", everything))


def describe_machine() -> dict[str, Any]:
    """Return what a reader needs to judge times and rounding."""
    import torch

    from instructmining.models.runtime import pick_device, pick_dtype

    cuda = torch.cuda.is_available()
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return {
        "processor": capabilities.get("cpu_name") or platform.machine(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "dtype": str(pick_dtype(pick_device())).removeprefix("torch."),
        "accelerator": torch.cuda.get_device_name() if cuda else None,
    }
