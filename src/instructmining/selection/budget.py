"""How much to keep: rows, a fraction of the pool, or tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np

from instructmining.errors import InputError

_ROWS = re.compile(r"[0-9]{1,15}")
_FRACTION = re.compile(r"[0-9]+\.[0-9]*|\.[0-9]+")
_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s?%")
_TOKENS = re.compile(r"([0-9]{1,15}(?:\.[0-9]+)?)([kM]?)")
_SCALE = {"": 1, "k": 1_000, "M": 1_000_000}

_KEEP_WANTED = (
    "wanted a number of rows (1000) or a share of the pool (0.1 or 10%, at most 1.0 or 100%)"
)
_TOKENS_WANTED = "wanted a number of tokens of at least 1, such as 200000, 200k or 1.5M"


@dataclass(frozen=True)
class Rows:
    """A budget of `n` rows, n >= 1."""

    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise InputError(f"keep {self.n} rows: {_KEEP_WANTED}")

    def __str__(self) -> str:
        return f"{self.n:,} row" + ("s" if self.n != 1 else "")

    def to_json(self) -> dict[str, Any]:
        """Return the budget as flat JSON."""
        return {"kind": "rows", "n": self.n, "text": str(self)}


@dataclass(frozen=True)
class Fraction:
    """A budget of the share `f` of all rows of the pool, 0 < f <= 1.

    All rows count, flagged ones and duplicates too, so the size of a selection does not
    depend on how many of them there are.
    """

    f: float

    def __post_init__(self) -> None:
        if not 0 < self.f <= 1:
            raise InputError(f"keep a share of {self.f}: {_KEEP_WANTED}")

    def __str__(self) -> str:
        return f"{self.f * 100:.6g}% of the pool"

    def to_json(self) -> dict[str, Any]:
        """Return the budget as flat JSON."""
        return {"kind": "fraction", "f": self.f, "text": str(self)}


@dataclass(frozen=True)
class Tokens:
    """A budget of `n` tokens of prompt and response (column ``len``), n >= 1."""

    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise InputError(f"keep {self.n} tokens: {_TOKENS_WANTED}")

    def __str__(self) -> str:
        return f"{self.n:,} token" + ("s" if self.n != 1 else "")

    def to_json(self) -> dict[str, Any]:
        """Return the budget as flat JSON."""
        return {"kind": "tokens", "n": self.n, "text": str(self)}


Budget = Rows | Fraction | Tokens


def parse_keep(text: str | float) -> Rows | Fraction:
    """Read the value of ``--keep``.

    Parameters
    ----------
    text : str, int or float
        Without a decimal point, rows: ``"1000"``, ``"1"``. With one, or with a percent
        sign, a share of the pool: ``"0.1"``, ``"10%"``, ``"2.5%"``; ``"1.0"`` is all.
        A Python int is rows and a float is a share.

    Raises
    ------
    InputError
        If it is none of these, less than one row or more than the whole pool.

    Examples
    --------
    >>> parse_keep("1"), parse_keep("1.0"), parse_keep("2.5%")
    (Rows(n=1), Fraction(f=1.0), Fraction(f=0.025))
    """
    if isinstance(text, bool):
        raise InputError(f"keep {text}: {_KEEP_WANTED}")
    if isinstance(text, int):
        return Rows(text)
    if isinstance(text, float):
        return Fraction(text)
    stripped = text.strip()
    if _ROWS.fullmatch(stripped) and int(stripped) >= 1:
        return Rows(int(stripped))
    share: Decimal | None = None
    if _FRACTION.fullmatch(stripped):
        share = Decimal(stripped)
    elif match := _PERCENT.fullmatch(stripped):
        share = Decimal(match[1]) / 100
    if share is None or not 0 < share <= 1:
        raise InputError(f"--keep {text!r}: {_KEEP_WANTED}")
    return Fraction(float(share))


def parse_keep_tokens(text: str | int) -> Tokens:
    """Read the value of ``--keep-tokens``: ``"200000"``, ``"200k"`` or ``"1.5M"``.

    Raises
    ------
    InputError
        If it is none of these or comes to less than one token.
    """
    match = _TOKENS.fullmatch(str(text).strip())
    if match is None or isinstance(text, bool):
        raise InputError(f"--keep-tokens {text!r}: {_TOKENS_WANTED}")
    count = Decimal(match[1]) * _SCALE[match[2]]
    if count < 1 or count != int(count):
        raise InputError(f"--keep-tokens {text!r}: {_TOKENS_WANTED}")
    return Tokens(int(count))


def choose_budget(keep: str | float | None, keep_tokens: str | int | None) -> Budget:
    """Return the one budget given, in rows or in tokens.

    Raises
    ------
    InputError
        If neither or both are given, or the one given cannot be read.
    """
    if (keep is None) == (keep_tokens is None):
        came = "none" if keep is None else "both"
        raise InputError(f"a budget was wanted, {came} came: give either --keep or --keep-tokens")
    return parse_keep(keep) if keep is not None else parse_keep_tokens(keep_tokens or "")


def resolve(budget: Budget, pool_rows: int, ranked_len: np.ndarray | None = None) -> int:
    """Return how many rows, from the front of the ranking, the budget asks for.

    A share is rounded half up, to at least one row. Tokens are spent in rank order up to,
    and without, the first row that would exceed the budget: what is kept is always a
    prefix of the ranking, so a smaller budget keeps a subset of what a larger one keeps.

    Parameters
    ----------
    budget : Budget
        What was asked for.
    pool_rows : int
        Rows of the pool, flagged ones and duplicates included.
    ranked_len : numpy.ndarray, shape (n_ranked,), optional
        Tokens of the ranked rows, best row first; needed for `Tokens` only.

    Returns
    -------
    int
        May exceed the number of ranked rows for `Rows` and `Fraction`.

    Raises
    ------
    InputError
        If a token budget comes without `ranked_len`.
    """
    if isinstance(budget, Rows):
        return budget.n
    if isinstance(budget, Fraction):
        # The decimal the user wrote, not its binary neighbour: 0.145 of 100 rows is 15.
        exact = Decimal(repr(float(budget.f))) * pool_rows
        return max(1, int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP)))
    if ranked_len is None:
        raise InputError(f"a budget of {budget} needs the column len; score it")
    return int(np.searchsorted(np.cumsum(ranked_len), budget.n, side="right"))
