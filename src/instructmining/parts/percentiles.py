"""Percentiles of numbers that lie in many places: exact, in two rounds of small answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

#: Values a part tells of a column, at even steps of its sorted values.
_TOLD = 1_024


@dataclass(frozen=True)
class Sketch:
    """Every `step`-th of the `n` sorted values of a part, from the lowest on, and the highest.

    Parameters
    ----------
    values : ndarray of float64, shape (m,)
        Ascending; empty where the part has none.
    n, step : int
        Number of values, and how far apart those told are.
    """

    values: np.ndarray
    n: int
    step: int

    @classmethod
    def of(cls, values: np.ndarray) -> Sketch:
        """Tell of the finite ones of some values."""
        known = np.sort(values[np.isfinite(values)])
        step = max(1, -(-len(known) // _TOLD))
        told = known[::step]
        return cls(np.append(told, known[-1:]), len(known), step)

    def below(self, value: float) -> int:
        """Return how many values are below one, at most."""
        # Between the last of those told that is below and the next lie less than a step.
        return min(self.n, int(np.searchsorted(self.values[:-1], value, "left")) * self.step)

    def up_to(self, value: float) -> int:
        """Return how many values are at most one, at least."""
        if self.n and value >= self.values[-1]:
            return self.n
        told = int(np.searchsorted(self.values[:-1], value, "right"))
        return (told - 1) * self.step + 1 if told else 0


#: Between which two values, both included, an order statistic lies.
Bracket = tuple[float, float]


@dataclass(frozen=True)
class Within:
    """A part's values within a bracket.

    Parameters
    ----------
    below : int
        Number of its values below the bracket.
    values : ndarray of float64, shape (m,)
        Distinct values within, ascending.
    counts : ndarray of int64, shape (m,)
        How often each is there.
    """

    below: int
    values: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, bracket: Bracket) -> Within:
        """Find the finite ones of some values that lie within a bracket."""
        known = values[np.isfinite(values)]
        low, high = bracket
        inside = known[(known >= low) & (known <= high)]
        return cls(int((known < low).sum()), *np.unique(inside, return_counts=True))


def bracket(sketches: Sequence[Sketch], percentile: float) -> Bracket:
    """Return between which values the two lie that a percentile is interpolated from.

    Parameters
    ----------
    sketches : sequence of Sketch
        One a part, with a value at least in one of them.
    percentile : float
        0 to 100.
    """
    first, _ = _place(sum(one.n for one in sketches), percentile)
    told = np.unique(np.concatenate([one.values for one in sketches]))
    # Both conditions hold up to some value, or from one on.
    low = _last(told, lambda value: sum(one.below(value) for one in sketches) <= first)
    last = min(first + 1, sum(one.n for one in sketches) - 1)
    high = _last(told, lambda value: sum(one.up_to(value) for one in sketches) <= last) + 1
    return float(told[low]), float(told[min(high, len(told) - 1)])


def interpolate(found: Sequence[Within], n: int, percentile: float) -> float:
    """Return a percentile of `n` values, the one `numpy.percentile` gives, to the last bit.

    Parameters
    ----------
    found : sequence of Within
        One a part, within the bracket of this percentile.
    n : int
        Number of all values.
    percentile : float
        0 to 100.
    """
    first, share = _place(n, percentile)
    values, inverse = np.unique(np.concatenate([one.values for one in found]), return_inverse=True)
    counts = np.zeros(len(values), dtype=np.int64)
    np.add.at(counts, inverse, np.concatenate([one.counts for one in found]))
    ends = sum(one.below for one in found) + np.cumsum(counts)
    low, high = values[np.searchsorted(ends, [first, min(first + 1, n - 1)], "right")]
    step = high - low
    # As numpy does it: from the nearer end.
    return float(low + step * share if share < 0.5 else high - step * (1 - share))


def _place(n: int, percentile: float) -> tuple[int, float]:
    """Return the position of the lower of the two values, and how far on the percentile is."""
    place = (n - 1) * np.true_divide(percentile, 100.0)
    return int(np.floor(place)), float(place - np.floor(place))


def _last(values: np.ndarray, holds: Callable[[float], bool]) -> int:
    """Return the last position for which something holds that holds up to there; -1 for none."""
    begin, end = 0, len(values)
    while begin < end:
        middle = (begin + end) // 2
        if holds(float(values[middle])):
            begin = middle + 1
        else:
            end = middle
    return begin - 1
