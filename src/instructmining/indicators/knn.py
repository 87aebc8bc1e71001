"""How far an example lies from its neighbours in sentence-embedding space."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from instructmining.errors import InputError
from instructmining.examples import Example
from instructmining.indicators import _graph
from instructmining.indicators._neighbours import (
    distances,
    fits_pairwise,
    nearest,
    nearest_pairwise,
)
from instructmining.indicators.base import (
    Column,
    Compared,
    Need,
    PoolIndicator,
    Reference,
    register,
)

#: Rows of both queries and reference above which an approximate search is faster.
_EXACT_ROWS = 200_000
#: Candidates beyond the k-th: rounding of the products may swap neighbours at the edge.
_SPARE = 8
#: Rows whose distances are computed, or that are compared, at one time.
_BLOCK = 16_384


def kth_neighbour_distance(
    queries: np.ndarray,
    query_keys: Sequence[str],
    reference: np.ndarray,
    reference_keys: Sequence[str],
    k: int,
) -> np.ndarray:
    """Euclidean distance from each query to its k-th nearest reference row of another key.

    Neighbours are found exactly, by blocked matrix products; the distances of those
    found are then computed directly, since a difference of nearly equal inner products
    has few digits left.

    Parameters
    ----------
    queries : ndarray of float32, shape (n, d)
        Unit rows.
    query_keys : sequence of str or bytes, length n
        Rows whose keys are equal hold the same text and are not each other's neighbours.
    reference : ndarray of float32, shape (m, d)
        Unit rows.
    reference_keys : sequence of str or bytes, length m
        Keys of the reference; of rows with equal keys the first counts.
    k : int
        Which neighbour, from 1.

    Returns
    -------
    ndarray of float64, shape (n,)
        NaN where fewer than `k` other texts exist.
    """
    reference, own = _distinct(query_keys, reference, reference_keys)
    return _finite(_exact(queries, reference, own, k))


def _distinct(
    query_keys: Sequence[str], reference: np.ndarray, reference_keys: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the reference with every key once, and where in it each query stands, or -1."""
    first: dict[str, int] = {}
    for index, key in enumerate(_plain(reference_keys)):
        first.setdefault(key, index)
    if len(first) < len(reference):
        reference = reference[list(first.values())]
        first = {key: index for index, key in enumerate(first)}
    own = (first.get(key, -1) for key in _plain(query_keys))
    return reference, np.fromiter(own, dtype=np.int64, count=len(query_keys))


def _plain(keys: Sequence[str] | np.ndarray) -> Sequence[str]:
    # Looking up numpy's own strings is several times slower.
    plain: Sequence[str] = keys.tolist() if isinstance(keys, np.ndarray) else keys
    return plain


def _exact(queries: np.ndarray, reference: np.ndarray, own: np.ndarray, k: int) -> np.ndarray:
    """Return the distances, infinite where there is no k-th neighbour."""
    width = min(len(reference), k + _SPARE)
    if width < k:
        return np.full(len(queries), np.inf)
    same = _standing_in(queries, reference, own)
    if 2 * np.count_nonzero(same) <= len(reference) or not fits_pairwise(len(reference), width):
        return _kth(queries, reference, own, k)
    # Most reference rows are queries too: multiply every pair of them once, not twice.
    columns = nearest_pairwise(reference, width)
    among = np.empty(len(reference))
    for start in range(0, len(reference), _BLOCK):
        block = slice(start, start + _BLOCK)
        among[block] = distances(reference[block], reference, columns[block], k)[:, -1]
    found = np.empty(len(queries))
    found[same] = among[own[same]]
    if not same.all():
        found[~same] = _kth(queries[~same], reference, own[~same], k)
    return found


def _kth(queries: np.ndarray, reference: np.ndarray, own: np.ndarray, k: int) -> np.ndarray:
    found = np.empty(len(queries))
    for block, columns in nearest(queries, reference, own, min(len(reference), k + _SPARE)):
        found[block] = distances(queries[block], reference, columns, k)[:, -1]
    return found


