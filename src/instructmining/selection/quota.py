"""A budget shared over the groups of a column, in proportion to the pool or as the user says."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from instructmining.errors import InputError

if TYPE_CHECKING:
    from instructmining.selection.choose import Choice

_WANTED = "wanted COLUMN or COLUMN=NAME:SHARE,… with shares such as 0.3 or 30%, as task=code:30%"
#: Column names remembered for a suggestion, and values listed in one.
_REMEMBERED = 1_000
_LISTED = 5


@dataclass(frozen=True)
class Quota:
    """How to share a budget.

    Parameters
    ----------
    column : str
        Column of the records whose values are the groups.
    shares : dict
        Group to its share of the budget, all together at most 1; None stands for rows
        without the column. Groups not named share what is left, in proportion to their
        rows in the pool; so do all where the dict is empty.
    """

    column: str
    shares: Mapping[str | None, Fraction] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.column:
            raise InputError(f"--quota: no column named; {_WANTED}")
        if any(share < 0 for share in self.shares.values()):
            raise InputError(f"--quota {self.column}: a share below 0; {_WANTED}")
        total = sum(self.shares.values())
        if total > 1:
            raise InputError(
                f"--quota {self.column}: shares that come to {float(total):.6g}; "
                "give at most 1 (100%) in all"
            )


def parse_quota(text: str | Quota) -> Quota:
    """Read the value of ``--quota``: ``COLUMN`` or ``COLUMN=NAME:SHARE,NAME:SHARE``.

    Raises
    ------
    InputError
        If it is neither, a group is named twice, or the shares exceed 1.

    Examples
    --------
    >>> parse_quota("task=code:30%,chat:0.2").shares
    {'code': Fraction(3, 10), 'chat': Fraction(1, 5)}
    """
    if isinstance(text, Quota):
        return text
    column, equals, named = text.partition("=")
    shares: dict[str | None, Fraction] = {}
    for part in named.split(",") if equals else ():
        name, colon, share = (piece.strip() for piece in part.rpartition(":"))
        if not colon:
            raise InputError(f"--quota {text!r}: {part.strip()!r} has no share; {_WANTED}")
        if (name or None) in shares:
            raise InputError(f"--quota {text!r}: {name!r} is named twice; name it once")
        shares[name or None] = _share(share, text)
    return Quota(column.strip(), shares)


def _share(written: str, text: str) -> Fraction:
    percent = written.endswith("%")
    try:
        share = Fraction(Decimal(written.removesuffix("%").strip())) / (100 if percent else 1)
    except (InvalidOperation, ValueError, OverflowError):
        share = Fraction(-1)
    if not 0 <= share <= 1:
        raise InputError(f"--quota {text!r}: {written!r} is no share; {_WANTED}")
    return share


@dataclass(frozen=True)
class Shares:
    """How the groups of a pool share a budget.

    Parameters
    ----------
    quota : Quota
        Column and shares.
    names : tuple of str or None
        Values of the column, sorted; None, which comes last, for rows without one.
    rows : tuple of int
        Rows of each group in the pool, flagged ones and duplicates included.
    """

    quota: Quota
    names: tuple[str | None, ...]
    rows: tuple[int, ...]

    def weights(self) -> list[Fraction]:
        """Return the share of each group; they come to 1, or to the named ones if all are."""
        rows, shares = self.rows, self.quota.shares
        others = sum(n for name, n in zip(self.names, rows, strict=True) if name not in shares)
        left = 1 - sum(shares.values(), start=Fraction(0))
        return [
            shares[name] if name in shares else left * n / others
            for name, n in zip(self.names, rows, strict=True)
        ]

    def account(
        self,
        can_be_kept: Sequence[int],
        near: Sequence[int],
        allowances: Sequence[int],
        spent: Sequence[int],
        kept: Sequence[int],
    ) -> list[dict[str, Any]]:
        """Return what became of each group, as JSON.

        Parameters
        ----------
        can_be_kept, near : sequence of int, length n_groups
            Ranked rows of each group, and those too near to a kept one.
        allowances, spent : sequence of int, length n_groups
            What each was given at first and used at last, in rows or tokens.
        kept : sequence of int, length n_groups
            Rows kept.

        Returns
        -------
        list of dict
            ``group`` (name), ``rows`` (of the pool), ``weight`` (share of the budget, 0 to
            1), ``can_be_kept``, ``near``, ``share`` (`allowances`), ``spent`` and ``kept``.
        """
        weights = self.weights()
        whole = sum(weights, start=Fraction(0)) or 1
        columns = {
            "group": self.names,
            "rows": self.rows,
            "weight": [float(weight / whole) for weight in weights],
            "can_be_kept": can_be_kept,
            "near": near,
            "share": allowances,
            "spent": spent,
            "kept": kept,
        }
        return [
            dict(zip(columns, values, strict=True))
            for values in zip(*columns.values(), strict=True)
        ]


@dataclass(frozen=True)
class Groups:
    """Which group each row of a pool belongs to, and how the groups share a budget.

    Parameters
    ----------
    shares : Shares
        The groups.
    of : ndarray of int, shape (n,)
        Number of each row's group among their names.
    """

    shares: Shares
    of: np.ndarray

    def account(self, of: np.ndarray, costs: np.ndarray, choice: Choice) -> list[dict[str, Any]]:
        """Return what became of each group, as JSON; see `Shares.account`.

        Parameters
        ----------
        of, costs : ndarray of int, shape (m,)
            Group and cost of each row of the ranking.
        choice : Choice
            What became of them.
        """

        def per_group(rows: np.ndarray, weights: np.ndarray | None = None) -> list[int]:
            counted = np.bincount(of[rows], weights, minlength=len(self.shares.names))
            counts: list[int] = counted.astype(np.int64).tolist()
            return counts

        return self.shares.account(
            per_group(np.ones(len(of), dtype=bool)),
            per_group(choice.near >= 0),
            choice.allowances,
            per_group(choice.kept, costs[choice.kept]),
            per_group(choice.kept),
        )


@dataclass(frozen=True)
class GroupValues:
    """The values that records have of a quota's column.

    Parameters
    ----------
    names : tuple of str or None
        Distinct values, in the order they were met; None where a record has none.
    of : ndarray of int, shape (n,)
        Number of each record's value among `names`.
    present : bool
        Whether any record has the column at all.
    columns : tuple of str
        Columns of the records, for a suggestion.
    """

    names: tuple[str | None, ...]
    of: np.ndarray
    present: bool
    columns: tuple[str, ...]

    @property
    def rows(self) -> dict[str | None, int]:
        """Records of each value."""
        counts = np.bincount(self.of, minlength=len(self.names)).tolist()
        return dict(zip(self.names, counts, strict=True))


def read_values(records: Iterable[Any], column: str) -> GroupValues:
    """Read a column of records, as a pool gives them; what is no mapping has no columns."""
    found: dict[str | None, int] = {}
    of, seen, present = array("q"), dict[str, None](), False
    for record in records:
        columns = record if isinstance(record, Mapping) else {}
        present = present or column in columns
        if len(seen) < _REMEMBERED:
            seen.update(dict.fromkeys(map(str, columns)))
        of.append(found.setdefault(_name(columns.get(column)), len(found)))
    return GroupValues(tuple(found), np.asarray(of, dtype=np.int64), present, tuple(seen))


def share_rows(rows: Mapping[str | None, int], quota: Quota) -> Shares:
    """Return how groups of so many rows share a budget.

    Raises
    ------
    InputError
        If no row is of a group that a share is given to, or every share is 0.
    """
    names = sorted(rows, key=lambda name: (name is None, name or ""))
    for name in quota.shares:
        if name not in rows:
            listed = [known for known in names if known is not None]
            raise InputError(
                f"--quota {quota.column}: no row has the value {name!r}; "
                f"{_guess(name or '', dict.fromkeys(listed))}"
            )
    shares = Shares(quota, tuple(names), tuple(rows[name] for name in names))
    if names and not any(shares.weights()):
        raise InputError(f"--quota {quota.column}: every group has a share of 0; give one more")
    return shares


def no_such_column(column: str, known: Iterable[str]) -> InputError:
    """Return the error of a quota whose column no record has."""
    return InputError(
        f"--quota {column}: no record has that column; {_guess(column, dict.fromkeys(known))}"
    )


def group_rows(records: Iterable[Any], quota: Quota, source: str | None = None) -> Groups:
    """Read which group each record belongs to.

    Parameters
    ----------
    records : iterable
        As a pool gives them.
    quota : Quota
        Column and shares.
    source : str, optional
        Name of the data, the group of all where the column is ``source`` and no record
        has one.

    Raises
    ------
    InputError
        If no record has the column, or no row is of a group that a share is given to.
    """
    values = read_values(records, quota.column)
    names, rows = values.names, values.rows
    if not values.present and len(values.of):
        if quota.column != "source" or source is None:
            raise no_such_column(quota.column, values.columns)
        names, rows = (source,), {source: len(values.of)}
    shares = share_rows(rows, quota)
    number = {name: index for index, name in enumerate(shares.names)}
    numbers = np.asarray([number[name] for name in names], dtype=np.int64)
    return Groups(shares, numbers[values.of])


def _name(value: Any) -> str | None:
    """Return a value as the name of a group, None for one that is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    # Lone surrogates, which JSON can hold, are spelled out: a table of strings cannot.
    return value.strip().encode("utf-8", "backslashreplace").decode() or None


def _guess(name: str, known: Mapping[str, None]) -> str:
    near = get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    listed = ", ".join(list(known)[:_LISTED])
    return (
        f"there are {listed}{', …' if len(known) > _LISTED else ''}" if listed else "there is none"
    )


def apportion(total: int, weights: Sequence[Fraction]) -> list[int]:
    """Share a whole number in proportion to weights, by largest remainders.

    Parameters
    ----------
    total : int
        What to share, at least 0.
    weights : sequence of Fraction
        At least 0, not all 0. Of equal remainders the larger weight comes first, then the
        earlier one.

    Returns
    -------
    list of int
        They sum to `total`, each less than 1 from its exact part.

    Examples
    --------
    >>> apportion(10, [Fraction(1), Fraction(1), Fraction(1)])
    [4, 3, 3]
    """
    whole = sum(weights, start=Fraction(0))
    exact = [total * weight / whole for weight in weights]
    parts = [math.floor(part) for part in exact]
    order = sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], -weights[i], i))
    for index in order[: total - sum(parts)]:
        parts[index] += 1
    return parts
