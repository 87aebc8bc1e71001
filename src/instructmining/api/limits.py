"""What `select` asks of the rows it keeps, besides a good prediction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

from instructmining.api.scores import Scoring, open_engine, open_source

if TYPE_CHECKING:
    from instructmining.formats import Pool
    from instructmining.overlap.setting import OverlapSetting
    from instructmining.overlap.texts import Overlap
    from instructmining.scoring.engine import Embeddings
    from instructmining.selection.overlaps import Overlaps
    from instructmining.selection.quota import Groups, Quota
    from instructmining.selection.select import Limits
    from instructmining.selection.spacing import Spacing


@dataclass(frozen=True)
class Asked:
    """What is asked of the rows kept; what cannot be had is refused by `of`.

    Parameters
    ----------
    distance : float or None
        Least distance of two rows kept.
    quota : Quota or None
        How groups share the budget.
    overlap : OverlapSetting
        Evaluation files, and what becomes of rows that overlap them.
    """

    distance: float | None
    quota: Quota | None
    overlap: OverlapSetting

    def of(self, pool: Pool, scoring: Scoring) -> Demands:
        """Look whether it can be asked of a pool, before anything costly is done.

        Raises
        ------
        InputError
            If no record has the column of the quota, an evaluation file cannot be read, or what
            finds near-duplicates is not installed.
        ModelError
            If the encoder is not there.
        """
        from instructmining.selection.quota import group_rows

        groups = None
        if self.quota is not None:
            groups = group_rows(pool.records(), self.quota, source=pool.name)
        measured = self.distance is not None or self.overlap.distance is not None
        encoded = _Encoded(pool, scoring) if measured else None
        search = _Search(self.overlap) if self.overlap.files else None
        return Demands(pool, self.distance, groups, encoded, search)


@dataclass(frozen=True)
class Demands:
    """What is asked of the rows of one pool; made by `Asked.of`."""

    pool: Pool
    distance: float | None
    groups: Groups | None
    encoded: _Encoded | None
    search: _Search | None

    def limits(self) -> Limits:
        """Read the pool, embed it where distances are wanted, and say what limits selection."""
        from instructmining.selection.select import Limits

        return Limits(
            self._spacing(),
            self.groups,
            None if self.search is None else self.search.among(self.pool, self.encoded),
        )

    def _spacing(self) -> Spacing | None:
        from instructmining.selection.spacing import Spacing

        if self.distance is None or self.encoded is None:
            return None
        found = self.encoded.pool
        recorded = {"encoder": found.definition}
        return Spacing(self.distance, found.values, found.place, found.partial, recorded)


class _Encoded:
    """The encoder that measures distances, refused where there is none; it reads a pool once."""

    def __init__(self, pool: Pool, scoring: Scoring) -> None:
        from instructmining.scoring.engine import ENCODER

        self._pool = pool
        self._engine = open_engine(scoring)
        self._engine.models.build([ENCODER])

    @cached_property
    def pool(self) -> Embeddings:
        """Embeddings of the pool."""
        return self._engine.embed(self._pool)

    def embed(self, sources: list[Pool]) -> Embeddings:
        """Return embeddings of the examples of some files."""
        from instructmining.scoring.rows import Chained

        return self._engine.embed(Chained(sources))


class _Search:
    """Evaluation files, indexed, and how a pool is compared with them."""

    def __init__(self, setting: OverlapSetting) -> None:
        from instructmining.overlap.similar import SimilarIndex
        from instructmining.overlap.words import OverlapIndex

        self._setting = setting
        self._files = [open_source(path) for path in setting.files]
        self._indexes: list[OverlapIndex | SimilarIndex] = []
        if setting.similarity is not None:
            self._indexes.append(SimilarIndex.build(self._examples(), setting.similarity))
        # What is the same word for word is called that, not similar.
        self._indexes.insert(0, OverlapIndex.build(self._examples()))

    def among(self, pool: Pool, encoded: _Encoded | None) -> Overlaps:
        """Return the rows of a pool that overlap, each with the first way found."""
        from instructmining.overlap.setting import DROP
        from instructmining.selection.overlaps import Overlaps

        setting = self._setting
        found: dict[int, Overlap] = {}
        recorded: dict[str, Any] = {"action": setting.action}
        notes: tuple[str, ...] = ()
        if setting.similarity is not None:
            recorded["similarity"] = setting.similarity
        if setting.distance is not None and encoded is not None:
            found, notes = self._near(setting.distance, encoded)
            recorded |= {"distance": setting.distance, "encoder": encoded.pool.definition}
        for example in pool.examples():
            for index in self._indexes:
                if (overlap := index.find(example)) is not None:
                    found[example.row] = overlap
                    break
        pairs = {row: (one.kind, one.text) for row, one in sorted(found.items())}
        return Overlaps(pairs, setting.action == DROP, recorded, notes)

    def _near(
        self, distance: float, encoded: _Encoded
    ) -> tuple[dict[int, Overlap], tuple[str, ...]]:
        from instructmining.overlap.embedded import EmbeddedIndex, unread_notes

        wanted, pool = encoded.embed(self._files), encoded.pool
        prompts = [""] * len(wanted.values)
        for place, example in zip(wanted.place, self._examples(), strict=True):
            if place >= 0:
                prompts[place] = prompts[place] or example.prompt
        index = EmbeddedIndex(distance, wanted.values, prompts)
        notes = (
            *unread_notes("evaluation examples", wanted.place, wanted.partial),
            *unread_notes("rows", pool.place, pool.partial),
        )
        return index.find(pool.values, pool.place), notes

    def _examples(self) -> Iterator[Any]:
        return chain.from_iterable(file.examples() for file in self._files)
