"""The run log: one line per fine-tuning run, complete enough to refit without the models.

The log is a journal of numbers and names, never of the data's text.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from instructmining.errors import ExperimentError
from instructmining.experiments.plan import Plan
from instructmining.journal import Journal
from instructmining.rules.transforms import TRANSFORMS, apply_transform
from instructmining.shard import WHOLE, Shard

#: Without these a line cannot be told apart from other runs or refitted.
REQUIRED = ("run", "mixture", "seed", "plan", "sources", "indicators", "losses")
_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


def run_id(mixture: str, seed: int) -> str:
    """Name of the run on `mixture` with training seed `seed`, such as ``"m01-s0"``."""
    return f"{mixture}-s{seed}"


class Log(Protocol):
    """Where runs are noted: a `RunLog`, or what stands in for one in a worker."""

    @property
    def path(self) -> Path:
        """The file, for messages."""

    def records(self) -> list[dict[str, Any]]:
        """Return the lines, the earliest first."""

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a line."""


class RunLog(Journal):
    """An append-only log of runs; see `Journal`."""

    name = "run log"
    entry = key = "run"
    required = REQUIRED


def remaining(plan: Plan, log: Log, shard: Shard = WHOLE) -> list[tuple[str, int]]:
    """List the runs of `plan` that `log` does not hold, as (mixture, seed), in running order.

    Shards divide the whole plan, not what is left of it, so processes started at different
    times never meet.

    Raises
    ------
    ExperimentError
        If the log holds runs of another plan: they must not enter one regression.
    """
    finished = set()
    for record in log.records():
        if record["plan"] != plan.hash:
            raise ExperimentError(
                f"{log.path}: holds run {record['run']} of plan {str(record['plan'])[:12]}, not "
                f"of plan {plan.hash[:12]}; runs of two plans do not mix, choose another log"
            )
        finished.add((record["mixture"], record["seed"]))
    return [run for i, run in enumerate(plan.runs) if run not in finished and shard.holds(i)]


def indicator_summary(
    frame: pl.DataFrame, definitions: Mapping[str, Mapping[str, Any]], pool_frame: pl.DataFrame
) -> dict[str, dict[str, Any]]:
    """Summarise the indicators of one mixture for its line in the log.

    Parameters
    ----------
    frame : polars.DataFrame
        The mixture's rows; only ``example`` (content hash) is read.
    definitions : mapping
        Indicator column to its definition; the columns summarised.
    pool_frame : polars.DataFrame
        Scores of all rows mixtures are drawn from: ``example`` and the indicator columns.
        Clipping bounds are taken here, so that every mixture and every later selection
        speaks of the same transform.

    Returns
    -------
    dict
        Per column: ``definition``; ``n`` rows; ``n_null`` of them without a value;
        ``means``, transform to mean over the rows with a value (null if there is none, or
        if the transform is undefined for one); ``quantiles`` of the raw values at 0, 1/4,
        1/2, 3/4 and 1 (null likewise).

    Raises
    ------
    ExperimentError
        If a row or a column is missing in `pool_frame`.
    """
    absent = [name for name in ("example", *definitions) if name not in pool_frame.columns]
    if absent:
        raise ExperimentError(
            f"scores of the pool lack {', '.join(absent)}; score the sources with these columns"
        )
    positions = _positions(frame, pool_frame)
    summary: dict[str, dict[str, Any]] = {}
    for name, definition in definitions.items():
        # `cast` first: `to_numpy` turns nulls into NaN only in a float column.
        pool = pool_frame[name].cast(pl.Float64).to_numpy()
        values = pool[positions]
        known = np.isfinite(values)
        summary[name] = {
            "definition": dict(definition),
            "n": len(values),
            "n_null": int((~known).sum()),
            "means": {
                transform: _mean(apply_transform(transform, pool)[positions][known])
                for transform in TRANSFORMS
            },
            "quantiles": _quantiles(values[known]),
        }
    return summary


def _positions(frame: pl.DataFrame, pool_frame: pl.DataFrame) -> np.ndarray[Any, Any]:
    where = {example: position for position, example in enumerate(pool_frame["example"])}
    missing = [example for example in frame["example"] if example not in where]
    if missing:
        raise ExperimentError(
            f"{len(missing)} of {frame.height} rows of the mixture are not among the scores of "
            f"the pool (first: {missing[0]}); score the sources the plan names"
        )
    return np.array([where[example] for example in frame["example"]], dtype=np.int64)


def _mean(values: np.ndarray[Any, Any]) -> float | None:
    mean = float(np.mean(values)) if values.size else float("nan")
    return mean if np.isfinite(mean) else None


def _quantiles(values: np.ndarray[Any, Any]) -> list[float] | None:
    return [float(q) for q in np.quantile(values, _QUANTILES)] if values.size else None
