"""What scoring keeps of a pool: some tens of bytes a row, never its texts.

A pool is read from its source once to learn which rows it has (`PoolIndex`), and again for
each pass that lacks some of them (`Rows.examples`).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from instructmining.errors import InputError
from instructmining.examples import Example
from instructmining.scoring import digests as hashes
from instructmining.scoring.flags import FlagCodes
from instructmining.scoring.reference import text_key


class Source(Protocol):
    """Where examples come from: a `formats.Pool`, or anything that can be read twice."""

    def examples(self) -> Iterator[Example]:
        """Stream every example, in the same order each time."""


@dataclass(frozen=True)
class Listed:
    """A source over examples in memory."""

    rows: Sequence[Example]

    def examples(self) -> Iterator[Example]:
        """Give every example, in order."""
        return iter(self.rows)


@dataclass(frozen=True)
class Chained:
    """Several sources, one after the other."""

    sources: Sequence[Source]

    def examples(self) -> Iterator[Example]:
        """Stream every example of every source."""
        for source in self.sources:
            yield from source.examples()


def as_source(given: Source | Sequence[Example]) -> Source:
    """Return `given`, a sequence of examples as a source over it."""
    return Listed(given) if isinstance(given, Sequence) else given


@dataclass(frozen=True)
class PoolIndex:
    """Which rows a pool of `n` has, `m` of them scorable and distinct.

    Parameters
    ----------
    source : Source
        Where the rows were read.
    digests : ndarray of `digests.DTYPE`, shape (n,)
        Content hash of every row.
    flags : ndarray of int32, shape (n,)
        Code of the flags given while reading.
    first : ndarray of int64, shape (m,)
        The scorable rows that repeat no earlier one, ascending.
    position : ndarray of int64, shape (n,)
        Place of each row's content in `first`; -1 for a row without a response.
    text_keys : ndarray of `digests.DTYPE`, shape (n,), or None
        `reference.text_key` of every row, if asked for.
    """

    source: Source
    digests: np.ndarray
    flags: np.ndarray
    first: np.ndarray
    position: np.ndarray
    text_keys: np.ndarray | None = None

    @classmethod
    def read(cls, source: Source, codes: FlagCodes, *, text_keys: bool = False) -> PoolIndex:
        """Read a source to its end; with `text_keys`, hash the texts to be embedded too."""
        digests, keys, scorable = bytearray(), bytearray(), bytearray()
        flags = array("i")
        for example in source.examples():
            digests += bytes.fromhex(example.digest)
            scorable.append(example.scorable)
            flags.append(codes.code(example.flags))
            if text_keys:
                keys += bytes.fromhex(text_key(example))
        every = hashes.from_bytes(digests)
        first, position = _first_of_each(every, np.frombuffer(scorable, dtype=bool))
        return cls(
            source,
            every,
            np.asarray(flags, dtype=np.int32),
            first,
            position,
            hashes.from_bytes(keys) if text_keys else None,
        )

    def __len__(self) -> int:
        return len(self.digests)

    @property
    def scorable(self) -> np.ndarray:
        """Whether each row has a response, bool, shape (n,)."""
        return self.position >= 0

    @property
    def duplicate(self) -> np.ndarray:
        """Whether each row repeats an earlier one, bool, shape (n,)."""
        again = self.scorable
        again[self.first] = False
        return again

    def rows(self) -> Rows:
        """Return the distinct scorable rows."""
        return Rows(self.digests[self.first], (Part(self.source, self.first),))


def _first_of_each(digests: np.ndarray, scorable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row of each content, and each row's place among them."""
    position = np.full(len(digests), -1)
    rows = np.flatnonzero(scorable)
    if not len(rows):
        return rows, position
    ordered = rows[np.argsort(digests[rows], kind="stable")]
    begins = np.ones(len(ordered), dtype=bool)
    begins[1:] = digests[ordered[1:]] != digests[ordered[:-1]]
    # The sort is stable: each run of equal hashes begins with its earliest row.
    earliest = ordered[begins]
    place = np.empty(len(earliest), dtype=np.int64)
    place[np.argsort(earliest)] = np.arange(len(earliest))
    position[ordered] = place[np.cumsum(begins) - 1]
    return np.sort(earliest), position


@dataclass(frozen=True)
class Part:
    """Rows of one source, and where they stand among all.

    Parameters
    ----------
    source : Source
        Where they are read.
    rows : ndarray of int64, shape (k,)
        Their numbers in it, ascending.
    positions : ndarray of int64, shape (k,), or None
        Their positions in `Rows`; None if they are 0 to k - 1.
    """

    source: Source
    rows: np.ndarray
    positions: np.ndarray | None = None


@dataclass(frozen=True)
class Rows:
    """Distinct scorable rows, known by their hashes; their texts stay in the sources.

    Parameters
    ----------
    digests : ndarray of `digests.DTYPE`, shape (m,)
        Content hashes, all different.
    parts : tuple of Part
        Where to read them.
    """

    digests: np.ndarray
    parts: tuple[Part, ...]

    def __len__(self) -> int:
        return len(self.digests)

    def examples(self, wanted: np.ndarray | None = None) -> Iterator[tuple[int, Example]]:
        """Read the rows again, at most to the last one needed.

        Parameters
        ----------
        wanted : ndarray of bool, shape (m,), optional
            Which rows to give; by default all.

        Yields
        ------
        int, Example
            Position of the row, and the row.

        Raises
        ------
        InputError
            If a source gives other rows than before.
        """
        for part in self.parts:
            positions = np.arange(len(part.rows)) if part.positions is None else part.positions
            chosen = slice(None) if wanted is None else wanted[positions]
            yield from self._read(part.source, part.rows[chosen], positions[chosen])

    def _read(
        self, source: Source, rows: np.ndarray, positions: np.ndarray
    ) -> Iterator[tuple[int, Example]]:
        given = enumerate(source.examples())
        for row, position in zip(rows, positions, strict=True):
            example = next((e for number, e in given if number == row), None)
            if (
                example is None
                or bytes.fromhex(example.digest) != self.digests[position : position + 1].tobytes()
            ):
                raise InputError(
                    f"row {row} is another than when the pool was first read; "
                    "a pool must not change while it is scored: run again"
                )
            yield int(position), example
