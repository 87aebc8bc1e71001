"""Losses of methods and differences between them, under both weightings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from instructmining.errors import ExperimentError
from instructmining.evaluation.conclusions import (
    TOO_FEW,
    Conclusion,
    Terms,
    combine,
    conclude,
    holm,
)
from instructmining.evaluation.crossed import Floats, LogRatio, log_ratio, stack
from instructmining.evaluation.losses import EvaluationLosses
from instructmining.evaluation.wins import Wins, count_wins


@dataclass(frozen=True)
class MeanLoss:
    """Mean loss of a method, over prompts and seeds.

    Parameters
    ----------
    value : float
        Nats per token.
    interval : tuple of float or None
        Over prompts and seeds; None with one seed.
    seed_deviation : float or None
        Standard deviation over seeds of the log of the mean loss; None with one seed.
    """

    value: float
    interval: tuple[float, float] | None
    seed_deviation: float | None


@dataclass(frozen=True)
class MethodLoss:
    """Loss of one method on one evaluation set.

    Parameters
    ----------
    evaluation, method : str
        Which.
    n_seeds, n_prompts : int
        What was averaged over.
    by_token, by_example : MeanLoss
        Every token alike, and every example alike.
    """

    evaluation: str
    method: str
    n_seeds: int
    n_prompts: int
    by_token: MeanLoss
    by_example: MeanLoss


@dataclass(frozen=True)
class Difference:
    """Difference of the loss of two methods under one weighting.

    Parameters
    ----------
    relative : float
        Loss of the one over that of the other, less 1: below 0 the one is better.
    interval : tuple of float or None
        Of `relative`, over prompts and seeds, for this difference by itself; None with one seed.
    seed_error, prompt_error : float or None
        What seeds and what prompts contribute to the standard error, as relative differences;
        None for seeds with one seed.
    p, p_adjusted : float or None
        That there is no difference: by itself, and over the family; None with one seed.
    p_equal, p_equal_adjusted : float or None
        That the difference is as large as the margin.
    shown_from : float or None
        Smallest relative difference that would surely have been called one, whatever the rest
        of the family.
    conclusion : str
        From this weighting alone.
    """

    relative: float
    interval: tuple[float, float] | None
    seed_error: float | None
    prompt_error: float
    p: float | None
    p_adjusted: float | None
    p_equal: float | None
    p_equal_adjusted: float | None
    shown_from: float | None
    conclusion: Conclusion


@dataclass(frozen=True)
class Contrast:
    """One method against another on one evaluation set.

    Parameters
    ----------
    evaluation, method, other : str
        Which.
    seeds : tuple of int
        Those both were trained with; no others enter.
    n_prompts : int
        Prompts of the set.
    by_token, by_example : Difference
        Every token alike, which is what counts, and every example alike, beside it.
    wins : Wins
        Prompts won by `method`.
    conclusion : str
        From both weightings.
    """

    evaluation: str
    method: str
    other: str
    seeds: tuple[int, ...]
    n_prompts: int
    by_token: Difference
    by_example: Difference
    wins: Wins
    conclusion: Conclusion


def method_losses(evaluation: EvaluationLosses, terms: Terms) -> tuple[MethodLoss, ...]:
    """Average the losses of every method on an evaluation set, over all its seeds."""
    tokens = evaluation.n_tokens
    return tuple(
        MethodLoss(
            evaluation=evaluation.name,
            method=method,
            n_seeds=len(table),
            n_prompts=len(tokens),
            by_token=_mean_loss(table, np.broadcast_to(tokens, table.shape), terms),
            by_example=_mean_loss(table / tokens, np.ones_like(table), terms),
        )
        for method, table in evaluation.losses.items()
    )


def contrast_all(
    evaluations: Sequence[EvaluationLosses], pairs: Sequence[tuple[str, str]], terms: Terms
) -> tuple[Contrast, ...]:
    """Contrast pairs of methods on evaluation sets, all of them one family.

    A contrast with one shared seed is never tested, whatever comes out of it, and so is no part
    of the family. Each weighting is adjusted by itself: "better" asks for both, which makes a
    false one no likelier than under either.

    Parameters
    ----------
    evaluations : sequence of EvaluationLosses
        Each with the methods of every pair.
    pairs : sequence of (str, str)
        Method, and what it is held against.
    terms : Terms
        Margin, level, tie width.

    Returns
    -------
    tuple of Contrast
        Pair by pair, and for each the sets in order.

    Raises
    ------
    ExperimentError
        If the two methods of a pair share no seed.
    """
    cells = [(evaluation, *pair) for pair, evaluation in product(pairs, evaluations)]
    seeds = [_shared(*cell) for cell in cells]
    tables = [
        (evaluation.rows(method, both), evaluation.rows(other, both))
        for (evaluation, method, other), both in zip(cells, seeds, strict=True)
    ]
    per_token = [
        (ours / cell[0].n_tokens, theirs / cell[0].n_tokens)
        for cell, (ours, theirs) in zip(cells, tables, strict=True)
    ]
    by_token = differences([log_ratio(*pair) for pair in tables], terms)
    by_example = differences([log_ratio(*pair) for pair in per_token], terms)
    return tuple(
        Contrast(
            evaluation=evaluation.name,
            method=method,
            other=other,
            seeds=seeds[i],
            n_prompts=len(evaluation.n_tokens),
            by_token=by_token[i],
            by_example=by_example[i],
            wins=count_wins(per_token[i][0].mean(axis=0), per_token[i][1].mean(axis=0), terms),
            conclusion=combine(by_token[i].conclusion, by_example[i].conclusion),
        )
        for i, (evaluation, method, other) in enumerate(cells)
    )


def differences(ratios: Sequence[LogRatio], terms: Terms) -> list[Difference]:
    """Test a family of differences under one weighting.

    Parameters
    ----------
    ratios : sequence of LogRatio
        One number each; those with one seed are left out of the family.
    terms : Terms
        Margin and level.
    """
    every = stack(ratios)
    tested = ~np.isnan(every.seed_variance)
    size = np.abs(every.value)
    p, p_equal = every.level_of(size), every.level_of(terms.log_margin - size)
    adjusted, adjusted_equal = (_adjust(values, tested) for values in (p, p_equal))
    half = every.half_width(terms.level)
    # The smallest p value is held against this level, whatever the others are.
    surely = every.half_width(terms.level / max(int(tested.sum()), 1))
    shown_from = np.expm1(np.maximum(surely, terms.log_margin))
    errors = np.sqrt(every.seed_variance), np.sqrt(every.prompt_variance)
    return [
        Difference(
            relative=float(np.expm1(every.value[i])),
            interval=_interval(every.value[i], half[i], np.expm1),
            seed_error=_known(errors[0][i]),
            prompt_error=float(errors[1][i]),
            p=_known(p[i]),
            p_adjusted=_known(adjusted[i]),
            p_equal=_known(p_equal[i]),
            p_equal_adjusted=_known(adjusted_equal[i]),
            shown_from=_known(shown_from[i]),
            conclusion=(
                conclude(every.value[i], adjusted[i], adjusted_equal[i], terms)
                if tested[i]
                else TOO_FEW
            ),
        )
        for i in range(len(ratios))
    ]


def _shared(evaluation: EvaluationLosses, method: str, other: str) -> tuple[int, ...]:
    both = evaluation.shared(method, other)
    if not both:
        raise ExperimentError(
            f"evaluation set {evaluation.name}: {method} was trained with seeds "
            f"{list(evaluation.seeds[method])} and {other} with {list(evaluation.seeds[other])}, "
            "a seed in common was wanted; train both with the same seeds"
        )
    return both


def _mean_loss(numerator: Floats, denominator: Floats, terms: Terms) -> MeanLoss:
    ratio = log_ratio(numerator, denominator)
    means = numerator.sum(axis=1) / denominator.sum(axis=1)
    return MeanLoss(
        value=float(np.exp(ratio.value)),
        interval=_interval(ratio.value, ratio.half_width(terms.level), np.exp),
        seed_deviation=float(np.log(means).std(ddof=1)) if len(means) > 1 else None,
    )


def _adjust(p_values: Floats, tested: np.ndarray) -> Floats:
    adjusted = np.full_like(p_values, np.nan)
    adjusted[tested] = holm(p_values[tested])
    return adjusted


def _interval(value: Floats, half: Floats, scale: np.ufunc) -> tuple[float, float] | None:
    if np.isnan(half):
        return None
    return float(scale(value - half)), float(scale(value + half))


def _known(value: Floats) -> float | None:
    """One number, None where it is not known."""
    return None if np.isnan(value) else float(value)
