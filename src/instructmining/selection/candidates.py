"""Which rows of a score table can be kept at all, and what a decisions table shows of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from instructmining.scoring.table import FIXED_COLUMNS
from instructmining.selection.budget import Budget, Tokens
from instructmining.selection.intervals import Interval, columns_of
from instructmining.selection.overlaps import Overlaps
from instructmining.selection.reasons import UNSCORED

CONTRIBUTION = "contribution:"
VALUE = "value:"


def needed_columns(
    rule_columns: Sequence[str], budget: Budget, intervals: Sequence[Interval]
) -> list[str]:
    """Return the columns that a row must have a value in to be kept."""
    counted = ["len"] if isinstance(budget, Tokens) else []
    return [*rule_columns, *counted, *columns_of(intervals)]


def closed_reasons(
    frame: pl.DataFrame,
    predicted: np.ndarray,
    needed: Sequence[str],
    place: np.ndarray | None,
    overlaps: Overlaps | None,
    intervals: Sequence[Interval] = (),
) -> pl.Series:
    """Return why rows cannot be kept, each by itself; null for those that may be.

    Parameters
    ----------
    frame : polars.DataFrame
        The frame of a score table, n rows.
    predicted : ndarray, shape (n,)
        Predicted log loss.
    needed : sequence of str
        Columns that have to have a value.
    place : ndarray of int, shape (n,), optional
        Place of each row's embedding, below 0 without one; where rows have to have one.
    overlaps : Overlaps, optional
        Rows that overlap an evaluation file; where that was looked for.
    intervals : sequence of Interval
        What values columns may have.
    """
    reasons: list[Any] = [_unscored(frame, predicted, needed, place)]
    reasons += [one.outside for one in intervals]
    if overlaps is not None:
        reasons.insert(0, overlaps.barred(frame["row"]))
    return frame.select(pl.coalesce(reasons).alias("reason"))["reason"]


def _unscored(
    frame: pl.DataFrame, predicted: np.ndarray, needed: Sequence[str], place: np.ndarray | None
) -> pl.Series:
    """Return ``unscored:<column>`` for rows that cannot be ranked, null for the others."""
    causes = []
    for name in dict.fromkeys(needed):
        defined = pl.col(name).cast(pl.Float64).is_finite().fill_null(value=False)
        causes.append(pl.when(~defined).then(pl.lit(UNSCORED + name)))
    indicators = [name for name in frame.columns if name not in FIXED_COLUMNS]
    if indicators:
        # A row nobody could read must not be chosen by a method that looks at no column.
        empty = pl.all_horizontal(pl.col(indicators).is_null()) & (pl.col("flags").list.len() > 0)
        causes.append(pl.when(empty).then(pl.lit(UNSCORED + "response")))
    finite = pl.Series(np.isfinite(predicted))
    causes.append(pl.when(~finite).then(pl.lit(UNSCORED + "predicted")))
    if place is not None:
        causes.append(pl.when(pl.Series(place < 0)).then(pl.lit(UNSCORED + "embedding")))
    return frame.select(pl.coalesce(causes).cast(pl.String).alias("reason"))["reason"]


def finite(values: np.ndarray) -> pl.Series:
    """Return numbers as a column, null where they are not finite."""
    return pl.Series(np.where(np.isfinite(values), values, np.nan)).fill_nan(None)


def value_columns(
    frame: pl.DataFrame,
    contributions: pl.DataFrame | None,
    rule_columns: Sequence[str],
    intervals: Sequence[Interval] = (),
) -> pl.DataFrame:
    """Return ``value:`` and ``contribution:`` columns, float64 with null for undefined."""
    shown = dict.fromkeys([*rule_columns, *columns_of(intervals)])
    columns = [frame[name].alias(VALUE + name) for name in shown]
    if contributions is not None:
        columns += [contributions[name].alias(CONTRIBUTION + name) for name in rule_columns]
    table = pl.DataFrame([column.cast(pl.Float64) for column in columns])
    return table.select(pl.when(pl.all().is_finite()).then(pl.all()))


def in_order(decisions: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of a decisions table, in the order they are written in."""
    return decisions.select(
        "row", "example", "kept", "rank", "predicted", pl.col(f"^({VALUE}|{CONTRIBUTION}).*$"),
        pl.col("^group$"), pl.col("^overlap$"), "reason", "flags",
    )  # fmt: skip
