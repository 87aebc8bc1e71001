"""Reason codes in bulk: most rows have none, and few combinations occur."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

#: Code of no flags at all.
NONE = 0


class FlagCodes:
    """Numbers the combinations of flags met so far; a row keeps the number alone."""

    def __init__(self) -> None:
        self._combinations: list[tuple[str, ...]] = [()]
        self._codes: dict[tuple[str, ...], int] = {(): NONE}

    def code(self, flags: Sequence[str]) -> int:
        """Return the number of a combination; repeated flags count once."""
        key = tuple(dict.fromkeys(flags))
        if key not in self._codes:
            self._codes[key] = len(self._combinations)
            self._combinations.append(key)
        return self._codes[key]

    def flags(self, code: int) -> tuple[str, ...]:
        """Return the combination of a number."""
        return self._combinations[code]

    def join(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return, row by row, the codes of the flags of `first`, then those of `second`.

        Parameters
        ----------
        first, second : ndarray of int32, shape (n,)
            Codes.
        """
        joined = first.copy()
        both = np.flatnonzero(second != NONE)
        size = len(self._combinations)
        pairs = first[both].astype(np.int64) * size + second[both]
        distinct, place = np.unique(pairs, return_inverse=True)
        codes = [
            self.code((*self._combinations[pair // size], *self._combinations[pair % size]))
            for pair in distinct.tolist()
        ]
        joined[both] = np.asarray(codes, dtype=np.int32)[place]
        return joined

    def series(self, codes: np.ndarray) -> pl.Series:
        """Return the combinations as a column of lists of strings."""
        every = pl.Series([list(flags) for flags in self._combinations], dtype=pl.List(pl.String))
        return every.gather(codes)
