"""The score table: one row per input row, one float column per indicator column."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from instructmining.errors import InputError, StoreError
from instructmining.files import replacing

#: Columns of every score table that are not indicators.
FIXED_COLUMNS = ("row", "example", "flags")
_METADATA_KEY = b"instructmining"

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

    def check_pool(self, digests: Sequence[str]) -> None:
        """Refuse to speak for a pool other than the one scored.

        Parameters
        ----------
        digests : sequence of str
            Content hash of every row of the pool, in input order.

        Raises
        ------
        InputError
            If they are not the table's.
        """
        if self.frame["example"].to_list() != list(digests):
            raise InputError(
                f"scores of {self.frame.height} rows came that are not of this pool of "
                f"{len(digests)}; score it with `instructmining score` or leave --scores out"
            )

    def save(self, path: Path) -> None:
        """Write the table as Parquet; an existing file is replaced only by a whole one."""
        note = json.dumps({"definitions": self.definitions, "recorded": self.recorded})
        table = self.frame.to_arrow()
        table = table.replace_schema_metadata({_METADATA_KEY: note.encode()})
        with replacing(path) as temporary:
            pq.write_table(table, temporary)

    @classmethod
    def load(cls, path: Path) -> ScoreTable:
        """Read a table written by `save`.

        Raises
        ------
        StoreError
            If the file is not Parquet or was not written by `save`.
        """
        advice = "write one with `instructmining score POOL -o scores.parquet`"
        try:
            # Through a handle: given a folder, Arrow would read whatever Parquet lies in it.
            with Path(path).open("rb") as handle:
                table = pq.read_table(handle)
        except (OSError, pa.ArrowException) as error:
            cause = " ".join((getattr(error, "strerror", None) or str(error)).split())
            raise StoreError(
                f"{path}: cannot be read as a score table ({cause}); {advice}"
            ) from error
        try:
            meta = json.loads((table.schema.metadata or {})[_METADATA_KEY])
            definitions, recorded = meta["definitions"], meta["recorded"]
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"{path}: Parquet, but not a score table of instructmining; {advice}"
            ) from error
        missing = [
            name for name in (*FIXED_COLUMNS, *definitions) if name not in table.column_names
        ]
        if missing:
            raise StoreError(f"{path}: score table without column {', '.join(missing)}; {advice}")
        return cls(pl.DataFrame(pl.from_arrow(table)), definitions, recorded)
