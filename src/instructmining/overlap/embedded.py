"""Find rows whose embedding is nearly that of an evaluation example."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from instructmining.overlap.texts import Overlap
from instructmining.selection.spacing import Nearby, Spacing

#: Rows compared at one time: with a tile of evaluation examples, 32 MB of similarities.
_BLOCK = 1_024


class EmbeddedIndex:
    """Embeddings of evaluation examples.

    Parameters
    ----------
    distance : float
        Rows nearer than this overlap: Euclidean, between unit vectors, between 0 and 2.
    embeddings : ndarray, shape (m, d)
        Unit rows; NaN, or 0, where there is none.
    texts : sequence of str
        What is said of each when a row is near it, such as its prompt.
    """

    def __init__(self, distance: float, embeddings: np.ndarray, texts: Sequence[str]) -> None:
        self._texts = texts
        spacing = Spacing(distance, embeddings)
        place = spacing.places(len(embeddings))
        self._nearby = Nearby(spacing, place)
        for position in np.flatnonzero(place >= 0).tolist():
            self._nearby.keep(position)

    def find(self, embeddings: np.ndarray, place: np.ndarray) -> dict[int, Overlap]:
        """Return the rows that are too near, each with the evaluation example nearest to it.

        Distances are measured in 64 bits. Of equally near examples the first counts.

        Parameters
        ----------
        embeddings : ndarray of float32, shape (k, d)
            Unit rows.
        place : ndarray of int, shape (n,)
            Which of them each row of the pool has, -1 for none.
        """
        nearest = np.full(len(embeddings) + 1, -1)  # the last one stands for place -1
        usable = np.unique(Spacing(self._nearby.distance, embeddings, place).places(len(place)))
        usable = usable[usable >= 0]
        for start in range(0, len(usable), _BLOCK):
            block = usable[start : start + _BLOCK]
            distance, position = self._nearby.nearest(embeddings[block])
            nearest[block] = np.where(distance < self._nearby.distance, position, -1)
        of_row = nearest[place]
        return {
            row: Overlap("embedding", self._texts[of_row[row]])
            for row in np.flatnonzero(of_row >= 0).tolist()
        }


def unread_notes(what: str, place: np.ndarray, partial: np.ndarray) -> tuple[str, ...]:
    """Say of how many texts embeddings tell nothing, or only of their beginnings.

    Parameters
    ----------
    what : str
        What they are, such as ``"rows"``.
    place : ndarray of int, shape (n,)
        Which embedding each has, -1 for none.
    partial : ndarray of bool, shape (m,)
        Which embeddings were made from a part of the text.
    """
    without, cut = int((place < 0).sum()), int(partial[place[place >= 0]].sum())
    notes = []
    if without:
        notes.append(
            f"{without:,} of {len(place):,} {what} have no response and no embedding: "
            "overlap was looked for in their words alone"
        )
    if cut:
        notes.append(
            f"{cut:,} of {len(place):,} {what} are longer than the encoder reads: "
            "only the embeddings of their beginnings were compared with the others"
        )
    return tuple(notes)
