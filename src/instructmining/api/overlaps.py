"""Which rows of a pool overlap evaluation files, by all that is asked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from instructmining.api.limits import Encoded
    from instructmining.examples import Example
    from instructmining.formats import Pool
    from instructmining.overlap.setting import OverlapSetting
    from instructmining.overlap.texts import Overlap
    from instructmining.selection.overlaps import Overlaps


class OverlapSearch:
    """Evaluation files, indexed, and how a pool is compared with them.

    Parameters
    ----------
    setting : OverlapSetting
        With one file at least.

    Raises
    ------
    InputError
        If a file cannot be read, or what finds near-duplicates is not installed.
    """

    def __init__(self, setting: OverlapSetting) -> None:
        from instructmining.formats import open_prompts
        from instructmining.overlap.search import TextSearch

        self._setting = setting
        self._files = [open_prompts(path) for path in setting.files]
        self._texts = TextSearch(setting, self._examples)

    def among(self, pool: Pool, encoded: Encoded | None) -> Overlaps:
        """Return the rows of a pool that overlap, each with the first way found.

        Parameters
        ----------
        pool : Pool
            Read once, and not held.
        encoded : Encoded or None
            What embeds it and the evaluation files, where a distance is asked.
        """
        from instructmining.overlap.setting import DROP
        from instructmining.selection.overlaps import Overlaps

        setting = self._setting
        found: dict[int, Overlap] = {}
        notes: tuple[str, ...] = ()
        recorded: dict[str, Any] = {"action": setting.action}
        if setting.similarity is not None:
            recorded["similarity"] = setting.similarity
        if setting.distance is not None and encoded is not None:
            found, notes = self._near(setting.distance, encoded)
            recorded |= {"distance": setting.distance, "encoder": encoded.pool.definition}
        for example in pool.examples():
            overlap = self._texts.find(example)
            if overlap is not None:
                found[example.row] = overlap
        pairs = {row: (one.kind, one.text) for row, one in sorted(found.items())}
        return Overlaps(pairs, setting.action == DROP, recorded, notes)

    def _near(
        self, distance: float, encoded: Encoded
    ) -> tuple[dict[int, Overlap], tuple[str, ...]]:
        """Return the rows nearer than a distance, and what could not be measured."""
        from instructmining.overlap.embedded import EmbeddedIndex, unread_notes

        wanted, pool = encoded.embed(self._files), encoded.pool
        prompts = [""] * len(wanted.values)
        for place, example in zip(wanted.place, self._examples(), strict=True):
            if place >= 0:
                prompts[place] = example.prompt
        index = EmbeddedIndex(distance, wanted.values, prompts)
        notes = (
            *unread_notes("evaluation examples", wanted.place, wanted.partial),
            *unread_notes("rows", pool.place, pool.partial),
        )
        return index.find(pool.values, pool.place), notes

    def _examples(self) -> Iterator[Example]:
        return chain.from_iterable(file.examples() for file in self._files)
