"""How much of a ranked pool to train on: the sizes that may be tried, and the rows of each.

=========  ===================================================================================
curve      runs of size K
=========  ===================================================================================
epochs     the first K rows of the ranking, for the epochs of the setting, as in the paper
steps      the same rows, for one number of optimiser steps whatever K: few rows are gone over
           again and again, many not to the end
random     rows drawn from the whole pool, others for every seed, with as many loss-bearing
           response tokens as the first K of the ranking and in as many steps
=========  ===================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from instructmining.errors import ExperimentError
from instructmining.experiments.contest.choosing import RANDOM, Candidates, nearest, preference
from instructmining.experiments.mixtures import Mixture
from instructmining.experiments.plan import Plan, Setting
from instructmining.experiments.planning import Materials
from instructmining.experiments.splits import FIT, REPORT

Curve = Literal["epochs", "steps", "random"]
Proposer = Literal["sweep", "search", "comparison"]
EPOCHS: Curve = "epochs"
#: Parts of every evaluation file: what is searched on is not what is reported.
SEARCHED, REPORTED = FIT, REPORT


@dataclass(frozen=True)
class Scope:
    """What is tried.

    Parameters
    ----------
    smallest, largest : int
        Rows, both included.
    sizes : int
        Sizes of the sweep, both ends among them.
    trials : int
        Sizes BlendSearch may try; 0 leaves it out.
    seconds : float, optional
        BlendSearch proposes nothing more once its runs took so long.
    tokens : int, optional
        Nor once they were trained on so many loss-bearing tokens.
    steps : int, optional
        Optimiser steps of the curve at fixed steps; by default those of the geometric middle
        of the sizes.
    seed : int
        Of BlendSearch.
    """

    smallest: int
    largest: int
    sizes: int = 6
    trials: int = 12
    seconds: float | None = None
    tokens: int | None = None
    steps: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a scope in which nothing can be found.

        Raises
        ------
        ExperimentError
            If the bounds leave no choice, or the sweep has not both ends.
        """
        if not 1 <= self.smallest < self.largest:
            raise ExperimentError(
                f"sizes from {self.smallest:,} to {self.largest:,} came; give a smallest of at "
                "least 1 row and a larger largest"
            )
        if self.sizes < 2 or self.trials < 0:
            raise ExperimentError(
                f"{self.sizes} sizes and {self.trials} trials came; give at least 2 sizes, both "
                "ends of the sweep, and 0 trials or more"
            )

    @property
    def sweep(self) -> list[int]:
        """Sizes in equal ratios."""
        found = np.geomspace(self.smallest, self.largest, self.sizes).round().astype(int)
        return sorted({int(size) for size in found})


@dataclass(frozen=True)
class Trial:
    """One size of one curve.

    Parameters
    ----------
    curve : {"epochs", "steps", "random"}
        See the module.
    size : int
        Rows of the ranking.
    proposer : {"sweep", "search", "comparison"}
        Who wants to know.
    """

    curve: Curve
    size: int
    proposer: Proposer

    @property
    def name(self) -> str:
        """What its mixtures are called in the log."""
        return f"{self.curve}-{self.size}"


