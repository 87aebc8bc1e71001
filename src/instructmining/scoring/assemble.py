"""From the values of distinct rows to the table of all rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from instructmining.scoring.digests import as_series
from instructmining.scoring.flags import NONE, FlagCodes
from instructmining.scoring.rows import PoolIndex
from instructmining.scoring.table import Definition, ScoreTable


@dataclass(frozen=True)
class Filled:
    """One finished column over the `m` distinct scorable rows.

    Parameters
    ----------
    values : ndarray of float64, shape (m,)
        NaN where undefined.
    definition : dict
        What they depend on.
    flags : ndarray of int32, shape (m,)
        Codes of the flags its pass gave.
    """

    values: np.ndarray
    definition: Definition
    flags: np.ndarray


def assemble(
    index: PoolIndex,
    filled: Mapping[str, Filled],
    codes: FlagCodes,
    recorded: Mapping[str, Any],
) -> ScoreTable:
    """Spread the values over all rows of a pool, in input order, with every flag."""
    scorable = index.scorable
    place = index.position[scorable]
    columns = [
        pl.Series("row", np.arange(len(index), dtype=np.int64)),
        as_series(index.digests).alias("example"),
    ]
    for name, column in filled.items():
        spread = np.full(len(index), np.nan)
        spread[scorable] = column.values[place]
        columns.append(pl.Series(name, spread, dtype=pl.Float64).fill_nan(None))
    flags = _all_flags(index, _scoring_flags(len(index.first), filled, codes), codes)
    columns.append(codes.series(flags).alias("flags"))
    definitions = {name: column.definition for name, column in filled.items()}
    return ScoreTable(pl.DataFrame(columns), definitions, recorded)


def _all_flags(index: PoolIndex, scored: np.ndarray, codes: FlagCodes) -> np.ndarray:
    """Return of every row the codes of reading, then of scoring, then of being a duplicate."""
    of_scoring = np.full(len(index), NONE, dtype=np.int32)
    of_scoring[index.scorable] = scored[index.position[index.scorable]]
    flags = codes.join(index.flags, of_scoring)
    flags = codes.join(flags, np.where(index.duplicate, codes.code(["duplicate"]), NONE))
    flags[~index.scorable & (flags == NONE)] = codes.code(["empty_response"])
    return flags


def _scoring_flags(m: int, filled: Mapping[str, Filled], codes: FlagCodes) -> np.ndarray:
    """Return the codes of passes, and one for each undefined value they do not explain."""
    found = np.full(m, NONE, dtype=np.int32)
    for name, column in filled.items():
        unexplained = np.isnan(column.values) & (column.flags == NONE)
        own = np.where(unexplained, codes.code([f"undefined:{name}"]), column.flags)
        found = codes.join(found, own)
    return found
