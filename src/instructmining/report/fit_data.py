"""A fit and its diagnosis as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from instructmining.experiments.outcome import save_sealed
from instructmining.rules.regression import partial_points

if TYPE_CHECKING:
    from instructmining.rules.result import FitResult
    from instructmining.rules.verdict import Verdict

#: Version of the layout.
SCHEMA = 1
#: What is written in a form of its own, or is in the run log.
_APART = frozenset({"rule", "table", "means", "regression", "left_out", "draws", "draws_repeated"})


def fit_data(verdict: Verdict) -> dict[str, Any]:
    """Give everything that was found as what JSON can hold; what is not known is None.

    Returns
    -------
    dict
        The fields of `FitResult`, `Ranking` and `Bar` by name; ``mixtures``, a list with what
        was fitted and predicted of each; and the rule as it is saved. Bootstrap draws are
        left out: they can be made again.
    """
    result = verdict.result
    return {
        "schema": SCHEMA,
        "rule": result.rule.document().to_json(),
        "n_runs": result.n_runs,
        "n_mixtures": result.n_mixtures,
        "degrees_of_freedom": result.degrees_of_freedom,
        **_fields(result),
        "warnings": list(verdict.warnings),
        "mixtures": _mixtures(result),
        "ranking": _plain(verdict.ranking),
        "bars": _plain(verdict.bars),
    }


def save_fit_data(verdict: Verdict, path: Path) -> None:
    """Write `fit_data` as sealed JSON; an existing file is replaced only by a whole one."""
    save_sealed(fit_data(verdict), path, indent=2)


def _mixtures(result: FitResult) -> list[dict[str, Any]]:
    """List what is known of each mixture, losses as logs of nats per token."""
    table, means, regression = result.table, result.means, result.regression
    shares = table.means(table.shares)
    rule = result.rule.intercept_ + means.x @ result.rule.coef_
    partial = {name: np.column_stack(partial_points(means, name)) for name in means.features}
    return [
        {
            "mixture": name,
            "n_seeds": int(table.n_seeds[i]),
            "weight": float(means.weights[i]),
            "shares": dict(zip(table.sources, shares[i].tolist(), strict=True)),
            "features": dict(zip(means.features, means.x[i].tolist(), strict=True)),
            "partial": {name: points[i].tolist() for name, points in partial.items()},
            "log_loss": float(means.y[i]),
            "fitted": float(regression.fitted[i]),
            "leverage": float(regression.leverage[i]),
            "rule": float(rule[i]),
            "left_out": {
                score: float(one.left_out[i]) for score, one in result.validation.scores.items()
            },
        }
        for i, name in enumerate(table.names)
    ]


def _fields(value: Any) -> dict[str, Any]:
    return {
        one.name: _plain(getattr(value, one.name))
        for one in fields(value)
        if one.name not in _APART
    }


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return _fields(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