def _standing_in(queries: np.ndarray, reference: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return whether each query is, bit for bit, the reference row of its key."""
    same = own >= 0
    for start in range(0, len(queries), _BLOCK):
        rows = start + np.flatnonzero(same[start : start + _BLOCK])
        same[rows] = (queries[rows] == reference[own[rows]]).all(axis=1)
    return same


def _finite(found: np.ndarray) -> np.ndarray:
    return np.where(np.isinf(found), np.nan, found)


@register("knn")
@dataclass(frozen=True)
class NeighbourDistance(PoolIndicator):
    """Distance to the k-th nearest distinct text of a reference set.

    Columns: ``knn_<k>``, by default ``knn_6``. Requires a sentence encoder and a
    reference set. Undefined where the reference holds fewer than `k` other texts.
    Reference: paper, section 2 (KNN_i); Dong et al. 2011 for the approximation the paper
    used.

    Parameters
    ----------
    k : int
        Which neighbour, from 1.
    """

    needs: ClassVar[Need | None] = Need("encoder")
    k: int = 6

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InputError(f"k = {self.k} came for the k-th neighbour, 1 or more is wanted")

    @classmethod
    def parse(cls, column: str) -> NeighbourDistance | None:
        """Return the indicator for a column name such as ``knn_10``, or None."""
        match = re.fullmatch(r"knn_([1-9]\d{0,2})", column)
        return cls(int(match.group(1))) if match else None

    @property
    def columns(self) -> tuple[Column, ...]:
        """The distance."""
        return (Column(f"knn_{self.k}", f"KNN_{self.k}", "Euclidean distance of unit vectors"),)

    def transform(self, examples: Sequence[Example], output: Any) -> np.ndarray:
        """Refuse: this indicator needs the whole pool, see `transform_pool`."""
        raise TypeError("knn depends on the pool; call transform_pool")

    def transform_pool(
        self, texts: Sequence[str], output: np.ndarray, reference: Reference
    ) -> np.ndarray:
        """Return the distances, shape (n, 1), searched exactly whatever the size."""
        found = kth_neighbour_distance(output, texts, reference.output, reference.texts, self.k)
        return found[:, None]

    def compare(self, texts: Sequence[str], output: np.ndarray, reference: Reference) -> Compared:
        """Return the distances, searched approximately where that is much faster.

        This is so if queries and reference both have more than 200,000 rows, usearch is
        installed, and a sample of the queries finds 98 % of its true neighbours; then the
        definition says ``search: usearch`` and the recall is recorded. Otherwise values
        are those of `transform_pool`, and what stood in the way is recorded as a note.

        Parameters
        ----------
        texts : sequence of str or bytes, length n
            One key per row.
        output : ndarray of float32, shape (n, d)
            Unit rows.
        reference : Reference
            What to compare with.

        Returns
        -------
        Compared
            Values of shape (n, 1).
        """
        rows, own = _distinct(texts, reference.output, reference.texts)
        if min(len(output), len(rows)) <= _EXACT_ROWS:
            return Compared(_finite(_exact(output, rows, own, self.k))[:, None])
        note = "usearch is not installed; pip install 'instructmining[knn]' to search faster"
        recorded: dict[str, Any] = {}
        if _graph.available():
            found, recorded = _graph.kth_distance_by_graph(
                output, rows, own, self.k, self.k + _SPARE
            )
            if found is not None:
                definition = {"search": "usearch"}
                return Compared(_finite(found)[:, None], definition, {**definition, **recorded})
            note = f"usearch found fewer than {_graph.WANTED_RECALL:.0%} of the neighbours"
        exact = _finite(_exact(output, rows, own, self.k))[:, None]
        return Compared(exact, {}, {**recorded, "search": "exact", "note": note})
