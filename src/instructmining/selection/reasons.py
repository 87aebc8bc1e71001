"""Reason codes of a selection; every row of a pool has exactly one."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

SELECTED = "selected"
#: The budget ended before the row: every row kept is ranked better.
BUDGET = "budget"
#: The row's group had its share: some row kept, of another group, is ranked worse.
QUOTA = "quota"
#: Followed by the kept row that this one is too near to.
NEAR = "near:"
#: Followed by the first row of the same content.
DUPLICATE = "duplicate_of:"
#: Followed by the way in which the row overlaps an evaluation file; also a flag of one let compete.
OVERLAP = "overlap:"
#: Followed by the column whose value is not between the bounds asked for.
OUTSIDE = "outside:"
#: Followed by what the row lacks.
UNSCORED = "unscored:"

#: Prefixes that name a row, and what such reasons are counted as.
_COUNTED_AS = {DUPLICATE: "duplicate", NEAR: "near"}


def count_reasons(decisions: pl.DataFrame) -> dict[str, int]:
    """Count rows by reason, most frequent first.

    Those that name another row are counted together, as ``duplicate`` and as ``near``.
    """
    kind = pl.col("reason")
    for prefix, word in _COUNTED_AS.items():
        kind = pl.when(pl.col("reason").str.starts_with(prefix)).then(pl.lit(word)).otherwise(kind)
    counts = (
        decisions.select(kind.alias("reason"))
        .group_by("reason")
        .len()
        .sort(["len", "reason"], descending=[True, False])
    )
    return dict(counts.iter_rows())


def count_beginning(reasons: Mapping[str, int], prefix: str) -> int:
    """Add up the rows whose reason begins with a prefix, in what `count_reasons` gives."""
    return sum(n for reason, n in reasons.items() if reason.startswith(prefix))
