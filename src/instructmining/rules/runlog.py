"""From a run log to the table a rule is fitted on."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import polars as pl

from instructmining.errors import RuleError
from instructmining.journal import SEAL, is_intact
from instructmining.rules.transforms import Floats, feature_name, require_transform

#: One line of a run log.
Run = Mapping[str, Any]

#: Whether the mean loss counts every token alike, or every example.
Weighting = Literal["token", "example"]
WEIGHTINGS: tuple[str, ...] = get_args(Weighting)

#: What must be equal for two losses to be losses on the same evaluation set.
_EVALUATION_KEYS = ("file", "part", "sha256", "n_examples", "n_tokens")

_NEEDED: dict[str, type | tuple[type, ...]] = {
    "run": str,
    "mixture": (str, type(None)),
    "seed": (int, type(None)),
    "n_examples": int,
    "indicators": dict,
    "base_model": dict,
    "training": (dict, type(None)),
    "losses": dict,
}


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


def read_runs(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Read run logs, one JSON object per line.

    Parameters
    ----------
    paths : sequence of Path
        Logs; their runs are put together in the order given.

    Raises
    ------
    RuleError
        If a file cannot be read, a line is not a run or was changed after it was written, or
        a run of one plan occurs twice.
    """
    runs: list[dict[str, Any]] = []
    seen: dict[tuple[Any, str], str] = {}
    for path in paths:
        for where, line in _lines(Path(path)):
            run = _parse(line, where)
            key = (run.get("plan"), run["run"])
            if key in seen:
                raise RuleError(
                    f"{where}: run {run['run']} came before, at {seen[key]}; give each run once"
                )
            seen[key] = where
            runs.append(run)
    return runs


def tuned(runs: Sequence[Run]) -> list[Run]:
    """Leave out the runs of the untuned base model, which have no mixture."""
    return [run for run in runs if run["mixture"] is not None]


def without_sources(runs: Sequence[Run], sources: Collection[str]) -> list[Run]:
    """Leave out the runs on mixtures that hold a row of any of some sources.

    What is fitted on the others has never seen these sources.

    Parameters
    ----------
    runs : sequence of Run
        As `read_runs` gives them.
    sources : collection of str
        Names of sources.

    Raises
    ------
    RuleError
        If no run holds a row of one of them, or every mixture holds one.
    """
    known = {name for run in tuned(runs) for name in run.get("sources") or {}}
    for name in sources:
        if name not in known:
            raise RuleError(
                f"source {name!r} is in no mixture of these runs, which hold "
                f"{', '.join(sorted(known)) or 'none'}; name one of those"
            )
    kept = [run for run in runs if not any((run.get("sources") or {}).get(n) for n in sources)]
    if sources and not tuned(kept):
        raise RuleError(
            f"every mixture holds rows of {', '.join(sources)}; run mixtures without, or leave "
            "out fewer sources"
        )
    return kept


def evaluation_names(runs: Sequence[Run]) -> tuple[str, ...]:
    """List the evaluation sets all tuned runs were measured on, in the order of the log."""
    names = list(dict.fromkeys(name for run in tuned(runs) for name in run["losses"]))
    return tuple(name for name in names if all(name in run["losses"] for run in tuned(runs)))


def parse_columns(texts: Sequence[str]) -> dict[str, str]:
    """Read columns written as ``nll`` or ``nll=clip`` into column and transform.

    Raises
    ------
    RuleError
        If a transform is unknown or a column is named twice.
    """
    columns: dict[str, str] = {}
    for text in texts:
        name, equals, transform = text.partition("=")
        if not name or name in columns:
            raise RuleError(f"column {text!r} is empty or came before; name each column once")
        columns[name] = transform if equals else "identity"
        require_transform(columns[name])
    return columns


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


def same_base_model(one: Run, other: Run) -> bool:
    """Whether two runs started from the same weights, however they are named."""
    return _base_model(one) == _base_model(other)


def require_one_setting(
    runs: Sequence[Run], evaluation: Sequence[str], columns: Sequence[str]
) -> None:
    """Refuse runs that must not enter one regression.

    Raises
    ------
    RuleError
        If two runs differ in base model, training, definition of a column or evaluation set;
        the message names what differs.
    """
    first = _setting(runs[0], evaluation, columns)
    for run in runs[1:]:
        difference = _difference(first, _setting(run, evaluation, columns))
        if difference is not None:
            where, one, other = difference
            raise RuleError(
                f"runs {runs[0]['run']} and {run['run']} differ in {where}: {one!r} and "
                f"{other!r}; fit runs of one setting, each setting by itself"
            )


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RuleError(f"{path}: cannot be read ({error}); a run log was wanted") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{path}, line {number}", line


def _parse(line: str, where: str) -> dict[str, Any]:
    try:
        run = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RuleError(f"{where}: not JSON ({error}); one run per line was wanted") from error
    if not isinstance(run, dict):
        raise RuleError(f"{where}: {type(run).__name__} came, a run as JSON object was wanted")
    for key, kind in _NEEDED.items():
        if key not in run or not isinstance(run[key], kind):
            raise RuleError(
                f"{where}: {key} is {run.get(key, 'missing')!r}; write the log with "
                "`instructmining experiment run`"
            )
    if not is_intact(run):
        raise RuleError(
            f"{where}: was changed after it was written (its {SEAL} does not fit); restore it "
            "from a copy, or do the run again"
        )
    run.pop(SEAL, None)
    return run


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


def _setting(run: Run, evaluation: Sequence[str], columns: Sequence[str]) -> dict[str, Any]:
    losses = {name: run["losses"].get(name, {}) for name in evaluation}
    return {
        "base_model": _base_model(run),
        "training": run["training"],
        "definition of": {
            name: run["indicators"].get(name, {}).get("definition") for name in columns
        },
        "evaluation": {
            name: {key: loss.get(key) for key in _EVALUATION_KEYS} for name, loss in losses.items()
        },
    }


def _base_model(run: Run) -> Mapping[str, Any]:
    # The same weights may be named by a path.
    weights = run["base_model"].get("weights")
    return run["base_model"] if weights is None else {"weights": weights}


def _difference(one: Any, other: Any, where: str = "") -> tuple[str, Any, Any] | None:
    """Find the first leaf in which two settings differ, as (path, one, other)."""
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return None if one == other else (where, one, other)
    for key in {**one, **other}:
        step = f"{where} {key}" if where.endswith("of") else f"{where}.{key}" if where else key
        found = _difference(one.get(key), other.get(key), step)
        if found is not None:
            return found
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
