"""Share a budget over a ranking that lies in ranges: the same rows as `selection.choose` keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from instructmining.parts.ranking import Range, places_of
from instructmining.selection.budget import Budget, Tokens, resolve
from instructmining.selection.choose import hand_over
from instructmining.selection.quota import Shares, apportion

#: Group and cost of each row of a range, best row first.
Rows = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Verdict:
    """Which rows of a ranking are kept.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_ranges,)
        Rows in the ranges before each.
    group_offsets : ndarray of int64, shape (n_ranges, n_groups)
        The same by group.
    taken : ndarray of int64, shape (n_groups,)
        How many of each group's best rows are kept.
    extra : ndarray of int64, shape (n_extra,)
        Ranks, from 0, of rows kept besides.
    barred : ndarray of bool, shape (n_groups,)
        Groups whose share is 0.
    last : int
        The worst rank kept, from 0; -1 if nothing is.
    allowances : tuple of int
        What each group was given of the budget at first; empty without groups.
    spent, kept : ndarray of int64, shape (n_groups,)
        What each used at last, and rows kept of it.
    """

    offsets: np.ndarray
    group_offsets: np.ndarray
    taken: np.ndarray
    extra: np.ndarray
    barred: np.ndarray
    last: int
    allowances: tuple[int, ...]
    spent: np.ndarray
    kept: np.ndarray

    def keeps(self, rank: np.ndarray, group: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Say which rows are kept.

        Parameters
        ----------
        rank, group, place : ndarray of int, shape (k,)
            Rank from 0, group, and place among the ranked rows of the group.
        """
        kept: np.ndarray = (place < self.taken[group]) | np.isin(rank, self.extra)
        return kept

    def passes_over(self, rank: np.ndarray, group: np.ndarray) -> np.ndarray:
        """Say which rows, if they are not kept, lost to the quota; see `selection.choose`."""
        passed_over: np.ndarray = (rank < self.last) | self.barred[group]
        return passed_over


