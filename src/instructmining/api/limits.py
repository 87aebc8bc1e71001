"""What `select` asks of the rows it keeps, besides a good prediction."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from instructmining.api.overlaps import OverlapSearch
from instructmining.api.scores import Scoring, open_engine

if TYPE_CHECKING:
    from instructmining.formats import Pool
    from instructmining.overlap.setting import OverlapSetting
    from instructmining.scoring.engine import Embeddings
    from instructmining.selection.intervals import Interval
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
    intervals : tuple of Interval
        What values columns may have.
    """

    distance: float | None
    quota: Quota | None
    overlap: OverlapSetting
    intervals: tuple[Interval, ...] = ()

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
        encoded = Encoded(pool, scoring) if measured else None
        search = OverlapSearch(self.overlap) if self.overlap.files else None
        return Demands(pool, self.distance, groups, encoded, search, self.intervals)


@dataclass(frozen=True)
class Demands:
    """What is asked of the rows of one pool; made by `Asked.of`."""

    pool: Pool
    distance: float | None
    groups: Groups | None
    encoded: Encoded | None
    search: OverlapSearch | None
    intervals: tuple[Interval, ...]

    def limits(self) -> Limits:
        """Read the pool, embed it where distances are wanted, and say what limits selection."""
        from instructmining.selection.select import Limits

        return Limits(
            self._spacing(),
            self.groups,
            None if self.search is None else self.search.among(self.pool, self.encoded),
            self.intervals,
        )

    def _spacing(self) -> Spacing | None:
        from instructmining.selection.spacing import Spacing

        if self.distance is None or self.encoded is None:
            return None
        found = self.encoded.pool
        recorded = {"encoder": found.definition}
        return Spacing(self.distance, found.values, found.place, found.partial, recorded)


class Encoded:
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
