"""How well scores agree with people's judgements, with intervals.

Judgements of one prompt are not independent, so every interval here comes from a bootstrap
over groups of rows (prompts, contexts): as many groups as there are get drawn with
replacement, each with all its rows, and the interval reaches from the 2.5th to the 97.5th
percentile of the measure over the draws. A gain over a baseline is measured on the same rows
and draws for both, which leaves out of its interval what the two have in common.

Two functions given the same groups, number of draws and seed see the same draws.

References
----------
Efron, B. and Tibshirani, R. J. (1993), An Introduction to the Bootstrap, chapter 13.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from instructmining.errors import InputError

Floats = NDArray[np.float64]
#: From how often each row was drawn, (n, n_draws), to the measure of each draw, (n_draws,).
Statistic = Callable[[Floats], Floats]

_PERCENTILES = (2.5, 97.5)
#: Rows times draws computed together; bounds the memory.
_TOGETHER = 1 << 20


@dataclass(frozen=True)
class Interval:
    """A measured value and its 95 % interval.

    Parameters
    ----------
    value : float
        On all rows; NaN where it is undefined, as without rows.
    low, high : float
        Percentiles over the draws in which the measure is defined; NaN where none is, and
        with fewer than two groups, which say nothing about others.
    """

    value: float
    low: float
    high: float


def pair_accuracy(
    margin: ArrayLike, groups: Sequence[Hashable], *, n_boot: int = 2000, seed: int = 0
) -> Interval:
    """Share of pairs whose better response has the higher score; a tie counts one half.

    Parameters
    ----------
    margin : array_like of shape (n,)
        Score of the better response less that of the worse one.
    groups : sequence of hashable, length n
        What pairs share that are not independent: the instruction.
    n_boot : int
        Number of draws.
    seed : int
        Seed of the draws.

    Returns
    -------
    Interval
        Between 0 and 1; 0.5 is chance. Without width where all pairs are right, or all wrong.

    Raises
    ------
    InputError
        If a margin is NaN or the lengths differ.
    """
    statistic = _weighted_mean(_credit("margin", margin, groups))
    return _bootstrap(statistic, groups, n_boot, seed)


def paired_gain(
    margin: ArrayLike,
    baseline_margin: ArrayLike,
    groups: Sequence[Hashable],
    *,
    n_boot: int = 2000,
    seed: int = 0,
) -> Interval:
    """By how much the accuracy on pairs is above that of a baseline on the same pairs.

    Parameters
    ----------
    margin, baseline_margin : array_like of shape (n,)
        Score of the better response less that of the worse one: scores measured, baseline.
    groups, n_boot, seed
        As in `pair_accuracy`.

    Returns
    -------
    Interval
        Between -1 and 1; the baseline is beaten where `low` is above 0.

    Raises
    ------
    InputError
        As `pair_accuracy`.
    """
    gain = _credit("margin", margin, groups) - _credit("baseline_margin", baseline_margin, groups)
    return _bootstrap(_weighted_mean(gain), groups, n_boot, seed)


def spearman(
    scores: ArrayLike,
    judgements: ArrayLike,
    groups: Sequence[Hashable],
    *,
    n_boot: int = 2000,
    seed: int = 0,
) -> Interval:
    """Rank correlation of scores with people's judgements, over all rows.

    Parameters
    ----------
    scores, judgements : array_like of shape (n,)
        Only their order counts; equal values share the mean of their ranks.
    groups : sequence of hashable, length n
        What rows share that are not independent: the context.
    n_boot : int
        Number of draws.
    seed : int
        Seed of the draws.

    Returns
    -------
    Interval
        Between -1 and 1; undefined where scores or judgements are all equal.

    Raises
    ------
    InputError
        If a score or judgement is NaN or the lengths differ.
    """
    statistic = _rank_correlation(
        _column("scores", scores, groups), _column("judgements", judgements, groups)
    )
    return _bootstrap(statistic, groups, n_boot, seed)


def spearman_gain(
    scores: ArrayLike,
    baseline: ArrayLike,
    judgements: ArrayLike,
    groups: Sequence[Hashable],
    *,
    n_boot: int = 2000,
    seed: int = 0,
) -> Interval:
    """By how much the rank correlation is above that of a baseline on the same rows.

    Parameters
    ----------
    scores, baseline : array_like of shape (n,)
        Scores measured and scores to beat, both higher for what should be judged better.
    judgements : array_like of shape (n,)
        What people said.
    groups, n_boot, seed
        As in `spearman`.

    Returns
    -------
    Interval
        Between -2 and 2; the baseline is beaten where `low` is above 0.

    Raises
    ------
    InputError
        As `spearman`.
    """
    judged = _column("judgements", judgements, groups)
    ours = _rank_correlation(_column("scores", scores, groups), judged)
    theirs = _rank_correlation(_column("baseline", baseline, groups), judged)
    return _bootstrap(lambda drawn: ours(drawn) - theirs(drawn), groups, n_boot, seed)


def same_length(
    a_lengths: ArrayLike, b_lengths: ArrayLike, tolerance: float = 0.2
) -> NDArray[np.bool_]:
    """Find the pairs in which length can decide little.

    Parameters
    ----------
    a_lengths, b_lengths : array_like of shape (n,)
        Lengths of the two responses of each pair, in any unit; not negative.
    tolerance : float
        Share of the longer one that the difference stays below.

    Returns
    -------
    ndarray of bool, shape (n,)
        True also for two of equal length, be it 0.
    """
    a, b = np.asarray(a_lengths, dtype=np.float64), np.asarray(b_lengths, dtype=np.float64)
    mask: NDArray[np.bool_] = (a == b) | (np.abs(a - b) < tolerance * np.maximum(a, b))
    return mask


def _column(name: str, values: ArrayLike, groups: Sequence[Hashable]) -> Floats:
    column = np.asarray(values, dtype=np.float64)
    if column.shape != (len(groups),):
        raise InputError(
            f"{name} of shape {column.shape} came, one number for each of the {len(groups)} "
            "groups named was wanted; give one value and one group for each row"
        )
    undefined = int(np.isnan(column).sum())
    if undefined:
        raise InputError(
            f"{name} is NaN in {undefined} of {len(column)} rows, where numbers were wanted; "
            "leave these rows out and say how many"
        )
    return column


def _credit(name: str, margin: ArrayLike, groups: Sequence[Hashable]) -> Floats:
    """1 for a right pair, 0 for a wrong one, 1/2 for a tie."""
    credit: Floats = (np.sign(_column(name, margin, groups)) + 1.0) / 2.0
    return credit


def _weighted_mean(values: Floats) -> Statistic:
    def statistic(drawn: Floats) -> Floats:
        means: Floats = values @ drawn / drawn.sum(axis=0)
        return means

    return statistic


def _rank_correlation(x: Floats, y: Floats) -> Statistic:
    """Spearman's coefficient of rows that count as often as they were drawn."""
    ranks_of_x, ranks_of_y = _centred_ranks(x), _centred_ranks(y)

    def statistic(drawn: Floats) -> Floats:
        a, b = ranks_of_x(drawn), ranks_of_y(drawn)
        weighted = drawn * a
        products = (weighted * b).sum(axis=0)
        # Ranks are multiples of a half and their sums exact, so equal values give exactly 0.
        spread = np.sqrt((weighted * a).sum(axis=0)) * np.sqrt((drawn * b * b).sum(axis=0))
        undefined = np.full_like(spread, np.nan)
        coefficients: Floats = np.divide(products, spread, out=undefined, where=spread > 0)
        return coefficients

    return statistic


