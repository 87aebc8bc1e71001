"""Estimate a rule from a run log, and say what the runs do and do not support."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import statsmodels.api as sm

from instructmining.errors import RuleError
from instructmining.rules import diagnose
from instructmining.rules.provenance import Provenance, Status
from instructmining.rules.rule import Rule
from instructmining.rules.runlog import (
    Run,
    RunTable,
    Weighting,
    log_loss,
    require_one_setting,
    run_table,
    same_base_model,
    tuned,
)
from instructmining.rules.transforms import Floats

#: Mixtures per column below which a fit is called thin; a rule of thumb, not a power analysis.
MIXTURES_PER_COLUMN = 10
#: Variance inflation factor above which a coefficient is called unstable.
VIF_LIMIT = 5.0


@dataclass(frozen=True)
class Coefficient:
    """One line of the coefficient table.

    Parameters
    ----------
    name : str
        The feature, such as ``log1p(len_out)``, or "intercept".
    estimate : float
        Change of log loss per unit of the feature.
    standardised : float or None
        Change of log loss per standard deviation of the feature over mixtures, in standard
        deviations of the log loss; None for the intercept.
    interval : tuple of float
        95 % interval from the regression on mixture means, Student's t with
        ``n_mixtures - n_columns - 1`` degrees of freedom.
    cluster_interval : tuple of float
        95 % interval from the regression on runs, robust to heteroscedasticity and clustered
        by mixture. Too narrow where mixtures are few.
    other_weighting : float
        The estimate when the loss is weighted the other way, by example or by token.
    vif : float or None
        Variance inflation factor over mixtures; None for the intercept.
    """

    name: str
    estimate: float
    standardised: float | None
    interval: tuple[float, float]
    cluster_interval: tuple[float, float]
    other_weighting: float
    vif: float | None


@dataclass(frozen=True)
class FitResult:
    """A fitted rule and what is to be thought of it.

    Parameters
    ----------
    rule : Rule
        Ready to save.
    coefficients : tuple of Coefficient
        The intercept first.
    r2, loo_r2, null_loo_r2 : float
        R² over runs: in the sample, with each run's mixture left out, and the latter for a rule
        without columns.
    condition_number : float
        Of the standardised mixture means.
    noise : Noise
        Variance of the log loss between mixtures and between seeds.
    n_runs, n_mixtures, degrees_of_freedom : int
        Tuned runs, their mixtures, and mixtures to spare.
    untuned : float or None
        Log loss of the untuned base model where the log has it.
    warnings : tuple of str
        In plain words, what the runs do not support.
    """

    rule: Rule
    coefficients: tuple[Coefficient, ...]
    r2: float
    loo_r2: float
    null_loo_r2: float
    condition_number: float
    noise: diagnose.Noise
    n_runs: int
    n_mixtures: int
    degrees_of_freedom: int
    untuned: float | None
    warnings: tuple[str, ...]


def fit_rule(
    runs: Sequence[Run],
    *,
    evaluation: str | Sequence[str],
    columns: Mapping[str, str],
    weighting: Weighting = "token",
    name: str = "fitted",
    status: Status = "fitted",
) -> FitResult:
    """Fit log inference loss on the mixtures' mean indicators by least squares.

    The regression is on mixture means, one point per mixture: its seeds share their indicator
    means, so runs are not independent and counting them as such would feign precision.

    Parameters
    ----------
    runs : sequence of Run
        As `read_runs` gives them; runs of the untuned model serve as reference only.
    evaluation : str or sequence of str
        Evaluation sets; the dependent variable is the mean of their log losses.
    columns : mapping of column to transform
        The indicators that enter, in order. Choosing them is not part of the fit.
    weighting : {"token", "example"}
        Which mean loss is the dependent variable; the other is fitted for comparison.
    name, status : str
        Recorded in the rule.

    Raises
    ------
    RuleError
        If runs of different settings come together, a value is missing, mixtures are fewer than
        columns plus 2, or the columns do not vary independently of each other.
    """
    names = (evaluation,) if isinstance(evaluation, str) else tuple(evaluation)
    rows = tuned(runs)
    if not (rows and names and columns):
        raise RuleError(
            f"{len(rows)} tuned runs, {len(names)} evaluation sets and {len(columns)} columns "
            "came; at least one of each is wanted"
        )
    require_one_setting(rows, names, tuple(columns))
    table = run_table(rows, names, columns, weighting)
    _require_estimable(table)
    means = pl.DataFrame(table.means(table.x), schema=list(table.features))
    rule = Rule(tuple(columns), dict(columns)).fit(means, table.means(table.y))
    other = run_table(rows, names, columns, "example" if weighting == "token" else "token")
    result = _result(rule, table, other, _untuned(runs, rows, names, weighting))
    result = replace(result, warnings=tuple(_warnings(result, rows, table, weighting)))
    rule.provenance_ = _provenance(result, rows, names, weighting)
    rule.provenance_ = replace(rule.provenance_, name=name, status=status)
    return result


def _require_estimable(table: RunTable) -> None:
    n_columns = len(table.features)
    if table.n_mixtures < n_columns + 2:
        raise RuleError(
            f"{table.n_mixtures} mixtures came for {n_columns} columns, at least "
            f"{n_columns + 2} are needed and about {MIXTURES_PER_COLUMN * n_columns} would do; "
            "run more mixtures or name fewer columns"
        )
    x = table.means(table.x)
    for name, spread, size in zip(table.features, np.ptp(x, axis=0), abs(x).max(0), strict=True):
        if spread <= 1e-12 * size:
            raise RuleError(
                f"{name} is the same in all mixtures, so nothing can be learned of it; "
                "leave it out or run mixtures in which it differs"
            )
    if np.linalg.matrix_rank(diagnose.standardised(x), tol=1e-8) < n_columns:
        raise RuleError(
            f"{', '.join(table.features)} say the same of these mixtures (one is a linear "
            "combination of others); leave one out or run more mixtures"
        )
    if np.ptp(table.means(table.y)) == 0:
        raise RuleError("all mixtures have the same loss, there is nothing to fit; check the log")


def _result(rule: Rule, table: RunTable, other: RunTable, untuned: float | None) -> FitResult:
    x, y = table.means(table.x), table.means(table.y)
    main = sm.OLS(y, sm.add_constant(x, has_constant="add")).fit()
    clustered = sm.OLS(table.y, sm.add_constant(table.x, has_constant="add")).fit(
        cov_type="cluster", cov_kwds={"groups": table.mixtures}, use_t=True
    )
    swapped = sm.OLS(other.means(other.y), main.model.exog).fit()
    vif = diagnose.variance_inflation(x)
    scale = x.std(axis=0, ddof=1) / y.std(ddof=1)
    estimates = [rule.intercept_, *rule.coef_]
    null = replace(table, features=(), x=table.x[:, :0])
    rule.provenance_ = Provenance(
        covariance={
            "order": ["intercept", *rule.columns_],
            "matrix": np.asarray(main.cov_params()).tolist(),
        }
    )
    return FitResult(
        rule=rule,
        coefficients=tuple(
            Coefficient(
                name=name,
                estimate=float(estimates[i]),
                standardised=float(estimates[i] * scale[i - 1]) if i else None,
                interval=_pair(main.conf_int()[i]),
                cluster_interval=_pair(clustered.conf_int()[i]),
                other_weighting=float(swapped.params[i]),
                vif=float(vif[i - 1]) if i else None,
            )
            for i, name in enumerate(("intercept", *table.features))
        ),
        r2=diagnose.r2(table.y, rule.intercept_ + table.x @ rule.coef_),
        loo_r2=diagnose.r2(table.y, diagnose.leave_one_mixture_out(table)),
        null_loo_r2=diagnose.r2(table.y, diagnose.leave_one_mixture_out(null)),
        condition_number=diagnose.condition_number(x),
        noise=diagnose.noise(table),
        n_runs=len(table.y),
        n_mixtures=table.n_mixtures,
        degrees_of_freedom=int(main.df_resid),
        untuned=untuned,
        warnings=(),
    )


def _untuned(
    runs: Sequence[Run], rows: Sequence[Run], evaluation: Sequence[str], weighting: Weighting
) -> float | None:
    """Average the log loss of the untuned runs of the same model that have all evaluations."""
    losses = [
        log_loss(run, evaluation, weighting)
        for run in runs
        if run["mixture"] is None
        and same_base_model(run, rows[0])
        and all(name in run["losses"] for name in evaluation)
    ]
    return float(np.mean(losses)) if losses else None


def _warnings(
    result: FitResult, rows: Sequence[Run], table: RunTable, weighting: Weighting
) -> list[str]:
    return [
        *_on_size(result, rows),
        *_on_data(result, rows, table),
        *_on_coefficients(result, weighting),
    ]


def _on_size(result: FitResult, rows: Sequence[Run]) -> list[str]:
    found = []
    n_columns = len(result.coefficients) - 1
    if result.n_mixtures < MIXTURES_PER_COLUMN * n_columns:
        found.append(
            f"{result.n_mixtures} mixtures are few for {_count(n_columns, 'column')}: intervals "
            f"rest on {_count(result.degrees_of_freedom, 'degree')} of freedom, clustered ones "
            f"are too narrow; {MIXTURES_PER_COLUMN} mixtures per column "
            f"({MIXTURES_PER_COLUMN * n_columns}) are a usual minimum"
        )
    if result.degrees_of_freedom == 1:
        found.append(
            "saturated: with one mixture left out the rule runs through all others, so R² "
            "with a mixture left out says little"
        )
    sizes = [run["n_examples"] for run in rows]
    if max(sizes) > 1.1 * min(sizes):
        found.append(
            f"mixtures hold {min(sizes)} to {max(sizes)} examples: effects of size and of the "
            "indicators cannot be told apart"
        )
    if result.noise.seeds is None:
        found.append("each mixture was run with one seed: the noise between seeds is not known")
    elif result.noise.mixtures <= result.noise.seeds:
        found.append("losses differ no more between mixtures than between seeds")
    return found


def _on_data(result: FitResult, rows: Sequence[Run], table: RunTable) -> list[str]:
    found = []
    for column in result.rule.columns_:
        entries = [run["indicators"][column] for run in rows]
        n_null = sum(entry.get("n_null") or 0 for entry in entries)
        if n_null:
            n_rows = sum(entry.get("n") or 0 for entry in entries)
            found.append(f"{column}: undefined in {n_null} of {n_rows} rows, left out of means")
    if result.untuned is not None:
        n_worse = int((table.y >= result.untuned).sum())
        if n_worse:
            found.append(
                f"{n_worse} of {_count(len(rows), 'run')} ended no better than the untuned model"
            )
    if result.loo_r2 <= result.null_loo_r2:
        found.append(
            "for a mixture it has not seen the rule predicts no better than the mean of the others"
        )
    return found


def _on_coefficients(result: FitResult, weighting: Weighting) -> list[str]:
    found = []
    other = "example" if weighting == "token" else "token"
    for one in result.coefficients[1:]:
        low, high = one.interval
        if low <= 0 <= high:
            found.append(f"{one.name}: no detectable effect; interval {low:+.3g} to {high:+.3g}")
        if one.estimate * one.other_weighting < 0:
            found.append(
                f"{one.name}: {one.estimate:+.3g} with {weighting} weighting, "
                f"{one.other_weighting:+.3g} with {other} weighting: unresolved"
            )
        if one.vif is not None and one.vif > VIF_LIMIT:
            found.append(
                f"{one.name}: collinear with the other columns (VIF {one.vif:.1f}), so its "
                "coefficient is unstable"
            )
    return found


def _provenance(
    result: FitResult, rows: Sequence[Run], evaluation: Sequence[str], weighting: Weighting
) -> Provenance:
    first, rule = rows[0], result.rule
    quantiles = {name: _quantiles(rows, name) for name in rule.columns_}
    plans = sorted({str(run["plan"]) for run in rows if run.get("plan")})
    losses = {name: first["losses"][name] for name in evaluation}
    return replace(
        rule.provenance_,
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
        vif={
            name: one.vif
            for name, one in zip(rule.columns_, result.coefficients[1:], strict=True)
            if one.vif is not None
        },
        base_model=first["base_model"],
        training=first["training"],
        evaluation={
            "names": list(evaluation),
            "files": {name: loss.get("file") for name, loss in losses.items()},
            "parts": {name: loss.get("part") for name, loss in losses.items()},
            "weighting": weighting,
        },
        dependent_variable={
            "name": "log inference loss",
            "weighting": weighting,
            "unit": "log of nats per token",
            "over_evaluation_sets": "mean",
        },
        seeds=tuple(sorted({run["seed"] for run in rows})),
        source=f"run log of plan {', '.join(plans)}" if plans else None,
        notes=result.warnings,
    )


def _quantiles(rows: Sequence[Run], column: str) -> list[float] | None:
    """Outermost values over all runs, and the mean over runs of each run's quartiles."""
    known: list[Any] = [run["indicators"][column].get("quantiles") for run in rows]
    known = [quantiles for quantiles in known if quantiles]
    if not known:
        return None
    table: Floats = np.array(known, dtype=np.float64)
    low, high = table[:, 0].min(), table[:, 4].max()
    return [float(value) for value in (low, *table[:, 1:4].mean(axis=0), high)]


def _pair(values: Any) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
