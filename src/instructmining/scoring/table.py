"""The score table: one row per input row, one float column per indicator column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from instructmining.errors import InputError, StoreError
from instructmining.files import replacing
from instructmining.tables import ForeignTable, UnreadableTable, read_table, write_table

#: Columns of every score table that are not indicators.
FIXED_COLUMNS = ("row", "example", "flags")

#: What a column is, as flat JSON: indicator, version, model, weights hash, template, ...
Definition = dict[str, Any]


@dataclass(frozen=True)
class ScoreTable:
    """Scores of one pool.

    Parameters
    ----------
    frame : polars.DataFrame
        ``row`` (int64, 0..n-1 in input order), ``example`` (content hash), one Float64
        column per indicator column (null where undefined), ``flags`` (list of reason codes).
    definitions : dict
        Column name to its definition; rules compare these.
    recorded : dict
        What is written down but never compared: dtype, package versions, device.
    """

    frame: pl.DataFrame
    definitions: Mapping[str, Definition]
    recorded: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the indicator columns."""
        return tuple(name for name in self.frame.columns if name not in FIXED_COLUMNS)

    def check_pool(self, digests: pl.Series) -> None:
        """Refuse to speak for a pool other than the one scored.

        Parameters
        ----------
        digests : polars.Series of str
            Content hash of every row of the pool, in input order.

        Raises
        ------
        InputError
            If they are not the table's.
        """
        if not self.frame["example"].equals(digests):
            raise InputError(
                f"scores of {self.frame.height} rows came that are not of this pool of "
                f"{len(digests)}; score it with `instructmining score` or leave --scores out"
            )

    def save(self, path: Path) -> None:
        """Write the table as Parquet; an existing file is replaced only by a whole one."""
        note = {"definitions": self.definitions, "recorded": self.recorded}
        with replacing(path) as temporary:
            write_table(self.frame, temporary, note)

    @classmethod
    def load(cls, path: Path) -> ScoreTable:
        """Read a table written by `save`.

        Raises
        ------
        StoreError
            If the file is not Parquet, was not written by `save`, or is damaged.
        """
        advice = "write one with `instructmining score POOL -o scores.parquet`"
        try:
            frame, note = read_table(path)
            definitions, recorded = note["definitions"], note["recorded"]
        except (ForeignTable, KeyError) as error:
            raise StoreError(
                f"{path}: Parquet, but not a score table of instructmining; {advice}"
            ) from error
        except UnreadableTable as error:
            raise StoreError(
                f"{path}: cannot be read as a score table ({error}); {advice}"
            ) from error
        missing = [name for name in (*FIXED_COLUMNS, *definitions) if name not in frame.columns]
        if missing:
            raise StoreError(f"{path}: score table without column {', '.join(missing)}; {advice}")
        return cls(frame, definitions, recorded)
