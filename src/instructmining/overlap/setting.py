"""What is asked of rows that overlap an evaluation file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from instructmining.errors import InputError
from instructmining.overlap.similar import LEAST_SIMILARITY
from instructmining.selection.spacing import parse_distance

DROP = "drop"
FLAG = "flag"


@dataclass(frozen=True)
class OverlapSetting:
    """Which files to look for in a pool, how, and what becomes of rows that overlap one.

    Parameters
    ----------
    files : tuple of str
        Evaluation files; none, and nothing is looked for.
    action : str
        ``"drop"``: such rows are never kept. ``"flag"``: they are only said to be such.
    similarity : float, optional
        Least Jaccard index of shingles that counts, beside runs of words; see `overlap.similar`.
    distance : float, optional
        Distance of embeddings below which rows overlap, between 0 and 2.
    """

    files: tuple[str, ...] = ()
    action: str = DROP
    similarity: float | None = None
    distance: float | None = None

    @classmethod
    def of(
        cls,
        exclude_overlap: str | Sequence[str] = (),
        overlap: str = DROP,
        overlap_similarity: str | float | None = None,
        overlap_distance: str | float | None = None,
    ) -> OverlapSetting:
        """Read what `select` was asked, by its names.

        Raises
        ------
        InputError
            If a value cannot be used, or there is no evaluation file for it.
        """
        files = (exclude_overlap,) if isinstance(exclude_overlap, str) else tuple(exclude_overlap)
        if overlap not in (DROP, FLAG):
            raise InputError(f"--overlap {overlap!r}: wanted {DROP} or {FLAG}")
        asked = {
            f"--overlap {FLAG}": overlap == FLAG,
            "--overlap-similarity": overlap_similarity is not None,
            "--overlap-distance": overlap_distance is not None,
        }
        if not files and any(asked.values()):
            option = next(name for name, given in asked.items() if given)
            raise InputError(f"{option} without an evaluation file; name one by --exclude-overlap")
        return cls(
            files,
            overlap,
            None if overlap_similarity is None else parse_similarity(overlap_similarity),
            None
            if overlap_distance is None
            else parse_distance(overlap_distance, "--overlap-distance"),
        )


def parse_similarity(value: str | float) -> float:
    """Read the value of ``--overlap-similarity``.

    Raises
    ------
    InputError
        If it is no number, or not from `LEAST_SIMILARITY` to 1.
    """
    try:
        similarity = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        similarity = float("nan")
    if not LEAST_SIMILARITY <= similarity <= 1:
        raise InputError(
            f"--overlap-similarity {value!r}: wanted the share of word shingles two texts have in "
            f"common, from {LEAST_SIMILARITY} to 1: 0.7 is a text with few words changed"
        )
    return similarity
