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
from instructmining.formats.container import Container, Record, check_rows, decode

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
        yield from self._readable(self.tables())

    def picked(self, rows: Sequence[int]) -> Iterator[Record]:
        """Yield the records at `rows`, in that order, with the same columns."""
        return self._readable(self._picked(rows))

    def values(self, rows: Sequence[int]) -> Iterator[Any]:
        """Yield the records at `rows`, in that order, with every column."""
        for table in self._picked(rows):
            yield from (record.value for record in _records(table))

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

    def _readable(self, tables: Iterator[pa.Table]) -> Generator[Record, None, None]:
        columns = [place for place, field in enumerate(self.schema) if _may_hold_text(field.type)]
        for table in tables:
            yield from _records(table.select(columns))

    def _picked(self, rows: Sequence[int]) -> Iterator[pa.Table]:
        if all(before < after for before, after in pairwise(rows)):
            yield from self._ascending(rows)
            return
        distinct = sorted(set(rows))
        places = {row: place for place, row in enumerate(distinct)}
        table = pa.concat_tables(list(self._ascending(distinct)))
        yield taken(table, [places[row] for row in rows])

    def _ascending(self, rows: Sequence[int]) -> Iterator[pa.Table]:
        start = first = 0
        for table in self.tables():
            last = bisect_left(rows, start + table.num_rows)
            if last > first:
                indices = [row - start for row in rows[first:last]]
                check_rows(indices, table.num_rows, self.label)
                yield taken(table, indices)
            start += table.num_rows
            first = last
        check_rows(rows[first:], start, self.label)


def taken(table: pa.Table, rows: Sequence[int]) -> pa.Table:
    """Return the rows of `table` at `rows`, in that order; all of them must be there."""
    try:
        return table.take(pa.array(rows, type=pa.int64()))
    except pa.ArrowNotImplementedError:
        # Arrow takes no rows out of views of text by index, but cuts them out.
        pieces = [table.slice(row, 1) for row in rows]
        return pa.concat_tables(pieces) if pieces else table.slice(0, 0)


def _records(table: pa.Table) -> Iterator[Record]:
    try:
        values = table.to_pylist()
    except UnicodeDecodeError:
        # Not every writer checks that its text is UTF-8.
        raw = table.cast(pa.schema([field.with_type(_raw(field.type)) for field in table.schema]))
        for value in raw.to_pylist():
            flags: dict[str, None] = {}
            yield Record(_decoded(value, table.schema, flags), tuple(flags))
    else:
        yield from map(Record, values)


def _raw(kind: pa.DataType) -> pa.DataType:
    """Return a type with bytes in place of text."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.binary() if pa.types.is_string(kind) else pa.large_binary()
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_raw(kind.value_type)))
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_raw(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_raw(field.type)) for field in kind])
    return kind


def _decoded(value: Any, kind: Any, flags: dict[str, None]) -> Any:
    """Turn bytes back into text where `kind`, a type or a schema, says text."""
    if isinstance(value, dict):
        return {name: _decoded(part, kind.field(name).type, flags) for name, part in value.items()}
    if isinstance(value, list):
        return [_decoded(part, kind.value_type, flags) for part in value]
    if isinstance(value, bytes) and not _is_binary(kind):
        text, found = decode(value)
        flags.update(dict.fromkeys(found))
        return text
    return value


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
    return not (pa.types.is_temporal(kind) or _is_binary(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )
