"""Pools that are already in memory: a sequence of dicts, or a table of some library."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

from instructmining.errors import InputError
from instructmining.formats.container import Container, Record, check_rows

#: Library and class of the tables that are taken; `frames` has the container of each.
_TABLES = (
    ("datasets", "Dataset"),
    ("polars", "DataFrame"),
    ("pandas", "DataFrame"),
    ("pyarrow", "Table"),
)
#: Library and class of what is nearly a table, and how it becomes one.
_NEARLY = (
    ("datasets", "DatasetDict", "choose one of its splits: {list}"),
    ("datasets", "IterableDataset", "load it without streaming"),
    ("polars", "LazyFrame", "collect it first: .collect()"),
)


class Records(Container):
    """A sequence of dicts. Its rows are written as the ending of the output says."""

    def __init__(self, records: Sequence[Any]) -> None:
        self.name = self.label = "memory"
        self._records = records

    def records(self) -> Generator[Record, None, None]:
        """Yield every record, in order."""
        yield from map(_record, self._records)

    def picked(self, rows: Sequence[int]) -> Iterator[Record]:
        """Yield the records at `rows` themselves, not copies."""
        check_rows(rows, len(self._records), self.label)
        return (_record(self._records[row]) for row in rows)


def _record(value: Any) -> Record:
    known = isinstance(value, Mapping)
    problem = "" if known else f"a dict was wanted, {type(value).__name__} came"
    return Record(value, () if known else ("malformed_record",), problem)


def open_memory(source: Any) -> Container:
    """Return the container of an object; no library is imported that its holder has not.

    Raises
    ------
    InputError
        If the object is no sequence and no table that is known.
    """
    for library, kind in _TABLES:
        if _is_a(source, library, kind):
            from instructmining.formats.frames import CONTAINERS

            return CONTAINERS[library](source)
    for library, kind, remedy in _NEARLY:
        if _is_a(source, library, kind):
            splits = list(source) if "{list}" in remedy else ()
            raise InputError(f"a {kind} came; {remedy.format(list=splits)}")
    if isinstance(source, Sequence) and not isinstance(source, bytes):
        return Records(source)
    raise InputError(
        f"a {type(source).__name__} came; a path, an hf://datasets/ address, a list of dicts, a "
        "datasets.Dataset, a polars or pandas DataFrame or a pyarrow Table was wanted"
    )


def _is_a(source: Any, library: str, kind: str) -> bool:
    return isinstance(source, getattr(sys.modules.get(library), kind, ()))
