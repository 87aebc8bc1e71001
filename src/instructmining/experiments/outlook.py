"""What runs still to be made will cost and how noisy they will be, from runs that were made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instructmining.errors import ExperimentError
from instructmining.rules.diagnose import noise
from instructmining.rules.runlog import evaluation_names, read_runs, run_table, tuned


@dataclass(frozen=True)
class Outlook:
    """What one run is expected to be.

    Parameters
    ----------
    noise : float or None
        Standard deviation of the log loss between training seeds; None without a mixture of
        two runs.
    seconds : float
        Time of one run, training and measuring.
    n_runs : int
        Runs this was read from.
    """

    noise: float | None
    seconds: float
    n_runs: int


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
        float(np.mean(seconds)),
        len(runs),
    )
