"""Reading run logs, and which of their runs may be fitted together."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from instructmining.errors import RuleError
from instructmining.journal import SEAL, is_intact
from instructmining.rules.transforms import require_transform

#: One line of a run log.
Run = Mapping[str, Any]

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