def _centred_ranks(values: Floats) -> Statistic:
    """Rank rows among those drawn, equal values at the mean of their ranks, less the mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    order = np.argsort(inverse, kind="stable")
    starts = np.cumsum(counts) - counts

    def ranks(drawn: Floats) -> Floats:
        totals = np.add.reduceat(drawn[order], starts, axis=0)
        below = np.cumsum(totals, axis=0) - totals
        centred: Floats = below + (totals - totals.sum(axis=0)) / 2.0
        return centred[inverse]

    return ranks


def _bootstrap(
    statistic: Statistic, groups: Sequence[Hashable], n_boot: int, seed: int
) -> Interval:
    n = len(groups)
    value = float(statistic(np.ones((n, 1)))[0]) if n else np.nan
    codes: dict[Hashable, int] = {}
    rows = np.array([codes.setdefault(group, len(codes)) for group in groups], dtype=np.int64)
    if np.isnan(value) or len(codes) < 2:
        return Interval(value, np.nan, np.nan)
    draws = np.concatenate([statistic(drawn) for drawn in _draws(rows, len(codes), n_boot, seed)])
    defined = draws[~np.isnan(draws)]
    low, high = np.percentile(defined, _PERCENTILES) if len(defined) else (np.nan, np.nan)
    return Interval(value, float(low), float(high))


def _draws(rows: NDArray[np.int64], n_groups: int, n_boot: int, seed: int) -> Iterator[Floats]:
    """How often each row is drawn, (n, n_draws), for some draws of groups after the others."""
    rng = np.random.default_rng(seed)
    together = max(1, _TOGETHER // len(rows))
    for begin in range(0, n_boot, together):
        n_draws = min(together, n_boot - begin)
        drawn = rng.integers(n_groups, size=(n_draws, n_groups))
        # One count for all draws: a group's place in the second draw comes after the first's.
        places = drawn * n_draws + np.arange(n_draws)[:, None]
        counts = np.bincount(places.ravel(), minlength=n_groups * n_draws)
        yield counts.reshape(n_groups, n_draws).astype(np.float64)[rows]