class Ledger:
    """What the ranges of a ranking hold of each group.

    Totals are here; the rows of a range are read where a budget ends within it.

    Parameters
    ----------
    ranges : sequence of Range
        Best range first.
    read : callable
        Gives group and cost of the rows of a range by its number; every cost is at least 1.
    """

    def __init__(self, ranges: Sequence[Range], read: Callable[[int], Rows]) -> None:
        self._rows = np.stack([one.rows for one in ranges])
        self._costs = np.stack([one.costs for one in ranges])
        self._starts = np.cumsum(self._rows, axis=0) - self._rows
        in_range = self._rows.sum(axis=1)
        self._offsets = np.cumsum(in_range) - in_range
        self._read = read

    @property
    def rows(self) -> np.ndarray:
        """Ranked rows of each group, int64, shape (n_groups,)."""
        rows: np.ndarray = self._rows.sum(axis=0)
        return rows

    @property
    def cost(self) -> int:
        """What all ranked rows would take."""
        return int(self._costs.sum())

    @property
    def best(self) -> int:
        """What the best row takes; 0 without one."""
        filled = np.flatnonzero(self._rows.sum(axis=1))
        return int(self._read(int(filled[0]))[1][0]) if len(filled) else 0

    def settle(self, budget: Budget, pool_rows: int, shares: Shares | None) -> Verdict:
        """Return which rows a budget keeps.

        Parameters
        ----------
        budget : Rows, Fraction or Tokens
            What was asked for.
        pool_rows : int
            Rows of the pool, those that cannot be kept included.
        shares : Shares or None
            How groups share it.
        """
        total = budget.n if isinstance(budget, Tokens) else resolve(budget, pool_rows)
        spending = _Spending(self.rows)
        if shares is None or not shares.names:
            spending.take(0, *self._fitting(0, 0, total))
        else:
            self._share(spending, total, shares.weights())
        return Verdict(
            offsets=self._offsets,
            group_offsets=self._starts,
            taken=spending.taken,
            extra=spending.extra,
            barred=spending.barred,
            last=self._last(spending),
            allowances=spending.allowances,
            spent=spending.spent,
            kept=spending.kept,
        )

    def _share(self, spending: _Spending, total: int, weights: list[Fraction]) -> None:
        """Spend each group's part, share what is freed, in rounds, and spend the rest."""
        spending.barred = np.asarray([not weight for weight in weights])
        left = apportion(total, weights)
        spending.allowances = tuple(left)
        while True:
            for group in np.flatnonzero(spending.waiting).tolist():
                n, cost = self._fitting(group, int(spending.taken[group]), left[group])
                spending.take(group, n, cost)
                left[group] -= cost
            if not hand_over(left, weights, spending.waiting.tolist()):
                break
        self._spend_rest(spending, sum(left))

    def _fitting(self, group: int, start: int, left: int) -> tuple[int, int]:
        """Return how many rows of a group, from a place on, fit into a budget; and their cost."""
        n = cost = 0
        starts = self._starts[:, group]
        for number in range(int(np.searchsorted(starts, start, "right")) - 1, len(starts)):
            skipped = start + n - int(starts[number])
            whole = int(self._costs[number, group])
            if not skipped and cost + whole <= left:
                n, cost = n + int(self._rows[number, group]), cost + whole
                continue
            of, costs = self._read(number)
            ahead = np.cumsum(costs[of == group][skipped:])
            fit = int(np.searchsorted(ahead, left - cost, "right"))
            n, cost = n + fit, cost + (int(ahead[fit - 1]) if fit else 0)
            if fit < len(ahead):
                break
        return n, cost

    def _spend_rest(self, spending: _Spending, left: int) -> None:
        """Keep the best of the rows that wait, whatever their group, while they fit."""
        for number in range(len(self._offsets)):
            held = self._rows[number]
            if left <= 0 or not spending.waiting.any():
                return
            if not ((self._starts[number] + held > spending.taken) & (held > 0)).any():
                continue
            group, costs = self._read(number)
            place = self._starts[number][group] + places_of(group)
            waits = np.flatnonzero((place >= spending.taken[group]) & ~spending.barred[group])
            ahead = np.cumsum(costs[waits])
            fit = int(np.searchsorted(ahead, left, "right"))
            chosen = waits[:fit]
            spending.add(self._offsets[number] + chosen, group[chosen], costs[chosen])
            if fit < len(waits):
                return
            left -= int(costs[chosen].sum())

    def _last(self, spending: _Spending) -> int:
        """Return the worst rank kept, from 0; -1 if nothing is."""
        worst = int(spending.extra.max(initial=-1))
        groups = np.flatnonzero(spending.taken)
        if not len(groups):
            return worst
        number = max(
            int(np.searchsorted(self._starts[:, group], spending.taken[group], "left")) - 1
            for group in groups.tolist()
        )
        group, _ = self._read(number)
        kept = self._starts[number][group] + places_of(group) < spending.taken[group]
        return max(worst, int(self._offsets[number] + np.flatnonzero(kept).max()))


class _Spending:
    """What has been kept so far of each group."""

    def __init__(self, rows: np.ndarray) -> None:
        self._rows = rows
        self.taken = np.zeros(len(rows), dtype=np.int64)
        self.spent = np.zeros(len(rows), dtype=np.int64)
        self.barred = np.zeros(len(rows), dtype=bool)
        self.allowances: tuple[int, ...] = ()
        self.extra = np.empty(0, dtype=np.int64)
        self._extra_of = np.zeros(len(rows), dtype=np.int64)

    @property
    def kept(self) -> np.ndarray:
        """Rows kept of each group."""
        return self.taken + self._extra_of

    @property
    def waiting(self) -> np.ndarray:
        """Which groups have rows that may still be kept."""
        return (self._rows > self.taken) & ~self.barred

    def take(self, group: int, n: int, cost: int) -> None:
        """Keep the next `n` rows of a group."""
        self.taken[group] += n
        self.spent[group] += cost

    def add(self, rank: np.ndarray, group: np.ndarray, cost: np.ndarray) -> None:
        """Keep single rows."""
        self.extra = np.append(self.extra, rank)
        np.add.at(self.spent, group, cost)
        np.add.at(self._extra_of, group, 1)
