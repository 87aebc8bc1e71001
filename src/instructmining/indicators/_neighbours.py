"""Exact nearest neighbours by blocked matrix products.

Similarities are computed a tile at a time. Every row keeps its best candidates so far,
and of a tile only the entries above the worst of these are looked at: after the first few
hundred columns that is about one in a thousand, so the search costs little more than the
products. Tiles begin small and double, so that about equally many entries pass in each.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

#: Entries of the largest tile of similarities: 32 MB of float32.
_TILE = 1 << 23
#: Rows of the largest stripe that is compared at one time.
_STRIPE = 4_096
#: Rows or columns of the first tile.
_FIRST = 64
#: Numbers differenced at one time when distances are computed: 4 MB of float64.
_CHUNK = 1 << 19
#: Bytes of candidates above which rows are not compared with one another in pairs.
_PAIRWISE_BYTES = 1 << 30


class _Candidates:
    """The most similar columns seen so far of each of `n` rows.

    Parameters
    ----------
    n : int
        Rows.
    width : int
        Columns kept of each.
    """

    def __init__(self, n: int, width: int) -> None:
        self.columns = np.full((n, width), -1, dtype=np.int32)
        self._similarity = np.full((n, width), -np.inf, dtype=np.float32)
        #: What a similarity must exceed to be kept.
        self.floor = np.full(n, -np.inf, dtype=np.float32)

    def offer(self, rows: np.ndarray, columns: np.ndarray, similarity: np.ndarray) -> None:
        """Keep the best of what stands there and of some entries, sorted by row."""
        if not len(rows):
            return
        first = np.flatnonzero(np.diff(rows, prepend=-1))
        touched = rows[first]
        count = np.diff(first, append=len(rows))
        width = self.columns.shape[1]
        line = np.repeat(np.arange(len(touched)), count)
        place = np.arange(len(rows)) - np.repeat(first, count) + width
        shape = (len(touched), width + int(count.max()))
        values = np.full(shape, -np.inf, dtype=np.float32)
        found = np.full(shape, -1, dtype=np.int32)
        values[:, :width], found[:, :width] = self._similarity[touched], self.columns[touched]
        values[line, place], found[line, place] = similarity, columns
        best = np.argpartition(values, shape[1] - width, axis=1)[:, shape[1] - width :]
        values = np.take_along_axis(values, best, axis=1)
        self._similarity[touched] = values
        self.columns[touched] = np.take_along_axis(found, best, axis=1)
        self.floor[touched] = values.min(axis=1)


class _Tile:
    """Room for one tile of similarities and a mask over it, used again and again."""

    def __init__(self) -> None:
        self._similarity = np.empty(_TILE, dtype=np.float32)
        self._mask = np.empty(_TILE, dtype=np.bool_)

    def product(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return the inner products of the rows of two matrices."""
        shape = (len(left), len(right))
        out = self._similarity[: shape[0] * shape[1]].reshape(shape)
        return np.matmul(left, right.T, out=out)

    def above(self, similarity: np.ndarray, floor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and columns of the entries above `floor`, sorted by row."""
        mask = self._mask[: similarity.size].reshape(similarity.shape)
        np.greater(similarity, floor, out=mask)
        rows, columns = np.divmod(np.flatnonzero(mask), similarity.shape[1])
        return rows, columns


def nearest(
    queries: np.ndarray, reference: np.ndarray, own: np.ndarray, width: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """Find the most similar reference rows of each query, some queries at a time.

    Parameters
    ----------
    queries : ndarray of float32, shape (n, d)
        Unit rows.
    reference : ndarray of float32, shape (m, d)
        Unit rows.
    own : ndarray of int, shape (n,)
        The reference row that is not to be found; -1 for none.
    width : int
        How many to find.

    Yields
    ------
    queries : slice
        Which queries these are.
    columns : ndarray of int32, shape (len(block), width)
        Reference rows in no order, -1 where there are too few.
    """
    tile = _Tile()
    stripe = min(_STRIPE // 4, max(1, _PAIRWISE_BYTES // (32 * width)))
    for start in range(0, len(queries), stripe):
        block = slice(start, min(start + stripe, len(queries)))
        mine, candidates = own[block], _Candidates(block.stop - start, width)
        for left, right in _doubling(len(reference), _TILE // stripe):
            similarity = tile.product(queries[block], reference[left:right])
            inside = np.flatnonzero((mine >= left) & (mine < right))
            similarity[inside, mine[inside] - left] = -np.inf
            rows, columns = tile.above(similarity, candidates.floor[:, None])
            candidates.offer(rows, columns + left, similarity[rows, columns])
        yield block, candidates.columns


def nearest_pairwise(rows: np.ndarray, width: int) -> np.ndarray:
    """Find the most similar other rows of each row, multiplying each pair once.

    Parameters
    ----------
    rows : ndarray of float32, shape (n, d)
        Unit rows.
    width : int
        How many to find.

    Returns
    -------
    ndarray of int32, shape (n, width)
        Rows in no order, -1 where there are too few.
    """
    tile, candidates, n = _Tile(), _Candidates(len(rows), width), len(rows)
    for top, bottom in _doubling(n, _STRIPE):
        step = _TILE // (bottom - top)
        for left in range(top, n, step):
            right = min(n, left + step)
            similarity = tile.product(rows[top:bottom], rows[left:right])
            # Pairs inside the stripe stand in the tile twice and are offered once each way.
            inside = np.arange(max(top, left), min(bottom, right))
            similarity[inside - top, inside - left] = -np.inf
            above, columns = tile.above(similarity, candidates.floor[top:bottom, None])
            candidates.offer(above + top, columns + left, similarity[above, columns])
            below = max(bottom, left)
            if below < right:
                across = similarity[:, below - left :]
                columns, above = tile.above(across, candidates.floor[below:right])
                order = np.argsort(above, kind="stable")
                columns, above = columns[order], above[order]
                candidates.offer(above + below, columns + top, across[columns, above])
    return candidates.columns


def fits_pairwise(n: int, width: int) -> bool:
    """Return whether the candidates of all rows may stand in memory together."""
    return n * width * 8 <= _PAIRWISE_BYTES


def distances(
    queries: np.ndarray, reference: np.ndarray, columns: np.ndarray, k: int
) -> np.ndarray:
    """Return the Euclidean distances from each query to the nearest of some reference rows.

    Differences are taken in 64 bits: of nearly equal rows an inner product has few digits
    left.

    Parameters
    ----------
    queries : ndarray of float32, shape (n, d)
    reference : ndarray of float32, shape (m, d)
    columns : ndarray of int, shape (n, width)
        Reference rows, `width` at least `k`; -1 for none.
    k : int
        How many distances to return.

    Returns
    -------
    ndarray of float64, shape (n, k)
        In rising order; infinite where there are too few rows.
    """
    found = np.empty((len(queries), k))
    step = max(1, _CHUNK // max(1, columns.shape[1] * queries.shape[1]))
    for start in range(0, len(queries), step):
        block = slice(start, start + step)
        difference = queries[block].astype(np.float64)[:, None] - reference[columns[block]]
        exact = np.sqrt(np.einsum("nkd,nkd->nk", difference, difference))
        exact[columns[block] < 0] = np.inf
        exact.sort(axis=1)
        found[block] = exact[:, :k]
    return found


def _doubling(n: int, largest: int) -> Iterator[tuple[int, int]]:
    """Cut `n` into pieces, each as long as all before it, up to a largest length."""
    start = 0
    while start < n:
        stop = min(n, start + min(largest, max(start, _FIRST)))
        yield start, stop
        start = stop
