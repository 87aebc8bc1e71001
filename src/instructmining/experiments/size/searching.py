"""How much of a ranked pool to train on: sizes tried one after another, each from the last.

Sizes at a fixed number of epochs are proposed twice, by a plain geometric sweep and by
BlendSearch, neither of which knows what the other found. The other two curves (`scope`) are then
measured at the sweep's sizes and at the best one.

Every run goes to a log. A search that was cut short asks BlendSearch again from the beginning
and answers from the log, so it goes on as if nothing had happened; budgets count what is in
the log as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from instructmining.evaluation.sizes import RelativeLosses, relative_losses
from instructmining.experiments.execute import RunMaker
from instructmining.experiments.runs import RunLog
from instructmining.experiments.size.blend import SizeSearch
from instructmining.experiments.size.scope import EPOCHS, SEARCHED, Search, Trial
from instructmining.scoring.engine import Progress, Silent

#: A line of a run log.
Record = Mapping[str, Any]


class Results:
    """Losses of the runs made so far.

    Parameters
    ----------
    search : Search
        Whose runs.
    records : iterable of mapping
        Lines of its run log.
    """

    def __init__(self, search: Search, records: Iterable[Record]) -> None:
        self._search = search
        self._runs = {(record["mixture"], record["seed"]): record for record in records}

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, record: Record) -> None:
        """Take in a run made since."""
        self._runs[record["mixture"], record["seed"]] = record

    def missing(self, trial: Trial) -> list[int]:
        """Seeds a trial was not made with."""
        return [seed for seed in self._search.seeds if (trial.name, seed) not in self._runs]

    def seconds(self, trial: Trial) -> float:
        """Time its runs took."""
        runs = (self._runs[trial.name, seed] for seed in self._search.seeds)
        return float(sum(sum(run["seconds"].values()) for run in runs))

    def untuned(self, part: str) -> RelativeLosses:
        """Losses of the untuned model on a part of every evaluation file: 1 in all."""
        return self._relative([(None, None)], part)

    def losses(self, trial: Trial, part: str) -> RelativeLosses:
        """Losses of a trial on a part of every evaluation file."""
        return self._relative(self._keys(trial), part)

    def tables(self, trial: Trial, evaluation: str) -> tuple[np.ndarray, np.ndarray]:
        """Losses by seed and prompt in nats, and tokens by prompt, on one evaluation set."""
        return self._tables(self._keys(trial), evaluation)

    def _keys(self, trial: Trial) -> list[tuple[str | None, int | None]]:
        return [(trial.name, seed) for seed in self._search.seeds]

    def _tables(
        self, keys: Sequence[tuple[str | None, int | None]], evaluation: str
    ) -> tuple[np.ndarray, np.ndarray]:
        pairs = np.array([self._runs[key]["losses"][evaluation]["per_example"] for key in keys])
        return pairs[..., 0], pairs[0, :, 1]

    def _relative(self, keys: Sequence[tuple[str | None, int | None]], part: str) -> RelativeLosses:
        names = [one.name for one in self._search.plan.evaluations if one.part == part]
        tuned = [self._tables(keys, name) for name in names]
        untuned = [self._tables([(None, None)], name)[0][0] for name in names]
        return relative_losses([nll for nll, _ in tuned], untuned, [n for _, n in tuned])


def carry_out(
    search: Search,
    log: RunLog,
    load: Callable[[], RunMaker],
    progress: Progress | None = None,
    limit: int | None = None,
) -> bool:
    """Make the runs a search still lacks, or the first `limit`; return whether none is left.

    Parameters
    ----------
    search : Search
        What is tried.
    log : RunLog
        Where finished runs are appended; what is in it is not run again.
    load : callable
        Gives who makes runs of the search's plan and log; called if there is a run to make.
    progress : Progress, optional
        Told about every run.
    limit : int, optional
        Stop after so many.
    """
    watch = progress or Silent()
    results = Results(search, log.records())
    watch.start("fine-tuning", search.most_runs, max(len(results) - 1, 0))
    maker: RunMaker | None = None
    left = math.inf if limit is None else limit
    for trial in trials(search, results):
        missing = results.missing(trial)
        if not missing:
            continue
        if left and maker is None:
            maker = load()
            results.add(maker.measure_untuned())
        now = missing[: int(min(left, len(missing)))]
        if maker is not None:
            for record in maker.carry_out([(search.mixture(trial, seed), seed) for seed in now]):
                results.add(record)
                watch.advance(1)
        left -= len(now)
        if len(now) < len(missing):
            return False
    return True


def trials(search: Search, results: Results) -> Iterator[Trial]:
    """Say what to try, one trial after another; each must be made before the next is asked for.

    Parameters
    ----------
    search : Search
        What is tried.
    results : Results
        Told about every run in between; BlendSearch goes by what it says.
    """
    tried: dict[int, float] = {}
    swept = [Trial(EPOCHS, size, "sweep") for size in search.scope.sweep]
    for trial in chain(swept, _proposed(search, results)):
        yield trial
        tried[trial.size] = results.losses(trial, SEARCHED).mean
    best = min(sorted(tried), key=lambda size: tried[size])
    for size in sorted({*search.scope.sweep, best}):
        yield Trial("steps", size, "comparison")
        yield Trial("random", size, "comparison")


def _proposed(search: Search, results: Results) -> Iterator[Trial]:
    scope = search.scope
    if not scope.trials:
        return
    blend = SizeSearch(scope.smallest, scope.largest, scope.seed)
    seconds, tokens = 0.0, 0
    epochs = int(search.plan.setting.training.get("epochs", 1))
    for _ in range(scope.trials):
        size = blend.ask()
        if size is None:
            return
        trial = Trial(EPOCHS, size, "search")
        yield trial
        cost = search.n_tokens(trial) * epochs * len(search.seeds)
        blend.tell(size, math.log(results.losses(trial, SEARCHED).mean), cost)
        seconds, tokens = seconds + results.seconds(trial), tokens + cost
        if seconds >= _bound(scope.seconds) or tokens >= _bound(scope.tokens):
            return


def _bound(budget: float | None) -> float:
    return math.inf if budget is None else budget
