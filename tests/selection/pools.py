"""Score frames for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import polars as pl

from instructmining.selection.budget import Budget
from instructmining.selection.intervals import Given, parse_intervals
from instructmining.selection.quota import Groups, group_rows, parse_quota
from instructmining.selection.select import Limits, Selection, select_rows
from instructmining.selection.spacing import Spacing


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


def select_by_nll(
    frame: pl.DataFrame,
    budget: Budget,
    spacing: Spacing | None = None,
    groups: Groups | None = None,
    within: Given = (),
) -> Selection:
    """Select with the rule `predicted = 1 + 0.5 nll`."""
    values = frame["nll"].fill_null(np.nan).to_numpy()
    mean = np.nanmean(values) if np.isfinite(values).any() else 0.0
    contributions = pl.DataFrame({"nll": 0.5 * (values - mean)})
    predicted = (1 + 0.5 * mean) + contributions["nll"].to_numpy()
    return select_rows(
        frame,
        predicted,
        budget,
        contributions=contributions,
        rule_columns=["nll"],
        limits=Limits(spacing, groups, intervals=parse_intervals(within)),
    )


def near_rows(selection: Selection) -> dict[int, int]:
    """Return, of each row dropped as too near, the row its reason names."""
    near = selection.decisions.filter(pl.col("reason").str.starts_with("near:"))
    return dict(near.select("row", pl.col("reason").str.slice(5).cast(pl.Int64)).iter_rows())


def at_angles(*degrees: float) -> np.ndarray:
    """Return unit vectors of the plane; a degree apart is a distance of 0.01745."""
    turned = np.radians(degrees)
    return np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)


def clustered(n: int, centres: int, width: float, *, seed: int = 0, d: int = 16) -> np.ndarray:
    """Return `n` unit vectors, drawn around some centres."""
    rng = np.random.default_rng(seed)
    middle = rng.normal(size=(centres, d))[rng.integers(0, centres, n)]
    rows = middle + width * rng.normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def grouped(names: Sequence[object], quota: str = "task") -> Groups:
    """Return the groups of records whose column ``task`` has these values."""
    return group_rows([{"task": name} for name in names], parse_quota(quota))


def shared_by_hand(total: int, weights: Sequence[Fraction], over: Sequence[int]) -> dict[int, int]:
    """Share a whole number over some groups by largest remainders."""
    whole = sum(weights[g] for g in over)
    exact = {g: total * weights[g] / whole for g in over}
    parts = {g: int(exact[g]) for g in over}
    by_remainder = sorted(over, key=lambda g: (parts[g] - exact[g], -weights[g], g))
    for g in by_remainder[: total - sum(parts.values())]:
        parts[g] += 1
    return parts


def chosen_by_hand(
    budget: int,
    costs: Sequence[int],
    *,
    vectors: np.ndarray | None = None,
    distance: float = 0.0,
    of: Sequence[int] | None = None,
    weights: Sequence[Fraction] = (Fraction(1),),
) -> tuple[list[int], dict[int, int]]:
    """Choose from a ranking, row by row and pair by pair, as the documentation says.

    Returns
    -------
    list of int, dict
        Positions kept, ascending; of each position dropped as too near, the kept one.
    """
    group = list(of) if of is not None else [0] * len(costs)
    kept: list[int] = []
    near: dict[int, int] = {}

    def too_near(row: int) -> int | None:
        if vectors is None:
            return None
        wide = vectors.astype(np.float64)
        measured = [(float(np.sqrt(((wide[row] - wide[k]) ** 2).sum())), k) for k in kept]
        found = min(measured, default=(np.inf, -1))
        return found[1] if found[0] < distance else None

    def waiting(g: int | None = None) -> list[int]:
        left = [i for i in range(len(costs)) if i not in kept and i not in near]
        left = [i for i in left if weights[group[i]] > 0]
        return [i for i in left if g is None or group[i] == g]

    def walk(purse: dict[int, int], purse_of: Callable[[int], int]) -> None:
        ended = {g for g, money in purse.items() if money <= 0}
        for row in waiting():
            g = purse_of(row)
            if g in ended:
                continue
            other = too_near(row)
            if other is not None:
                near[row] = other
            elif costs[row] > purse[g]:
                ended.add(g)
            else:
                kept.append(row)
                purse[g] -= costs[row]
                if purse[g] == 0:
                    ended.add(g)

    purse = shared_by_hand(budget, weights, range(len(weights)))
    while True:
        walk(purse, lambda row: group[row])
        others = [g for g in purse if waiting(g)]
        free = sum(money for g, money in purse.items() if g not in others)
        if not free or not others:
            break
        more = shared_by_hand(free, weights, others)
        purse = {g: purse[g] + more[g] if g in others else 0 for g in purse}
    walk({-1: sum(purse.values())}, lambda row: -1)
    return sorted(kept), near
