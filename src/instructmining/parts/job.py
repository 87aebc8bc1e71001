"""What every task of one selection knows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from instructmining.folders import Folder
from instructmining.overlap.setting import OverlapSetting
from instructmining.parts.exchange import Exchange
from instructmining.parts.pool import Part
from instructmining.rules.rule import Rule
from instructmining.selection.budget import Budget
from instructmining.selection.candidates import needed_columns
from instructmining.selection.intervals import Interval
from instructmining.selection.quota import Quota, Shares


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a pool in parts: how much of it, and of which rows.

    Parameters
    ----------
    budget : Rows, Fraction or Tokens
        How much.
    quota : Quota, optional
        How groups share it.
    overlap : OverlapSetting
        Evaluation files that rows kept may not overlap. Only texts are compared, and what
        overlaps is dropped: distances would need embeddings, and flags a second look.
    intervals : tuple of Interval
        What values columns may have.
    """

    budget: Budget
    quota: Quota | None = None
    overlap: OverlapSetting = field(default_factory=OverlapSetting)
    intervals: tuple[Interval, ...] = ()


@dataclass(frozen=True)
class Job:
    """A selection from a pool in parts.

    Parameters
    ----------
    parts : tuple of Part
        The pool.
    rule : Rule
        What it is ranked by.
    wanted : Wanted
        How much is kept, and of which rows.
    work : Folder
        Where what tasks send each other lies.
    n_buckets : int
        Into how many buckets rows are divided by content, and by prediction.
    """

    parts: tuple[Part, ...]
    rule: Rule
    wanted: Wanted
    work: Folder
    n_buckets: int

    @property
    def needed(self) -> list[str]:
        """Columns that a row must have a value in to be kept."""
        return needed_columns(self.rule.columns_, self.wanted.budget, self.wanted.intervals)

    def exchange(self, name: str) -> Exchange:
        """Return the exchange of this name."""
        return Exchange(self.work, name)


@dataclass(frozen=True)
class Grouping:
    """Which group the rows of each part belong to.

    Parameters
    ----------
    shares : Shares
        The groups of the pool.
    names : tuple of tuple of str or None
        The values of each part, in the order in which it numbered them.
    """

    shares: Shares
    names: tuple[tuple[str | None, ...], ...]

    def of(self, job: Job, index: int) -> np.ndarray:
        """Return the number of each row's group in a part, int32, shape (n,)."""
        number = {name: place for place, name in enumerate(self.shares.names)}
        own = np.asarray([number[name] for name in self.names[index]], dtype=np.int32)
        of: np.ndarray = own[job.exchange("groups").kept(index)["group"]]
        return of


def group_of(job: Job, grouping: Grouping | None, index: int, rows: np.ndarray) -> np.ndarray:
    """Return the number of the group of some rows of a part; 0 of all where there is no quota."""
    if grouping is None:
        return np.zeros(len(rows), dtype=np.int32)
    of: np.ndarray = grouping.of(job, index)[rows]
    return of
