"""Records in Arrow tables: the common part of Parquet, saved folders and `datasets`."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Generator, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from instructmining.files import replacing
from instructmining.formats.container import Container, Record, check_rows

_ROW_GROUP = 1 << 16


class ArrowContainer(Container):
    """Tables read one after the other; an output ending in ``.parquet`` keeps the schema."""

    suffixes: tuple[str, ...] = (".parquet",)
    codec = "snappy"

    @property
    @abstractmethod
    def schema(self) -> pa.Schema:
        """Schema of the pool, metadata included."""

    @abstractmethod
    def tables(self) -> Iterator[pa.Table]:
        """Stream the pool in pieces, in order."""

    def records(self) -> Generator[Record, None, None]:
        """Stream every record; columns that cannot hold text (dates, bytes) are left out."""
        columns = [place for place, field in enumerate(self.schema) if _may_hold_text(field.type)]
        for table in self.tables():
            for value in table.select(columns).to_pylist():
                yield Record(value)

    def take(self, rows: Sequence[int]) -> list[Any]:
        """Return the records at `rows`, in that order, as Python objects."""
        return [value for table in self._picked(rows) for value in table.to_pylist()]

    def write(self, rows: Sequence[int], out: Path) -> None:
        """Write the records at `rows` to Parquet with the schema of the pool.

        Rows in ascending order are streamed; in any other order the selected rows, and
        only those, are held in memory.
        """
        schema = self.schema
        with (
            replacing(out) as temporary,
            pq.ParquetWriter(temporary, schema, compression=self.codec) as writer,
        ):
            for table in _in_row_groups(self._picked(rows)):
                writer.write_table(table.replace_schema_metadata(schema.metadata))

    def _picked(self, rows: Sequence[int]) -> Iterator[pa.Table]:
        if all(before < after for before, after in pairwise(rows)):
            yield from self._ascending(rows)
            return
        distinct = sorted(set(rows))
        places = {row: place for place, row in enumerate(distinct)}
        table = pa.concat_tables(list(self._ascending(distinct)))
        yield table.take(pa.array([places[row] for row in rows], type=pa.int64()))

    def _ascending(self, rows: Sequence[int]) -> Iterator[pa.Table]:
        start = first = 0
        for table in self.tables():
            last = bisect_left(rows, start + table.num_rows)
            if last > first:
                indices = [row - start for row in rows[first:last]]
                check_rows(indices, table.num_rows, self.label)
                yield table.take(pa.array(indices, type=pa.int64()))
            start += table.num_rows
            first = last
        check_rows(rows[first:], start, self.label)


def _in_row_groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    pending: list[pa.Table] = []
    for table in tables:
        pending.append(table)
        if sum(piece.num_rows for piece in pending) >= _ROW_GROUP:
            yield pa.concat_tables(pending)
            pending = []
    if pending:
        yield pa.concat_tables(pending)


def _may_hold_text(kind: pa.DataType) -> bool:
    return not (
        pa.types.is_temporal(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )
