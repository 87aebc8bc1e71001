"""Pools that are already in memory: a sequence of dicts, or a `datasets.Dataset`."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from instructmining.formats.container import Container, Record, check_rows

if TYPE_CHECKING:
    import datasets


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


def dataset_container(dataset: datasets.Dataset, name: str, label: str) -> Container:
    """Return a container over a `datasets.Dataset`; imports pyarrow."""
    import pyarrow as pa

    from instructmining.formats.arrow import ArrowContainer

    class DatasetContainer(ArrowContainer):
        """A `datasets.Dataset`; written as Parquet with its schema, else JSON Lines."""

        def __init__(self) -> None:
            self.name = name
            self.label = label

        @property
        def schema(self) -> pa.Schema:
            return dataset.features.arrow_schema

        def tables(self) -> Iterator[pa.Table]:
            yield from dataset.with_format("arrow").iter(batch_size=1000)

    return DatasetContainer()
