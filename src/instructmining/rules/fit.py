"""Estimate a rule from a run log, and say what the runs do and do not support."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from instructmining.errors import RuleError
from instructmining.rules import power
from instructmining.rules.choose import Choice, Choosing, all_columns, choose, chooser
from instructmining.rules.diagnose import lack_of_fit, mixture_weights, noise
from instructmining.rules.findings import supported, warnings
from instructmining.rules.provenance import Provenance, Status
from instructmining.rules.ranking import LengthRule
from instructmining.rules.record import provenance
from instructmining.rules.refits import refit
from instructmining.rules.regression import (
    Estimate,
    MixtureMeans,
    clustered_intervals,
    condition_number,
    estimate,
    mixture_means,
    partialled,
    variance_inflation,
)
from instructmining.rules.result import Coefficient, FitResult, Sensitivity
from instructmining.rules.rule import Rule
from instructmining.rules.runlog import Run, require_one_setting, same_base_model, tuned
from instructmining.rules.runtable import RunTable, Weighting, log_loss, run_table
from instructmining.rules.schema import RuleDocument
from instructmining.rules.stability import Resampled, bootstrap_counts, resample
from instructmining.rules.transforms import Floats, feature_name
from instructmining.rules.validate import FULL, RULE, Validation, validate

#: What length is called in a run log, and its transform where the columns name none.
LENGTH = ("len_out", "log1p")
#: Numbers of mixtures for which it is said what could be found, beside the present one: forty,
#: and the paper's.
SERIES = (40, 129)
#: Mixtures more than terms that a regression with the source shares must have.
_SPARE = 2
#: Fewest mixtures over which AICc or ridge can compare one column with none.
_FEWEST = 5


@dataclass(frozen=True)
class Estimation:
    """How a rule is estimated.

    Parameters
    ----------
    choose : {"none", "aicc", "ridge"}
        How columns are chosen from those named: all, best subset, or all but shrunken.
    length : tuple of (column, transform), optional
        The length everything is compared with; by default ``len_out`` as it is named among the
        columns, else its log1p.
    draws, seed : int
        Bootstrap draws, and what makes them always the same.
    """

    choose: Choosing = "none"
    length: tuple[str, str] | None = None
    draws: int = 1000
    seed: int = 0


def fit_rule(
    runs: Sequence[Run],
    *,
    evaluation: str | Sequence[str],
    columns: Mapping[str, str],
    weighting: Weighting = "token",
    estimation: Estimation | None = None,
    name: str = "fitted",
    status: Status = "fitted",
) -> FitResult:
    """Fit log inference loss on the mixtures' mean indicators by least squares.

    The shares of the sources are nuisance terms, so that a coefficient is what its column says
    among examples of one source; with one source, or too few mixtures, they are left out.

    Parameters
    ----------
    runs : sequence of Run
        As `read_runs` gives them; runs of the untuned model serve as reference only.
    evaluation : str or sequence of str
        Evaluation sets; the dependent variable is the mean of their log losses.
    columns : mapping of column to transform
        The candidates, in order; all enter unless `estimation` chooses.
    weighting : {"token", "example"}
        Which mean loss is the dependent variable; the other is fitted for comparison.
    estimation : Estimation, optional
        How columns are chosen, what length is, and the bootstrap.
    name, status : str
        Recorded in the rule.

    Raises
    ------
    RuleError
        If runs of different settings come together, a value is missing, mixtures are too few,
        the columns do not vary independently of each other, or none is worth choosing.
    """
    how = estimation or Estimation()
    data = _gather(runs, evaluation, columns, weighting, how.length)
    table, means = data.table, to_regress(data.table, how.choose)
    choice = choose(means, how.choose)
    chosen = means.only(choice.features)
    regression = estimate(chosen, choice.penalty)
    validation, resampled, length = _beyond_the_sample(data, means, choice, regression, how)
    result = FitResult(
        rule=rule_of(data.columns, chosen, regression),
        coefficients=_coefficients(data, chosen, regression, choice.penalty),
        choice=choice,
        candidates=data.columns,
        weighting=weighting,
        table=table,
        means=chosen,
        regression=regression,
        condition_number=condition_number(chosen),
        noise=noise(table),
        lack_of_fit=lack_of_fit(chosen, table),
        validation=validation,
        sensitivity=_sensitivity(chosen, regression, validation),
        resampled=resampled,
        length=length,
        untuned=_untuned(runs, data),
    )
    result = replace(result, supported=supported(result), warnings=warnings(result, data.rows))
    record = provenance(result, data.rows, data.evaluation)
    result.rule.provenance_ = replace(record, name=name, status=status)
    return result


@dataclass(frozen=True)
class _Data:
    """What is regressed: runs, their table, that by the other weighting, and the lengths."""

    rows: Sequence[Run]
    evaluation: tuple[str, ...]
    columns: Mapping[str, str]
    weighting: Weighting
    table: RunTable
    swapped: RunTable
    length: tuple[str, str] | None
    lengths: RunTable | None


def _gather(
    runs: Sequence[Run],
    evaluation: str | Sequence[str],
    columns: Mapping[str, str],
    weighting: Weighting,
    length: tuple[str, str] | None,
) -> _Data:
    names = (evaluation,) if isinstance(evaluation, str) else tuple(evaluation)
    rows = tuned(runs)
    if not (rows and names and columns):
        raise RuleError(
            f"{len(rows)} tuned runs, {len(names)} evaluation sets and {len(columns)} columns "
            "came; at least one of each is wanted"
        )
    length = length or _length_of(rows, columns)
    require_one_setting(rows, names, tuple({**columns, **dict([length] if length else [])}))
    table = run_table(rows, names, columns, weighting)
    swapped = run_table(rows, names, columns, "example" if weighting == "token" else "token")
    lengths = run_table(rows, names, dict([length]), weighting) if length else None
    if lengths is not None and _is_constant(lengths.x[:, 0]):
        lengths = None
    return _Data(rows, names, dict(columns), weighting, table, swapped, length, lengths)


def _length_of(rows: Sequence[Run], columns: Mapping[str, str]) -> tuple[str, str] | None:
    """Find the length: as it is named among the columns, else as the log has it."""
    name, transform = LENGTH
    if name in columns:
        return name, columns[name]
    known = (run["indicators"].get(name, {}).get("means", {}).get(transform) for run in rows)
    return LENGTH if all(mean is not None for mean in known) else None


def to_regress(table: RunTable, choosing: Choosing) -> MixtureMeans:
    """Average over seeds, drop the shares where they cannot be used, and weigh.

    Raises
    ------
    RuleError
        If mixtures are too few, or the columns do not vary independently of each other.
    """
    means = mixture_means(table)
    _require_estimable(means, choosing)
    n_terms = 1 + len(table.features) + means.n_nuisance
    if not means.n_nuisance or len(means) < n_terms - 1 + _SPARE:
        means = means.without_shares()
    rest = partialled(means) / means.x.std(axis=0, ddof=1)
    alike = [n for n, r in zip(means.features, rest.T, strict=True) if abs(r).max() < 1e-8]
    if alike:
        raise RuleError(
            f"{', '.join(alike)} differs between sources only, not between mixtures of the same "
            "sources, so nothing can be learned of it; leave it out or run such mixtures"
        )
    if choosing == "none" and np.linalg.matrix_rank(rest, tol=1e-8) < len(means.features):
        raise RuleError(
            f"{', '.join(means.features)} say the same of these mixtures (one is a linear "
            "combination of others and of source shares); leave one out or run more mixtures"
        )
    return replace(means, weights=mixture_weights(means, table))


def _require_estimable(means: MixtureMeans, choosing: Choosing) -> None:
    n_columns = len(means.features)
    fewest = n_columns + 2 if choosing == "none" else _FEWEST
    if len(means) < fewest:
        enough = power.mixtures_needed(1 + n_columns, 1.0)
        raise RuleError(
            f"{len(means)} mixtures came for {n_columns} columns, at least {fewest} are needed and "
            f"about {enough} would do; run more mixtures or name fewer columns"
        )
    for name, values in zip(means.features, means.x.T, strict=True):
        if _is_constant(values):
            raise RuleError(
                f"{name} is the same in all mixtures, so nothing can be learned of it; "
                "leave it out or run mixtures in which it differs"
            )
    if np.ptp(means.y) == 0:
        raise RuleError("all mixtures have the same loss, there is nothing to fit; check the log")


def _is_constant(values: Floats) -> bool:
    return bool(np.ptp(values) <= 1e-12 * abs(values).max())


def _beyond_the_sample(
    data: _Data, means: MixtureMeans, choice: Choice, regression: Estimate, how: Estimation
) -> tuple[Validation, Resampled, LengthRule | None]:
    """Leave mixtures and sources out, and draw mixtures again."""
    counts = bootstrap_counts(len(means), how.draws, how.seed)
    slopes = dict(zip(choice.features, regression.coefficients[1:].tolist(), strict=True))
    resampled = resample(means, choice.method, slopes, counts)
    if data.length is None or data.lengths is None:
        return validate(means, data.table, chooser(choice.method), None, counts), resampled, None
    alone = mixture_means(data.lengths)
    lengths = replace(means, features=alone.features, x=alone.x)
    length = LengthRule(
        *data.length,
        slope=float(estimate(lengths).coefficients[1]),
        draws=refit(lengths, counts, all_columns).coefficients[:, 0],
    )
    return validate(means, data.table, chooser(choice.method), lengths, counts), resampled, length


def rule_of(columns: Mapping[str, str], chosen: MixtureMeans, regression: Estimate) -> Rule:
    """Return the rule of a regression, with nothing said yet of where it comes from."""
    kept = {c: kind for c, kind in columns.items() if feature_name(c, kind) in chosen.features}
    return Rule.from_document(
        RuleDocument(
            columns=tuple(kept),
            transforms=tuple(kept.values()),
            coefficients=tuple(regression.coefficients[1:].tolist()),
            intercept=float(regression.coefficients[0]),
            provenance=Provenance(),
        )
    )


def _coefficients(
    data: _Data, chosen: MixtureMeans, regression: Estimate, penalty: float
) -> tuple[Coefficient, ...]:
    swapped = estimate(replace(chosen, y=data.swapped.means(data.swapped.y)), penalty)
    bare = estimate(chosen.without_shares(), penalty) if chosen.n_nuisance else None
    scale = chosen.x.std(axis=0, ddof=1) / chosen.y.std(ddof=1)
    vif = variance_inflation(chosen)
    columns = zip(
        ("intercept", *chosen.features),
        regression.coefficients.tolist(),
        regression.intervals().tolist(),
        clustered_intervals(chosen, data.table, penalty).tolist(),
        swapped.coefficients.tolist(),
        swapped.intervals().tolist(),
        strict=True,
    )
    return tuple(
        Coefficient(
            name=name,
            estimate=value,
            standardised=value * float(scale[i - 1]) if i else None,
            interval=(own[0], own[1]),
            cluster_interval=(clustered[0], clustered[1]),
            without_shares=None if bare is None else float(bare.coefficients[i]),
            other_weighting=other,
            other_interval=(others[0], others[1]),
            vif=float(vif[i - 1]) if i else None,
        )
        for i, (name, value, own, clustered, other, others) in enumerate(columns)
    )


def _sensitivity(
    chosen: MixtureMeans, regression: Estimate, validation: Validation
) -> tuple[Sensitivity, ...]:
    """Say what could be found with the mixtures at hand, and with a series as long as others.

    What is left around the regression is taken from the residuals; for how many mixtures would
    do, from their upper limit, or the errors left out where these are larger: few mixtures are
    soon fitted.
    """
    n, terms = len(chosen), 1 + len(chosen.features) + chosen.n_nuisance
    spare, scores = regression.degrees_of_freedom, validation.scores
    left = cautious = 1.0
    if np.isfinite(regression.variance):
        left = regression.variance / float(chosen.y.var(ddof=1))
        unseen = 1.0 - scores.get(FULL, scores[RULE]).loo_r2
        cautious = min(1.0, max(power.upper_variance(left, spare), unseen))
    return tuple(
        Sensitivity(
            feature=name,
            detectable={
                size: power.detectable(power.standard_error(left, size, float(vif)), size - terms)
                if size > terms
                else None
                for size in sorted({n, *SERIES})
            },
            needed=power.mixtures_needed(terms, cautious, float(vif)),
        )
        for name, vif in zip(chosen.features, variance_inflation(chosen), strict=True)
    )


def _untuned(runs: Sequence[Run], data: _Data) -> float | None:
    """Average the log loss of the untuned runs of the same model that have all evaluations."""
    losses = [
        log_loss(run, data.evaluation, data.weighting)
        for run in runs
        if run["mixture"] is None
        and same_base_model(run, data.rows[0])
        and all(name in run["losses"] for name in data.evaluation)
    ]
    return float(np.mean(losses)) if losses else None
