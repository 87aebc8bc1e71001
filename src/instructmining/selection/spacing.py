"""No two rows kept nearer than a distance: near-duplicates, and diversity, by one rule.

Rows are visited best first, and one too near to a row already kept is dropped. So the best
of a group of near-duplicates always stays, whatever the distance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from instructmining.errors import InputError

#: Distance of ``--diverse``. DEITA's similarity of 0.9 as a distance is 0.447; nearer than
#: this, rows of seven instruction sets were the same task in other words.
DEFAULT_DISTANCE = 0.45

#: What embeddings may differ from length 1.
_LENGTH_TOLERANCE = 1e-4
#: More than lengths and rounding in 32 bits can do to a similarity: pairs inside it are
#: measured again, in 64 bits.
_SLACK = 5e-4
#: Kept rows that are multiplied at one time.
_TILE = 8_192
#: Numbers differenced at one time: 16 MB of float64.
_CHUNK = 1 << 21

_WANTED = (
    "wanted a distance between unit vectors, above 0 and below 2: "
    f"0.2 is nearly the same text, {DEFAULT_DISTANCE} the same task in other words"
)


def parse_distance(value: str | float, option: str = "--min-distance") -> float:
    """Read the value of an option that is a distance.

    Raises
    ------
    InputError
        If it is no number, or not between 0 and 2.
    """
    try:
        distance = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        distance = float("nan")
    if not 0 < distance < 2:
        raise InputError(f"{option} {value!r}: {_WANTED}")
    return distance


@dataclass(frozen=True)
class Spacing:
    """How far apart the rows kept must be.

    Parameters
    ----------
    distance : float
        Least Euclidean distance of two rows kept, between 0 and 2.
    embeddings : ndarray, shape (m, d)
        Unit rows; NaN, or 0, where there is none.
    place : ndarray of int, shape (n,), optional
        Which of them each row of the pool has, -1 for none; by default its own number.
    partial : ndarray of bool, shape (m,), optional
        Which of them were made from a part of the text.
    recorded : dict
        What made them, as JSON, to be written down.
    """

    distance: float
    embeddings: np.ndarray
    place: np.ndarray | None = None
    partial: np.ndarray | None = None
    recorded: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parse_distance(self.distance)

    def places(self, n: int) -> np.ndarray:
        """Return which embedding each of `n` rows has, -1 for none.

        Raises
        ------
        InputError
            If there are not `n` of them, or some are not unit rows.
        """
        place = np.arange(len(self.embeddings)) if self.place is None else self.place
        if len(place) != n or self.embeddings.ndim != 2:
            raise InputError(
                f"embeddings of shape {self.embeddings.shape} for {len(place)} of {n} rows; "
                "give one vector per row"
            )
        usable = np.append(self._usable(), False)  # the last one stands for place -1
        return np.where(usable[place], place, -1)

    def _usable(self) -> np.ndarray:
        usable = np.zeros(len(self.embeddings), dtype=bool)
        for start in range(0, len(usable), _TILE):
            block = slice(start, start + _TILE)
            length = np.linalg.norm(self.embeddings[block].astype(np.float64), axis=1)
            usable[block] = np.isfinite(length) & (length > 0)
            wrong = length[usable[block] & (np.abs(length - 1) > _LENGTH_TOLERANCE)]
            if len(wrong):
                raise InputError(
                    f"an embedding of length {wrong[0]:.4g}; "
                    "give unit vectors, NaN where there is none"
                )
        return usable


class Nearby:
    """Which rows of a ranking stand too near to one kept, asked a block at a time.

    Parameters
    ----------
    spacing : Spacing
        Distance and embeddings.
    place : ndarray of int, shape (m,)
        Embedding of each row of the ranking, best row first; none is -1.
    """

    def __init__(self, spacing: Spacing, place: np.ndarray) -> None:
        self.distance = spacing.distance
        #: Similarities below this are certainly of rows far enough apart.
        self.limit = np.float32(1 - spacing.distance**2 / 2 - _SLACK)
        self._embeddings = spacing.embeddings
        self._place = place
        self._kept: list[int] = []

    def block(self, positions: np.ndarray) -> Block:
        """Compare the rows at some positions of the ranking with all kept so far."""
        return Block(self, positions)

    def keep(self, position: int) -> None:
        """Note that the row at a position is kept."""
        self._kept.append(position)

    def vectors(self, positions: np.ndarray) -> np.ndarray:
        """Return the embeddings of the rows at some positions, float32."""
        found: np.ndarray = self._embeddings[self._place[positions]].astype(np.float32, copy=False)
        return found

    def nearest(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return distance and position of the nearest kept row of each vector.

        Inf and -1 where every one is certainly far enough away. Of equally near rows the
        better ranked counts.
        """
        distance = np.full(len(vectors), np.inf)
        nearest = np.full(len(vectors), -1)
        for start in range(0, len(self._kept), _TILE):
            kept = np.asarray(self._kept[start : start + _TILE])
            others = self.vectors(kept)
            similarity = vectors @ others.T
            # Only what may be the nearest one is measured in 64 bits.
            floor = np.maximum(similarity.max(axis=1) - np.float32(2 * _SLACK), self.limit)
            rows, columns = np.nonzero(similarity >= floor[:, None])
            exact = np.full(len(rows), np.inf)
            for part in _parts(len(rows), vectors.shape[1]):
                exact[part] = _distances(vectors[rows[part]], others[columns[part]])
            order = np.lexsort((kept[columns], exact, rows))
            first = order[np.flatnonzero(np.diff(rows[order], prepend=-1))]
            at, found, whom = rows[first], exact[first], kept[columns[first]]
            closer = (found < distance[at]) | ((found == distance[at]) & (whom < nearest[at]))
            distance[at[closer]], nearest[at[closer]] = found[closer], whom[closer]
        return distance, nearest


class Block:
    """Some rows of a ranking, compared with what was kept before them; made by `Nearby`."""

    def __init__(self, nearby: Nearby, positions: np.ndarray) -> None:
        self._nearby = nearby
        self._positions = positions
        self._vectors = nearby.vectors(positions)
        self._distance, self._nearest = nearby.nearest(self._vectors)
        self._alike = self._vectors @ self._vectors.T >= nearby.limit
        self._kept = np.zeros(len(positions), dtype=bool)

    def near(self, place: int) -> int:
        """Return the position of the kept row nearest to a row of the block; -1 if far enough."""
        best = (float(self._distance[place]), int(self._nearest[place]))
        among = np.flatnonzero(self._alike[place] & self._kept)
        if len(among):
            exact = _distances(self._vectors[place], self._vectors[among])
            best = min(best, *zip(exact.tolist(), self._positions[among].tolist(), strict=True))
        return best[1] if best[0] < self._nearby.distance else -1

    def keep(self, place: int) -> None:
        """Note that a row of the block is kept."""
        self._kept[place] = True
        self._nearby.keep(int(self._positions[place]))


def _distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    # Of nearly equal rows an inner product has few digits left; a difference has them all.
    difference = left.astype(np.float64) - right
    found: np.ndarray = np.sqrt((difference * difference).sum(axis=-1))
    return found


def _parts(n: int, width: int) -> Iterator[slice]:
    step = max(1, _CHUNK // max(1, width))
    return (slice(start, start + step) for start in range(0, n, step))
