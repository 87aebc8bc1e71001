"""What a reader of a selection must know, one sentence each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from instructmining.selection.budget import Budget
from instructmining.selection.intervals import Interval
from instructmining.selection.reasons import (
    BUDGET,
    OUTSIDE,
    QUOTA,
    SELECTED,
    UNSCORED,
    count_beginning,
)
from instructmining.selection.spacing import Spacing

#: Groups named in one note.
_LISTED = 5


@dataclass(frozen=True)
class RankedTokens:
    """What the ranked rows of a pool have of tokens: the best one, and all."""

    best: int
    total: int

    @classmethod
    def of(cls, lengths: np.ndarray | None) -> RankedTokens | None:
        """Sum up the lengths of the ranked rows, best row first; None for none."""
        if lengths is None:
            return None
        return cls(int(lengths[0]) if len(lengths) else 0, int(lengths.sum()))


def budget_notes(
    reasons: Mapping[str, int],
    budget: Budget,
    asked: int,
    tokens: RankedTokens | None,
    distance: float | None,
) -> tuple[str, ...]:
    """Say where a budget was not filled, and why.

    Parameters
    ----------
    reasons : mapping of str to int
        Rows of the pool by reason, as `count_reasons` gives them.
    budget : Rows, Fraction or Tokens
        What was asked for.
    asked : int
        The same in rows.
    tokens : RankedTokens or None
        Of the ranked rows, where the budget is in tokens.
    distance : float or None
        Least distance of two rows kept, where there is one.
    """
    kept, near = reasons.get(SELECTED, 0), reasons.get("near", 0)
    waiting = reasons.get(BUDGET, 0) + reasons.get(QUOTA, 0)
    causes = []
    if distance is not None and near:
        causes.append(
            f"the other {near:,} that can be kept are nearer than {distance:g} to one of these"
        )
    if tokens is not None:
        if reasons.get(BUDGET) and not kept:
            return (
                f"nothing kept: the best row alone has {tokens.best:,} tokens, "
                f"more than the budget of {budget}",
            )
        if waiting:
            return ()
        if causes:
            return (f"asked for {budget}; kept {kept:,} rows: {causes[0]}",)
        return (f"asked for {budget}; kept all {kept:,} rows that can be kept: {tokens.total:,}",)
    if asked <= kept:
        return ()
    if waiting:
        causes.append(f"{waiting:,} are of groups whose share is 0")
    unscored, outside = (count_beginning(reasons, kind) for kind in (UNSCORED, OUTSIDE))
    beyond = f", {outside:,} outside an interval" if outside else ""
    what = f"{kept:,}: {'; '.join(causes)}" if causes else f"all {kept:,} that can be kept"
    return (
        f"asked for {asked:,} rows; kept {what} (pool of {sum(reasons.values()):,}: "
        f"{reasons.get('duplicate', 0):,} duplicates, {unscored:,} unscored{beyond})",
    )


def interval_notes(
    reasons: Mapping[str, int], intervals: Sequence[Interval], n_rows: int
) -> tuple[str, ...]:
    """Say how many rows each interval keeps out that nothing before it does.

    Parameters
    ----------
    reasons : mapping of str to int
        Rows of the pool by reason.
    intervals : sequence of Interval
        What was asked of columns.
    n_rows : int
        All rows of the pool.
    """
    found = (f"{reasons.get(OUTSIDE + one.column, 0):,} at {one}" for one in intervals)
    return (f"never kept of {n_rows:,} rows, for a value outside: {', '.join(found)}",)


def spacing_notes(spacing: Spacing, place: np.ndarray) -> tuple[str, ...]:
    """Say of how many rows dropped as too near not the whole text was compared.

    Parameters
    ----------
    spacing : Spacing
        Distance and embeddings.
    place : ndarray of int, shape (k,)
        Embeddings of the rows dropped as too near.
    """
    cut = 0 if spacing.partial is None else int(spacing.partial[place].sum())
    if not cut:
        return ()
    return (
        f"{cut:,} of the {len(place):,} rows dropped as too near are longer than the encoder "
        "reads: only their beginnings were compared",
    )


def quota_notes(column: str, groups: Sequence[Mapping[str, Any]], unit: str) -> tuple[str, ...]:
    """Say where groups could not fill their share, or there was nothing to share.

    Parameters
    ----------
    column : str
        Column of the quota.
    groups : sequence of dict
        As `Groups.account` gives them.
    unit : str
        ``"rows"`` or ``"tokens"``.
    """
    if len(groups) == 1:
        return (f"quota of {column}: every row is of the same group; nothing to share",)
    found = []
    short = [one for one in groups if one["kept"] == one["can_be_kept"] - one["near"]]
    short = [one for one in short if one["spent"] < one["share"]]
    if short:
        listed = ", ".join(
            f"{_name(one)} {one['spent']:,} of {one['share']:,}" for one in short[:_LISTED]
        )
        more = f" and {len(short) - _LISTED:,} more groups" if len(short) > _LISTED else ""
        found.append(
            f"quota of {column}: not enough {unit} for the share of {listed}{more}; "
            "what they left went to the others"
        )
    none = sum(1 for one in groups if not one["share"] and one["weight"])
    if none:
        found.append(f"quota of {column}: the budget has nothing for {none:,} small groups")
    return tuple(found)


def _name(group: Mapping[str, Any]) -> str:
    return "(none)" if group["group"] is None else str(group["group"])


def overlap_notes(n: int, n_rows: int, kept: int | None) -> tuple[str, ...]:
    """Say how many rows overlap an evaluation file.

    Parameters
    ----------
    n, n_rows : int
        Rows that do, and all of the pool.
    kept : int or None
        How many of them are kept, where they are flagged; None where they are dropped.
    """
    if not n:
        return ("no row overlaps an evaluation file",)
    said = f"{n:,} of {n_rows:,} rows overlap an evaluation file and are"
    if kept is None:
        return (f"{said} never kept",)
    return (f"{said} flagged: {kept:,} of them are kept",)
