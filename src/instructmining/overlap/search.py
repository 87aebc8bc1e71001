"""Texts compared with evaluation files in every way asked but by embedding."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from instructmining.examples import Example
from instructmining.overlap.setting import OverlapSetting
from instructmining.overlap.similar import SimilarIndex
from instructmining.overlap.texts import Overlap
from instructmining.overlap.words import OverlapIndex


class TextSearch:
    """Evaluation examples, indexed.

    Parameters
    ----------
    setting : OverlapSetting
        What counts.
    examples : callable
        Gives the evaluation examples, as often as it is called.

    Raises
    ------
    InputError
        If what finds near-duplicates is not installed.
    """

    def __init__(self, setting: OverlapSetting, examples: Callable[[], Iterable[Example]]) -> None:
        # What is the same word for word is called that, not similar.
        self._indexes: list[OverlapIndex | SimilarIndex] = [OverlapIndex.build(examples())]
        if setting.similarity is not None:
            self._indexes.append(SimilarIndex.build(examples(), setting.similarity))

    def find(self, example: Example) -> Overlap | None:
        """Return the first way in which an example overlaps one, or None."""
        found = (index.find(example) for index in self._indexes)
        return next(filter(None, found), None)
