"""Score frames for the tests of this room."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from instructmining.selection.budget import Budget
from instructmining.selection.select import Selection, select_rows


def make_frame(
    nll: Sequence[float | None],
    *,
    texts: Sequence[int] | None = None,
    lengths: Sequence[float | None] | None = None,
    flags: Sequence[Sequence[str]] | None = None,
) -> pl.DataFrame:
    """Build a score frame; rows with equal `texts` are exact duplicates."""
    n = len(nll)
    return pl.DataFrame(
        {
            "row": np.arange(n, dtype=np.int64),
            "example": [f"{text:032x}" for text in (texts if texts is not None else range(n))],
            "nll": pl.Series(nll, dtype=pl.Float64),
            "len": pl.Series(lengths if lengths is not None else [10.0] * n, dtype=pl.Float64),
            "flags": pl.Series(
                [list(f) for f in flags] if flags is not None else [[]] * n,
                dtype=pl.List(pl.String),
            ),
        }
    )


def select_by_nll(frame: pl.DataFrame, budget: Budget) -> Selection:
    """Select with the rule `predicted = 1 + 0.5 nll`."""
    values = frame["nll"].fill_null(np.nan).to_numpy()
    mean = np.nanmean(values) if np.isfinite(values).any() else 0.0
    contributions = pl.DataFrame({"nll": 0.5 * (values - mean)})
    predicted = (1 + 0.5 * mean) + contributions["nll"].to_numpy()
    return select_rows(frame, predicted, budget, contributions=contributions, rule_columns=["nll"])
