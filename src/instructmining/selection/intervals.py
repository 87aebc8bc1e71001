"""Between which values of a column rows may be kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import polars as pl

from instructmining.errors import InputError
from instructmining.selection.reasons import OUTSIDE

#: As a user gives them: ``"nat=-3:"``, several of these, or ``{"nat": (-3, None)}``.
Given: TypeAlias = "str | Sequence[str] | Mapping[str, tuple[float | None, float | None]]"


@dataclass(frozen=True)
class Interval:
    """The values of a column that rows kept may have.

    Parameters
    ----------
    column : str
        An indicator.
    low, high : float
        Both included; infinite where there is no bound.

    Raises
    ------
    InputError
        If no number lies between them, or every number does.
    """

    column: str
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if not self.low <= self.high or self.low == math.inf or self.high == -math.inf:
            raise InputError(f"{self}: no value lies there; give LOW:HIGH with LOW at most HIGH")
        if math.isinf(self.low) and math.isinf(self.high):
            raise InputError(f"{self}: every value lies there; give a bound, such as -3: or :1")

    def __str__(self) -> str:
        bounds = ("" if math.isinf(bound) else f"{bound:g}" for bound in (self.low, self.high))
        return f"{self.column}={':'.join(bounds)}"

    @property
    def outside(self) -> pl.Expr:
        """Reason of the rows of a score table that lie outside; null for all others."""
        value = pl.col(self.column)
        beyond = (value < self.low) | (value > self.high)
        return pl.when(beyond).then(pl.lit(OUTSIDE + self.column)).cast(pl.String)

    def to_json(self) -> list[float | None]:
        """Return its bounds, None where there is none."""
        return [None if math.isinf(bound) else bound for bound in (self.low, self.high)]


def parse_intervals(given: Given | None) -> tuple[Interval, ...]:
    """Read intervals, one a column.

    Parameters
    ----------
    given : str, sequence of str, mapping of str to (float or None, float or None), or None
        ``"nat=-3:"``, ``"ifd=:1"`` and ``"len_out=10:400"``, or the bounds by column.

    Raises
    ------
    InputError
        If one cannot be read, or two are of the same column.
    """
    if isinstance(given, Mapping):
        return tuple(
            Interval(name, _bound(low, -math.inf), _bound(high, math.inf))
            for name, (low, high) in given.items()
        )
    texts = [given] if isinstance(given, str) else given or ()
    found = tuple(_parse(text) for text in texts)
    columns = [one.column for one in found]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise InputError(f"{twice[0]} came with two intervals; give one, {twice[0]}=LOW:HIGH")
    return found


def bounds_of(intervals: Iterable[Interval]) -> dict[str, list[float | None]]:
    """Return the bounds by column, as they are written down beside a selection."""
    return {one.column: one.to_json() for one in intervals}


def columns_of(intervals: Iterable[Interval]) -> list[str]:
    """Return the columns that have one."""
    return [one.column for one in intervals]


def _bound(given: float | None, default: float) -> float:
    return default if given is None else float(given)


def _parse(text: str) -> Interval:
    column, _, bounds = text.partition("=")
    low, colon, high = bounds.partition(":")
    try:
        if not column.strip() or not colon:
            raise ValueError
        ends = [float(end) if end.strip() else None for end in (low, high)]
    except ValueError:
        raise InputError(
            f"{text!r}: wanted COLUMN=LOW:HIGH, either bound left out where there is none, "
            "such as nat=-3: or ifd=:1"
        ) from None
    return Interval(column.strip(), _bound(ends[0], -math.inf), _bound(ends[1], math.inf))
