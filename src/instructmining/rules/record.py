"""The provenance a fitted rule carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from instructmining.rules.provenance import Provenance
from instructmining.rules.result import FitResult
from instructmining.rules.runlog import Run
from instructmining.rules.transforms import Floats, feature_name

#: Sets of columns written into a rule, best first; the diagnostics have all.
_CONSIDERED = 20


def provenance(result: FitResult, rows: Sequence[Run], evaluation: Sequence[str]) -> Provenance:
    """Write down where a rule comes from.

    Parameters
    ----------
    result : FitResult
        The fit, warnings included.
    rows : sequence of Run
        Its runs.
    evaluation : sequence of str
        Evaluation sets.
    """
    first, rule = rows[0], result.rule
    quantiles = {name: _quantiles(rows, name) for name in rule.columns_}
    plans = sorted({str(run["plan"]) for run in rows if run.get("plan")})
    losses = {name: first["losses"][name] for name in evaluation}
    return Provenance(
        description=f"Fitted on {result.n_runs} runs over {result.n_mixtures} mixtures",
        definitions={
            name: first["indicators"][name].get("definition") or {} for name in rule.columns_
        },
        ranges={name: (q[0], q[4]) for name, q in quantiles.items() if q},
        quartiles={name: (q[1], q[2], q[3]) for name, q in quantiles.items() if q},
        n_runs=result.n_runs,
        n_mixtures=result.n_mixtures,
        r2=result.r2,
        loo_r2=result.loo_r2,
        estimation=_estimation(result),
        choice=_choice(result),
        vif={
            name: one.vif
            for name, one in zip(rule.columns_, result.coefficients[1:], strict=True)
            if one.vif is not None
        },
        covariance={
            "order": ["intercept", *rule.columns_],
            "matrix": result.regression.covariance.tolist(),
        },
        base_model=first["base_model"],
        training=first["training"],
        evaluation={
            "names": list(evaluation),
            "files": {name: loss.get("file") for name, loss in losses.items()},
            "parts": {name: loss.get("part") for name, loss in losses.items()},
            "weighting": result.weighting,
        },
        dependent_variable={
            "name": "log inference loss",
            "weighting": result.weighting,
            "unit": "log of nats per token",
            "over_evaluation_sets": "mean",
        },
        seeds=tuple(sorted({run["seed"] for run in rows})),
        source=f"run log of plan {', '.join(plans)}" if plans else None,
        notes=result.warnings,
    )


def _estimation(result: FitResult) -> dict[str, Any]:
    bare = [one.without_shares for one in result.coefficients]
    known = result.means.n_nuisance > 0
    return {
        "sources": list(result.table.sources),
        "nuisance": list(result.table.sources) if known else [],
        "weights": "equal" if np.ptp(result.means.weights) == 0 else "by seeds and mixtures",
        "interval": "HC3",
        "without_shares": dict(zip(["intercept", *result.rule.columns_], bare, strict=True))
        if known
        else None,
    }


def _choice(result: FitResult) -> dict[str, Any]:
    choice = result.choice
    column = {feature_name(*pair): pair[0] for pair in result.candidates.items()}
    return {
        "method": choice.method,
        "candidates": dict(result.candidates),
        "chosen": list(result.rule.columns_),
        "penalty": choice.penalty if choice.method == "ridge" else None,
        "n_considered": len(choice.considered),
        "considered": [
            {"columns": [column[name] for name in one.features], "aicc": one.aicc, "vif": one.vif}
            for one in choice.considered[:_CONSIDERED]
        ],
    }


def _quantiles(rows: Sequence[Run], column: str) -> list[float] | None:
    """Outermost values over all runs, and the mean over runs of each run's quartiles."""
    known: list[Any] = [run["indicators"][column].get("quantiles") for run in rows]
    known = [quantiles for quantiles in known if quantiles]
    if not known:
        return None
    table: Floats = np.array(known, dtype=np.float64)
    low, high = table[:, 0].min(), table[:, 4].max()
    return [float(value) for value in (low, *table[:, 1:4].mean(axis=0), high)]
