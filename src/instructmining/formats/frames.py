"""Tables of other libraries as pools: `datasets`, Polars, pandas and Arrow, kept as they are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from instructmining.errors import InputError, first_line
from instructmining.files import replacing
from instructmining.formats.arrow import ArrowContainer, taken
from instructmining.formats.container import Container, Record, check_rows

if TYPE_CHECKING:
    import datasets
    import pandas as pd

_BATCH = 4096
#: Types of polars columns that Arrow cannot hold; not every version of polars has all of them.
_FOREIGN = tuple(getattr(pl, name) for name in ("Object", "Int128", "UInt128") if hasattr(pl, name))


class Frame(Container):
    """What the tables have in common: rows are taken out of them by the library they are of."""

    def __init__(self, columns: Sequence[Any], name: str = "memory", label: str = "memory") -> None:
        self.name = name
        self.label = label
        twice = sorted({str(column) for column in columns if list(columns).count(column) > 1})
        if twice:
            raise InputError(
                f"{label}: column {', '.join(twice)} is there twice; give each column its own name"
            )

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """Rows of the table."""

    @abstractmethod
    def taken(self, rows: Sequence[int]) -> Any:
        """Return a table of the rows, all of which there are."""

    def like(self, rows: Sequence[int]) -> Any:
        """Return the rows at `rows`, in that order, as a table of the same library."""
        check_rows(rows, self.n_rows, self.label)
        return self.taken(rows)


class ArrowTable(Frame, ArrowContainer):
    """A `pyarrow.Table`."""

    def __init__(self, table: pa.Table) -> None:
        super().__init__(table.column_names)
        self._table = table

    @property
    def schema(self) -> pa.Schema:
        """Schema of the table, metadata included."""
        return self._table.schema

    @property
    def n_rows(self) -> int:
        """Rows of the table."""
        return int(self._table.num_rows)

    def tables(self) -> Iterator[pa.Table]:
        """Stream the table in pieces."""
        for start in range(0, self.n_rows, _BATCH):
            yield self._table.slice(start, _BATCH)

    def taken(self, rows: Sequence[int]) -> pa.Table:
        """Return the rows with the schema of the table."""
        return taken(self._table, rows)


class PolarsFrame(Frame, ArrowContainer):
    """A `polars.DataFrame`; Parquet has the Arrow types that Polars gives its columns."""

    def __init__(self, frame: pl.DataFrame) -> None:
        super().__init__(frame.columns)
        foreign = [name for name, kind in frame.schema.items() if kind in _FOREIGN]
        if foreign:
            raise InputError(
                f"memory: column {', '.join(foreign)} holds what Arrow has no type for "
                f"({', '.join(str(frame.schema[name]) for name in foreign)}); drop it or cast it"
            )
        self._frame = frame

    @property
    def schema(self) -> pa.Schema:
        """Schema of the table."""
        return _arrow(self._frame.clear()).schema

    @property
    def n_rows(self) -> int:
        """Rows of the table."""
        return self._frame.height

    def tables(self) -> Iterator[pa.Table]:
        """Stream the table in pieces."""
        return map(_arrow, self._frame.iter_slices(_BATCH))

    def taken(self, rows: Sequence[int]) -> pl.DataFrame:
        """Return the rows with the types of the table."""
        return self._frame[np.asarray(rows, dtype=np.int64)]


class DatasetRows(Frame, ArrowContainer):
    """A `datasets.Dataset`; written as Parquet with its schema, else JSON Lines."""

    def __init__(
        self, dataset: datasets.Dataset, name: str | None = None, label: str = "memory"
    ) -> None:
        super().__init__(dataset.column_names, name or dataset.info.dataset_name or label, label)
        self._dataset = dataset

    @property
    def schema(self) -> pa.Schema:
        """Schema of the data, features included."""
        return self._dataset.features.arrow_schema

    @property
    def n_rows(self) -> int:
        """Rows of the data."""
        return len(self._dataset)

    def tables(self) -> Iterator[pa.Table]:
        """Stream the data in pieces, whatever format it is set to."""
        yield from self._dataset.with_format("arrow").iter(batch_size=1000)

    def taken(self, rows: Sequence[int]) -> datasets.Dataset:
        """Return the rows with the features and the format of the data."""
        return self._dataset.select(rows)


class PandasFrame(Frame):
    """A `pandas.DataFrame`; its missing values are None in records, as in JSON.

    It is not turned into Arrow as a whole, which gives every record of a column the fields of
    all others and refuses columns of mixed values.
    """

    suffixes = (".parquet",)

    def __init__(self, frame: pd.DataFrame) -> None:
        super().__init__(list(frame.columns))
        self._frame = frame

    @property
    def n_rows(self) -> int:
        """Rows of the table."""
        return len(self._frame)

    def records(self) -> Generator[Record, None, None]:
        """Yield every row as a record, in order; the index is none of its fields."""
        for start in range(0, self.n_rows, _BATCH):
            yield from _records(self._frame.iloc[start : start + _BATCH])

    def picked(self, rows: Sequence[int]) -> Iterator[Record]:
        """Yield the rows at `rows` as records, in that order."""
        return _records(self.like(rows))

    def write(self, rows: Sequence[int], out: Path) -> None:
        """Write the rows at `rows` as Parquet, as pandas does, its index included.

        Raises
        ------
        InputError
            If Parquet cannot hold them.
        """
        kept = self.like(rows)
        try:
            with replacing(out) as temporary:
                kept.to_parquet(temporary, engine="pyarrow")
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise InputError(
                f"{out}: the table does not fit a Parquet schema ({first_line(error)}); "
                "write JSON Lines instead: give a name ending in .jsonl"
            ) from error

    def taken(self, rows: Sequence[int]) -> pd.DataFrame:
        """Return the rows with the types and the index of the table."""
        return self._frame.iloc[list(rows)]


#: Library of a table to its container.
CONTAINERS: dict[str, Callable[[Any], Container]] = {
    "datasets": DatasetRows,
    "pandas": PandasFrame,
    "polars": PolarsFrame,
    "pyarrow": ArrowTable,
}


def _arrow(frame: pl.DataFrame) -> pa.Table:
    # The newest level has views of text, which not every reader of Parquet knows.
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def _records(frame: pd.DataFrame) -> Iterator[Record]:
    filled = frame.astype(object).where(frame.notna(), None)
    return (Record(_plain(record)) for record in filled.to_dict("records"))


def _plain(value: Any) -> Any:
    """Turn arrays into lists: what was a list in Parquet is an array in a table of pandas."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return [_plain(part) for part in value] if isinstance(value, list) else value
