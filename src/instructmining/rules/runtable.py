"""From runs to the table a rule is fitted on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import polars as pl

from instructmining.errors import RuleError
from instructmining.rules.runlog import Run
from instructmining.rules.transforms import Floats, feature_name, require_transform

#: Whether the mean loss counts every token alike, or every example.
Weighting = Literal["token", "example"]
WEIGHTINGS: tuple[str, ...] = get_args(Weighting)


@dataclass(frozen=True)
class RunTable:
    """Runs as numbers, one row per run.

    Parameters
    ----------
    features : tuple of str
        Names of the transformed columns.
    x : ndarray of shape (n_runs, n_columns)
        Means over the run's mixture of the transformed rows.
    y : ndarray of shape (n_runs,)
        Log inference loss, averaged over the evaluation sets.
    mixtures : ndarray of shape (n_runs,), int
        Number of each run's mixture, from 0.
    sources : tuple of str
        Names of the sources any mixture was drawn from, sorted.
    shares : ndarray of shape (n_runs, n_sources)
        Share of each source in the run's mixture, from 0 to 1.
    names : tuple of str
        Name of each mixture, by number; two plans may use one name for different mixtures.
    """

    features: tuple[str, ...]
    x: Floats
    y: Floats
    mixtures: np.ndarray
    sources: tuple[str, ...]
    shares: Floats
    names: tuple[str, ...]

    @property
    def n_mixtures(self) -> int:
        """Distinct mixtures."""
        return int(self.mixtures.max()) + 1

    @property
    def n_seeds(self) -> np.ndarray:
        """Runs of each mixture, by number, shape (n_mixtures,)."""
        return np.bincount(self.mixtures)

    @property
    def share_names(self) -> tuple[str, ...]:
        """What `frame` calls the share of each source, such as ``share(alpaca)``."""
        return tuple(f"share({source})" for source in self.sources)

    def frame(self) -> pl.DataFrame:
        """Give features and shares as a table with names, one row per run."""
        names = [*self.features, *self.share_names]
        return pl.DataFrame(np.column_stack([self.x, self.shares]), schema=names)

    def means(self, values: Floats) -> Floats:
        """Average values of runs over each mixture's seeds, mixtures in order of number."""
        groups = [values[self.mixtures == mixture] for mixture in range(self.n_mixtures)]
        return np.array([group.mean(axis=0) for group in groups])


def run_table(
    runs: Sequence[Run],
    evaluation: Sequence[str],
    columns: Mapping[str, str],
    weighting: Weighting,
) -> RunTable:
    """Collect features and log losses of runs.

    Parameters
    ----------
    runs : sequence of Run
        Runs with a mixture.
    evaluation : sequence of str
        Evaluation sets whose log losses are averaged.
    columns : mapping of column to transform
        The features, in order.
    weighting : {"token", "example"}
        Which mean loss.

    Raises
    ------
    RuleError
        If a run lacks a column, a transform or a loss, or has none that is finite, or its
        sources are not counted.
    """
    for transform in columns.values():
        require_transform(transform)
    if weighting not in WEIGHTINGS:
        raise RuleError(f"weighting {weighting!r} is unknown; choose {' or '.join(WEIGHTINGS)}")
    x = [[_feature(run, name, kind) for name, kind in columns.items()] for run in runs]
    sources, shares = _shares(runs)
    mixtures = _mixture_numbers(runs)
    return RunTable(
        features=tuple(feature_name(*item) for item in columns.items()),
        x=np.array(x, dtype=np.float64).reshape(len(runs), len(columns)),
        y=np.array([log_loss(run, evaluation, weighting) for run in runs], dtype=np.float64),
        mixtures=mixtures,
        sources=sources,
        shares=shares,
        names=tuple(runs[i]["mixture"] for i in np.unique(mixtures, return_index=True)[1]),
    )


def log_loss(run: Run, evaluation: Sequence[str], weighting: Weighting) -> float:
    """Average the log of the mean loss (nats per token) over evaluation sets.

    Raises
    ------
    RuleError
        If the run has no positive loss on one of them.
    """
    total = 0.0
    for name in evaluation:
        if name not in run["losses"]:
            raise RuleError(
                f"run {run['run']} has no loss on {name}, it has {', '.join(run['losses'])}; "
                "choose with --evaluation among those that all runs have"
            )
        loss = run["losses"][name].get(f"{weighting}_mean")
        if not _is_number(loss) or loss <= 0:
            raise RuleError(
                f"run {run['run']}: {weighting}_mean on {name} is {loss!r}, a positive number "
                "was wanted; leave the run out or repeat it"
            )
        total += math.log(loss)
    return total / len(evaluation)


def _feature(run: Run, column: str, transform: str) -> float:
    if column not in run["indicators"]:
        raise RuleError(
            f"run {run['run']} has no column {column}, it has {', '.join(run['indicators'])}; "
            "choose with --column among those"
        )
    mean = run["indicators"][column].get("means", {}).get(transform)
    if not _is_number(mean):
        raise RuleError(
            f"run {run['run']}: mean of {feature_name(column, transform)} is {mean!r}, a number "
            "was wanted; choose another transform, or score the mixture's rows again"
        )
    return float(mean)


def _shares(runs: Sequence[Run]) -> tuple[tuple[str, ...], Floats]:
    """Names of the sources, and the share of each in every run's mixture."""
    counts = [run.get("sources") or {} for run in runs]
    for run, found in zip(runs, counts, strict=True):
        if run["n_examples"] <= 0 or not all(_is_number(count) for count in found.values()):
            raise RuleError(
                f"run {run['run']}: {run['n_examples']} examples of sources {found!r} came, a "
                "number of rows per source was wanted; leave the run out or repeat it"
            )
    names = tuple(sorted({name for found in counts for name in found}))
    shares = [
        [found.get(name, 0) / run["n_examples"] for name in names]
        for run, found in zip(runs, counts, strict=True)
    ]
    return names, np.array(shares, dtype=np.float64).reshape(len(runs), len(names))


def _mixture_numbers(runs: Sequence[Run]) -> np.ndarray:
    """Give each run the number of its mixture.

    One name in two plans is one mixture only if its rows, and so its means, are the same. Taken
    for two, one would stay in the fit while the other is left out; different mixtures taken for
    one would have their means blurred.
    """
    plans: dict[str, dict[Any, Any]] = {}
    for run in runs:
        means = {name: column.get("means") for name, column in run["indicators"].items()}
        plans.setdefault(run["mixture"], {}).setdefault(run.get("plan"), means)
    numbers: dict[tuple[str, Any], int] = {}
    labels = []
    for run in runs:
        versions = list(plans[run["mixture"]].values())
        same = all(version == versions[0] for version in versions)
        key = (run["mixture"], None if same else run.get("plan"))
        labels.append(numbers.setdefault(key, len(numbers)))
    return np.array(labels, dtype=np.int64)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