@dataclass(frozen=True)
class Search:
    """A search, settled before anything is trained.

    Parameters
    ----------
    plan : Plan
        Its mixtures are the orders rows are taken in: ``ranked``, and one ``random-sN`` for
        every seed.
    by : str
        The method that ranked.
    scope : Scope
        What is tried; runs stay valid when it changes.
    tokens : mapping of str to ndarray of int64
        Order to loss-bearing tokens of its first 1, 2, ... rows.
    """

    plan: Plan
    by: str
    scope: Scope
    tokens: Mapping[str, np.ndarray]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Training seeds of every trial."""
        return self.plan.setting.seeds

    @property
    def steps(self) -> int:
        """Optimiser steps of the curve at fixed steps."""
        middle = math.sqrt(self.scope.smallest * self.scope.largest)
        epochs = int(self.plan.setting.training.get("epochs", 1))
        return self.scope.steps or epochs * math.ceil(middle / self._batch_size)

    @property
    def most_runs(self) -> int:
        """Runs there will be at most: BlendSearch may propose less, or what the sweep has."""
        n_swept = len(self.scope.sweep)
        return len(self.seeds) * (n_swept + self.scope.trials + 2 * (n_swept + 1))

    def most_rows(self) -> list[int]:
        """Rows of each of these runs in an epoch, BlendSearch's at the geometric middle."""
        sweep, middle = self.scope.sweep, round(math.sqrt(self.scope.smallest * self.scope.largest))
        at_steps = [self.steps * self._batch_size] * (len(sweep) + 1)
        rows = [*sweep, *[middle] * self.scope.trials, *sweep, middle, *at_steps]
        return rows * len(self.seeds)

    def mixture(self, trial: Trial, seed: int) -> Mixture:
        """Return the rows of a trial, and how they are gone over."""
        orders = {mixture.name: mixture for mixture in self.plan.mixtures}
        ranked = replace(
            orders["ranked"], name=trial.name, rows=orders["ranked"].rows[: trial.size]
        )
        if trial.curve == "epochs":
            return ranked
        if trial.curve == "steps":
            return replace(ranked, steps=self.steps)
        own = f"{RANDOM}-s{seed}"
        rows = orders[own].rows[: self._as_long(own, trial.size)]
        steps = min(math.ceil(trial.size / self._batch_size), len(rows))
        return replace(orders[own], name=trial.name, rows=rows, steps_per_epoch=steps)

    def n_tokens(self, trial: Trial) -> int:
        """Loss-bearing tokens of an epoch of a trial, the mean over seeds."""
        if trial.curve != "random":
            return int(self.tokens["ranked"][trial.size - 1])
        orders = [f"{RANDOM}-s{seed}" for seed in self.seeds]
        own = [self.tokens[o][self._as_long(o, trial.size) - 1] for o in orders]
        return round(float(np.mean(own)))

    @property
    def _batch_size(self) -> int:
        return int(self.plan.setting.training["batch_size"])

    def _as_long(self, order: str, size: int) -> int:
        """Count the rows of an order that have the tokens of the first `size` ranked."""
        return nearest(np.diff(self.tokens[order], prepend=0), int(self.tokens["ranked"][size - 1]))


def make_search(
    materials: Materials, candidates: Candidates, by: str, scope: Scope, setting: Setting
) -> Search:
    """Put the pool's rows in order.

    Parameters
    ----------
    materials : Materials
        Of one pool; the evaluation sets are its files' parts `SEARCHED` and `REPORTED`.
    candidates : Candidates
        Its rows.
    by : str
        Method that ranks them, of `choosing`.
    scope : Scope
        What is tried.
    setting : Setting
        Base model, training, seeds.

    Raises
    ------
    ExperimentError
        If the method can take fewer rows than the largest size, or an evaluation set has a
        single prompt.
    """
    for wanted in materials.evaluations:
        if wanted.n < 2:
            raise ExperimentError(
                f"evaluation set {wanted.name}: {wanted.path} has {wanted.n} prompt with a "
                f"reference in part {wanted.part!r}; two or more are wanted"
            )
    ranked = preference(by, candidates, setting.seeds[0], setting.draw_seed)
    if len(ranked) < scope.largest:
        raise ExperimentError(
            f"largest size {scope.largest:,} came, {by} can take {len(ranked):,} rows of the pool; "
            "lower --largest"
        )
    orders = {"ranked": ranked[: scope.largest]}
    wanted_tokens = int(candidates.tokens[orders["ranked"]].sum())
    for seed in setting.seeds:
        drawn = preference(RANDOM, candidates, seed, setting.draw_seed)
        sizes = candidates.tokens[drawn]
        enough = min(int(np.searchsorted(np.cumsum(sizes), wanted_tokens)) + 1, len(drawn))
        orders[f"{RANDOM}-s{seed}"] = drawn[:enough]
    source = materials.sources[0].name
    mixtures = [
        Mixture(name, tuple(candidates.rows[i] for i in order), {source: 1.0}, by)
        for name, order in orders.items()
    ]
    return Search(
        Plan(materials.sources, materials.evaluations, setting, tuple(mixtures)),
        by,
        scope,
        {name: np.cumsum(candidates.tokens[order]) for name, order in orders.items()},
    )
