"""What the runs do and do not support, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from instructmining.rules import power
from instructmining.rules.choose import VIF_LIMIT
from instructmining.rules.result import Coefficient, FitResult
from instructmining.rules.runlog import Run
from instructmining.rules.transforms import feature_name
from instructmining.rules.validate import FULL, LENGTH, RULE, SHARES

#: Degrees of freedom below which it is said on how few the intervals rest.
_FEW = 10
#: Share of bootstrap draws in which a coefficient should have its sign.
_SURE = 0.95


def supported(result: FitResult) -> tuple[str, ...]:
    """Say what the runs support, one sentence each.

    Parameters
    ----------
    result : FitResult
        The fit; its `supported` and `warnings` are not read.
    """
    found = []
    for one in result.coefficients[1:]:
        own, other = _sign(one.interval), _sign(one.other_interval)
        if own and own == other and _survives_choice(one, result):
            effect = "raises" if own > 0 else "lowers"
            found.append(
                f"{one.name}: more of it {effect} the loss under both weightings; {_one(one)}"
            )
    for gain in result.validation.gains:
        if gain.of == RULE and gain.interval[0] > 0:
            found.append(
                f"on mixtures left out the rule predicts better than {gain.over}: R² higher by "
                f"{gain.value:.3f}; {_interval(gain.interval)}"
            )
    return tuple(found)


def warnings(result: FitResult, rows: Sequence[Run]) -> tuple[str, ...]:
    """Say what the runs do not support, one sentence each.

    Parameters
    ----------
    result : FitResult
        The fit; its `supported` and `warnings` are not read.
    rows : sequence of Run
        Its runs.
    """
    return (
        *_on_size(result, rows),
        *_on_noise(result),
        *_on_data(result, rows),
        *_on_validation(result),
        *_on_coefficients(result),
    )


def _on_size(result: FitResult, rows: Sequence[Run]) -> list[str]:
    found = []
    n, n_columns = result.n_mixtures, len(result.means.features)
    worst = max(result.sensitivity, key=lambda one: one.needed)
    smallest = worst.detectable[n]
    if worst.needed > n and smallest is not None:
        found.append(
            f"{n} mixtures are few for {_count(n_columns, 'column')}: of {worst.feature} they show "
            f"only effects of {smallest:.2f} standard deviations of the log loss or more (80 % "
            f"power); about {worst.needed} would show {power.WORTH_FINDING}"
        )
    spare = round(result.degrees_of_freedom)
    if spare < _FEW:
        found.append(
            f"intervals rest on {_count(spare, 'degree')} of freedom, clustered ones are too narrow"
        )
    if spare == 1:
        found.append(
            "saturated: with one mixture left out the rule runs through all others, so R² "
            "with a mixture left out says little"
        )
    if len(result.table.sources) < 2:
        found.append("one source: how the rule does on another is not known")
    elif not result.means.n_nuisance:
        vary = bool(np.ptp(result.table.shares, axis=0).max() > 0)
        why = "too few mixtures to hold" if vary else "all mixtures are alike in"
        found.append(
            f"{why} the shares of {len(result.table.sources)} sources: coefficients mix what a "
            "column says within a source with differences between sources"
        )
    sizes = [run["n_examples"] for run in rows]
    if max(sizes) > 1.1 * min(sizes):
        found.append(
            f"mixtures hold {min(sizes)} to {max(sizes)} examples: effects of size and of the "
            "indicators cannot be told apart"
        )
    return found


def _on_noise(result: FitResult) -> list[str]:
    found = []
    noise, lack = result.noise, result.lack_of_fit
    if noise.seeds is None:
        found.append("each mixture was run with one seed: the noise between seeds is not known")
    elif noise.mixtures <= noise.seeds:
        found.append("losses differ no more between mixtures than between seeds")
    if lack is not None and lack.p < 1 - _SURE:
        found.append(
            f"mixtures differ from the rule by more than seeds from each other (lack of fit: F "
            f"{lack.f:.1f} with {lack.degrees_of_freedom[0]} and {lack.degrees_of_freedom[1]} "
            f"degrees of freedom, p {lack.p:.2g}): curvature, a column that is missing, or which "
            "examples were drawn"
        )
    return found


def _on_data(result: FitResult, rows: Sequence[Run]) -> list[str]:
    found = []
    for column in result.rule.columns_:
        entries = [run["indicators"][column] for run in rows]
        n_null = sum(entry.get("n_null") or 0 for entry in entries)
        if n_null:
            n_rows = sum(entry.get("n") or 0 for entry in entries)
            found.append(f"{column}: undefined in {n_null} of {n_rows} rows, left out of means")
    if result.untuned is not None:
        n_worse = int((result.table.y >= result.untuned).sum())
        if n_worse:
            found.append(
                f"{n_worse} of {_count(len(rows), 'run')} ended no better than the untuned model"
            )
    return found


def _on_validation(result: FitResult) -> list[str]:
    found = []
    if result.loo_r2 <= result.null_loo_r2:
        found.append(
            "for a mixture it has not seen the rule predicts no better than the mean of the others"
        )
    source_r2 = result.validation.scores[RULE].source_r2
    if source_r2 is not None and source_r2 <= 0:
        found.append(
            f"for a source it has not seen the rule predicts no better than the mean of the others "
            f"(R² {source_r2:.2f})"
        )
    if result.length is None:
        found.append("the log has no length that varies: the rule is not compared with length")
    alone = result.means.features == _length_feature(result)
    for gain in result.validation.gains:
        if gain.of == RULE and gain.over == LENGTH and alone:
            continue
        if (gain.of, gain.over) in ((RULE, LENGTH), (FULL, SHARES)) and gain.interval[0] <= 0:
            found.append(
                f"{gain.of}: not shown to predict better than {gain.over}; R² with a mixture left "
                f"out differs by {gain.value:+.3f}, {_interval(gain.interval)}"
            )
    return found


def _on_coefficients(result: FitResult) -> list[str]:
    found = []
    spreads = {one.feature: one for one in result.resampled.spreads}
    for one in result.coefficients[1:]:
        if not _sign(one.interval):
            found.append(f"{one.name}: no detectable effect; {_interval(one.interval)}")
        elif not _survives_choice(one, result):
            found.append(
                f"{one.name}: an effect is detectable only if the choice of columns is taken as "
                f"given; with the choice repeated {_interval(spreads[one.name].repeated)}"
            )
        elif spreads[one.name].same_sign < _SURE:
            found.append(
                f"{one.name}: keeps its sign in {spreads[one.name].same_sign:.0%} of bootstrap "
                "samples of the mixtures only"
            )
        found += _on_weighting(one, result)
        if one.vif is not None and one.vif > VIF_LIMIT:
            found.append(
                f"{one.name}: collinear with the other columns or the sources (VIF {one.vif:.1f}), "
                "so its coefficient is unstable"
            )
    if result.choice.method == "aicc":
        found.append(
            "columns were chosen on these mixtures: intervals do not know that, but those of the "
            "bootstrap with the choice repeated"
        )
    if result.choice.method == "ridge":
        found.append("coefficients are shrunken: intervals do not hold what shrinking takes off")
    return found


def _survives_choice(one: Coefficient, result: FitResult) -> bool:
    """Whether zero is outside the bootstrap interval with the choice repeated, if there is one."""
    if result.choice.method != "aicc":
        return True
    spreads = {spread.feature: spread for spread in result.resampled.spreads}
    return _sign(spreads[one.name].repeated) != 0


def _on_weighting(one: Coefficient, result: FitResult) -> list[str]:
    """Say where the conclusion depends on what the mean loss counts alike."""
    own, other = _sign(one.interval), _sign(one.other_interval)
    if own == other:
        return []
    names = (result.weighting, result.other_weighting)
    both = (
        f"{one.estimate:+.3g}, {_interval(one.interval)} with {names[0]} weighting; "
        f"{one.other_weighting:+.3g}, {_interval(one.other_interval)} with {names[1]} weighting"
    )
    if own * other < 0:
        said = f"the conclusion on {one.name} flips between {names[0]} and {names[1]} weighting"
    else:
        said = f"{one.name}: an effect is detectable with {names[0 if own else 1]} weighting only"
    return [f"{said}: unresolved; {both}"]


def _length_feature(result: FitResult) -> tuple[str, ...]:
    length = result.length
    return () if length is None else (feature_name(length.column, length.transform),)


def _sign(interval: tuple[float, float]) -> int:
    """1 or -1 where an interval lies on one side of zero, else 0."""
    return (interval[0] > 0) - (interval[1] < 0)


def _one(one: Coefficient) -> str:
    return f"{one.estimate:+.3g}, {_interval(one.interval)}"


def _interval(pair: tuple[float, float]) -> str:
    return f"interval {pair[0]:+.3g} to {pair[1]:+.3g}"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
