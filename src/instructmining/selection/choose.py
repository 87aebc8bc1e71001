"""Which rows of a ranking to keep, where they must be apart or share the budget by group."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from instructmining.selection.quota import Shares, apportion
from instructmining.selection.spacing import Nearby

#: Rows compared at one time.
_BLOCK = 1_024


@dataclass(frozen=True)
class Choice:
    """What became of the `m` rows of a ranking.

    Parameters
    ----------
    kept : ndarray of bool, shape (m,)
        Whether each is kept.
    near : ndarray of int, shape (m,)
        Position of the kept row that a row dropped for it is too near to; -1 for others.
    passed_over : ndarray of bool, shape (m,)
        Whether a row lost to the quota: its group had its part while a worse row of
        another was kept, or its group's share is 0.
    allowances : tuple of int
        What each group was given of the budget at first; empty without groups.
    """

    kept: np.ndarray
    near: np.ndarray
    passed_over: np.ndarray
    allowances: tuple[int, ...] = ()

    @classmethod
    def front(cls, m: int, n_kept: int) -> Choice:
        """Return the choice of the first `n_kept` rows."""
        return cls(np.arange(m) < n_kept, np.full(m, -1), np.zeros(m, dtype=bool))


def choose(
    budget: int, costs: np.ndarray, shares: Shares | None, of: np.ndarray, nearby: Nearby | None
) -> Choice:
    """Keep rows, best first, up to a budget.

    A row too near to one kept is dropped and costs nothing. The first other row that the
    rest of the budget, or of its group's part of it, is too small for ends that part: no
    shorter row is slipped in. What a group without further rows leaves is shared over the
    others in proportion to their shares, in rounds, until no group leaves anything. What
    is then left of a budget in tokens, less than a row in each group, is spent on the best
    of the rows that wait, whatever their group. A group whose share is 0 gets nothing.

    Parameters
    ----------
    budget : int
        Rows or tokens.
    costs : ndarray of int, shape (m,)
        What each row of the ranking takes of it, best row first.
    shares : Shares or None
        How groups share it.
    of : ndarray of int, shape (m,)
        Group of each row of the ranking; zeros without groups.
    nearby : Nearby or None
        Tells which rows are too near to one kept.
    """
    walk = _Walk(costs, nearby)
    if shares is None or not shares.names:
        walk.spend([budget], of)
        return Choice(walk.kept, walk.near, np.zeros(len(costs), dtype=bool))
    weights = shares.weights()
    barred = np.asarray([not weight for weight in weights])[of]
    walk.waiting &= ~barred
    allowances = apportion(budget, weights)
    left = list(allowances)
    walk.spend(left, of)
    while hand_over(left, weights, walk.waits(of, len(weights))):
        walk.spend(left, of)
    walk.spend([sum(left)], np.zeros_like(of))
    worst = np.flatnonzero(walk.kept).max(initial=-1)
    ahead = walk.waiting & (np.arange(len(costs)) < worst)
    return Choice(walk.kept, walk.near, ahead | barred, tuple(allowances))


def hand_over(left: list[int], weights: list[Fraction], waits: list[bool]) -> bool:
    """Share what groups without waiting rows have left over the others; say if it was any.

    Parameters
    ----------
    left : list of int
        What each group has left; changed.
    weights : list of Fraction
        The groups' shares.
    waits : list of bool
        Whether a group has rows that may still be kept.
    """
    freed = sum(part for part, more in zip(left, waits, strict=True) if not more)
    if not freed or not any(waits):
        return False
    given = apportion(freed, [weight * more for weight, more in zip(weights, waits, strict=True)])
    for index, part in enumerate(given):
        left[index] = left[index] + part if waits[index] else 0
    return True


class _Walk:
    """A ranking that is walked through, best row first, once or several times."""

    def __init__(self, costs: np.ndarray, nearby: Nearby | None) -> None:
        self.kept = np.zeros(len(costs), dtype=bool)
        self.near = np.full(len(costs), -1)
        self.waiting = np.ones(len(costs), dtype=bool)
        self._costs = costs.tolist()
        self._nearby = nearby

    def waits(self, of: np.ndarray, n_groups: int) -> list[bool]:
        """Say which groups have rows that may still be kept."""
        waits: list[bool] = (np.bincount(of[self.waiting], minlength=n_groups) > 0).tolist()
        return waits

    def spend(self, left: list[int], of: np.ndarray) -> None:
        """Keep waiting rows while their group's part lasts; `left` becomes what is left of it."""
        lasts = np.asarray([part > 0 for part in left])
        queue = np.flatnonzero(self.waiting)
        for start in range(0, len(queue), _BLOCK):
            # Rows of a group whose part is spent are not compared.
            positions = queue[start : start + _BLOCK]
            positions = positions[lasts[of[positions]]]
            if len(positions):
                self._visit(positions, left, of[positions].tolist(), lasts)
            if not lasts.any():
                return

    def _visit(
        self, positions: np.ndarray, left: list[int], of: list[int], lasts: np.ndarray
    ) -> None:
        block = self._nearby.block(positions) if self._nearby is not None else None
        for place, position in enumerate(positions.tolist()):
            group = of[place]
            if not lasts[group]:
                continue
            near = block.near(place) if block is not None else -1
            if near >= 0:
                self.near[position], self.waiting[position] = near, False
                continue
            left[group] -= self._costs[position]
            if left[group] < 0:
                left[group] += self._costs[position]
                lasts[group] = False
                continue
            self.kept[position], self.waiting[position] = True, False
            lasts[group] = left[group] > 0
            if block is not None:
                block.keep(place)
