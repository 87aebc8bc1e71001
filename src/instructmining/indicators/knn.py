"""How far an example lies from its neighbours in sentence-embedding space."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from instructmining.errors import InputError
from instructmining.examples import Example
from instructmining.indicators.base import Column, Need, PoolIndicator, Reference, register

#: Rows compared with the whole reference at one time.
_BLOCK = 1_024


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
    query_keys : sequence of str, length n
        Rows whose keys are equal hold the same text and are not each other's neighbours.
    reference : ndarray of float32, shape (m, d)
        Unit rows.
    reference_keys : sequence of str, length m
        Keys of the reference; of rows with equal keys the first counts.
    k : int
        Which neighbour, from 1.

    Returns
    -------
    ndarray of float64, shape (n,)
        NaN where fewer than `k` other texts exist.
    """
    first: dict[str, int] = {}
    for index, key in enumerate(reference_keys):
        first.setdefault(key, index)
    reference = reference[list(first.values())]
    position = {key: index for index, key in enumerate(first)}
    own = np.asarray([position.get(key, -1) for key in query_keys])
    distances = np.full(len(queries), np.nan)
    # Rounding of the products may swap neighbours at the edge: take a few more.
    n_near = min(len(reference), k + 8)
    if n_near == 0:
        return distances
    for start in range(0, len(queries), _BLOCK):
        block = slice(start, start + _BLOCK)
        similarity = queries[block] @ reference.T
        inside = np.flatnonzero(own[block] >= 0)
        similarity[inside, own[block][inside]] = -np.inf
        near = np.argpartition(-similarity, n_near - 1, axis=1)[:, :n_near]
        difference = queries[block].astype(np.float64)[:, None] - reference[near]
        exact = np.sqrt(np.einsum("nkd,nkd->nk", difference, difference))
        exact[np.take_along_axis(similarity, near, axis=1) == -np.inf] = np.inf
        exact.sort(axis=1)
        if k <= n_near:
            distances[block] = np.where(np.isinf(exact[:, k - 1]), np.nan, exact[:, k - 1])
    return distances


@register("knn")
@dataclass(frozen=True)
class NeighbourDistance(PoolIndicator):
    """Distance to the k-th nearest distinct text of a reference set.

    Columns: ``knn_<k>``, by default ``knn_6``. Requires a sentence encoder and a
    reference set. Undefined where the reference holds fewer than `k` other texts.
    Reference: paper, section 2 (KNN_i); Dong et al. 2011 for the approximation the paper
    used and this does not.

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
        """Return the distances, shape (n, 1)."""
        distances = kth_neighbour_distance(output, texts, reference.output, reference.texts, self.k)
        return distances[:, None]
