"""Runs as calls of actors in a Ray cluster, each with a base model of its own.

What an actor makes comes back and is logged here, so that one process writes the log. A
worker that dies costs the runs it was at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from instructmining.cluster import Actors, Resources
from instructmining.experiments.execute import Executor, RunMaker, side_by_side
from instructmining.experiments.mixtures import Mixture
from instructmining.experiments.plan import Plan
from instructmining.experiments.runs import Log

#: Makes the executor of an actor, given where that shall note its runs.
Load = Callable[[Log], Executor]


@dataclass
class _Kept:
    """A log in memory."""

    path: Path = Path("log of a worker")
    lines: list[dict[str, Any]] = field(default_factory=list)

    def records(self) -> list[dict[str, Any]]:
        return self.lines

    def append(self, record: Mapping[str, Any]) -> None:
        self.lines.append(dict(record))


class _Maker:
    """An executor in an actor of its own."""

    def __init__(self, load: Load) -> None:
        self._load = load

    # Not made by the constructor: what that raises reaches nobody as it was.
    @cached_property
    def _executor(self) -> Executor:
        return self._load(_Kept())

    def make(self, runs: Sequence[tuple[Mixture, int]]) -> list[dict[str, Any]]:
        """Make runs, or measure the untuned model where there are none."""
        if not runs:
            return [self._executor.measure_untuned()]
        return list(self._executor.carry_out(runs))


class RayExecutor(RunMaker):
    """Makes the runs of a plan on a Ray cluster.

    Parameters
    ----------
    plan : Plan
        What to run; the files it names must be there for every worker.
    log : Log
        Where finished runs are appended.
    load : callable
        Makes an executor of the plan in a worker, given its log.
    resources : Resources
        How many workers, and what each holds.
    together : int
        Runs given to a worker at a time, which it trains side by side.
    """

    def __init__(
        self, plan: Plan, log: Log, load: Load, resources: Resources, together: int
    ) -> None:
        self.plan, self.log = plan, log
        self._workers, self._together = resources.workers, together
        self._actors = Actors(_Maker, (load,), resources)

    def _measure_untuned(self) -> dict[str, Any]:
        return next(self._made([[]]))

    def carry_out(self, runs: Sequence[tuple[Mixture, int]]) -> Iterator[dict[str, Any]]:
        """Make runs, as many workers at them as there are; those done first come first."""
        # Rather fewer side by side than a worker without any.
        share = -(-len(runs) // self._workers)
        yield from self._made(side_by_side(runs, max(1, min(self._together, share))))

    def _made(self, groups: Sequence[Sequence[tuple[Mixture, int]]]) -> Iterator[dict[str, Any]]:
        for records in self._actors.map("make", groups, _named, ordered=False):
            for record in records:
                self.log.append(record)
                yield record


def _named(runs: Sequence[tuple[Mixture, int]]) -> str:
    return ", ".join(f"run {mixture.name}-s{seed}" for mixture, seed in runs) or "untuned model"
