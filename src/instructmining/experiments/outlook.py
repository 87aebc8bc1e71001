"""What runs still to be made will cost and how noisy they will be, from runs that were made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instructmining.errors import ExperimentError
from instructmining.rules.diagnose import noise
from instructmining.rules.runlog import Run, evaluation_names, read_runs, tuned
from instructmining.rules.runtable import run_table


@dataclass(frozen=True)
class Outlook:
    """What one run is expected to be.

    Parameters
    ----------
    noise : float or None
        Standard deviation of the log loss between training seeds; None without a mixture of
        two runs.
    seconds : float
        Median time of one run, training and measuring: a machine that was put to sleep, or had
        other work, made some runs many times as long.
    n_runs : int
        Runs this was read from.
    row_seconds : float or None
        Median time of training on one row in one epoch; None where the log does not tell.
    evaluate_seconds : float
        Median time of measuring one run.
    """

    noise: float | None
    seconds: float
    n_runs: int
    row_seconds: float | None = None
    evaluate_seconds: float = 0.0

    def of_rows(self, n: int, epochs: int) -> float:
        """Expect the time of a run on `n` rows, as long as those of the runs that were made."""
        if self.row_seconds is None:
            return self.seconds
        return n * epochs * self.row_seconds + self.evaluate_seconds


def outlook(logs: Sequence[Path]) -> Outlook:
    """Read run logs of the setting that is planned.

    Parameters
    ----------
    logs : sequence of Path
        Logs `instructmining experiment run` wrote.

    Raises
    ------
    ExperimentError
        If no tuned run with its time is in them.
    RuleError
        If they cannot be read.
    """
    runs = tuned(read_runs(logs))
    seconds = [sum(run["seconds"].values()) for run in runs if run.get("seconds")]
    names = evaluation_names(runs)
    if not (seconds and names):
        raise ExperimentError(
            f"{', '.join(map(str, logs))}: {len(runs)} tuned runs with {len(names)} evaluation "
            f"sets in common, {len(seconds)} with their time; at least one of each is wanted"
        )
    between_seeds = noise(run_table(runs, names, {}, "token")).seeds
    return Outlook(
        None if between_seeds is None else math.sqrt(between_seeds),
        float(np.median(seconds)),
        len(runs),
        *_by_row(runs),
    )


def _by_row(runs: Sequence[Run]) -> tuple[float | None, float]:
    """Tell training on a row from measuring, in the runs that do."""
    timed = [run for run in runs if run.get("seconds", {}).keys() >= {"train", "evaluate"}]
    passes = [run["n_examples"] * run["training"].get("epochs", 1) for run in timed]
    by_row = [run["seconds"]["train"] / n for run, n in zip(timed, passes, strict=True) if n]
    if not by_row:
        return None, 0.0
    evaluate = [run["seconds"]["evaluate"] for run in timed]
    return float(np.median(by_row)), float(np.median(evaluate))
