"""What a selection does with rows that overlap an evaluation file: drop them, or say so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from instructmining.selection.reasons import OVERLAP


@dataclass(frozen=True)
class Overlaps:
    """Rows that overlap an evaluation file.

    Parameters
    ----------
    found : mapping of int to (str, str)
        Of each such row the way in which it does, such as ``"ngram"``, and the matched text.
    drop : bool
        Never keep them; else they compete, and their flags say it.
    recorded : dict
        How they were looked for, as JSON, to be written down.
    notes : tuple of str
        What could not be compared, one sentence each.
    """

    found: Mapping[int, tuple[str, str]]
    drop: bool = True
    recorded: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def barred(self, rows: pl.Series) -> pl.Series:
        """Return the reason of each row that is never kept for it, null for the others."""
        return self._codes(rows) if self.drop else pl.Series([None] * len(rows), dtype=pl.String)

    def label(self, decisions: pl.DataFrame) -> pl.DataFrame:
        """Add the matched text of every row, and the flag of those that were let compete."""
        rows = decisions["row"]
        texts = [self.found[row][1] if row in self.found else None for row in rows]
        labelled = decisions.with_columns(overlap=pl.Series(texts, dtype=pl.String))
        if self.drop:
            return labelled
        flags = pl.concat_list(pl.col("flags").fill_null([]), self._codes(rows).alias("overlap"))
        return labelled.with_columns(flags=flags.list.drop_nulls())

    def kept(self, decisions: pl.DataFrame) -> int | None:
        """Count those kept in a labelled table; None where they are dropped."""
        found = pl.col("kept") & pl.col("overlap").is_not_null()
        return None if self.drop else decisions.filter(found).height

    def to_json(self) -> dict[str, Any]:
        """Return how they were looked for, and rows by kind."""
        kinds = Counter(kind for kind, _ in self.found.values())
        return {**self.recorded, "kinds": dict(sorted(kinds.items()))}

    def _codes(self, rows: pl.Series) -> pl.Series:
        codes = [OVERLAP + self.found[row][0] if row in self.found else None for row in rows]
        return pl.Series("reason", codes, dtype=pl.String)
