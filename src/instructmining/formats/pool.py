"""A pool: the records of one source, read as Examples and written back as they came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from instructmining.examples import Example
from instructmining.formats.container import Container, Record, suffix_of
from instructmining.formats.convert import write_records
from instructmining.formats.detect import open_container
from instructmining.formats.interpret import Interpreter, recognise
from instructmining.formats.shapes.prompts import PROMPTS


class Pool:
    """Instruction data from one source; made by `open_pool`.

    Attributes
    ----------
    name : str
        Short name of the source: the file's stem, the data set's name or ``"memory"``.
    format : str
        Shape of the records, such as ``"alpaca"``.
    """

    def __init__(self, container: Container, interpreter: Interpreter) -> None:
        self._container = container
        self._interpreter = interpreter
        self.name = container.name
        self.format = interpreter.shape.name

    @property
    def path(self) -> Path | None:
        """Where the records are read from; None where that is no path."""
        return getattr(self._container, "path", None)

    def __repr__(self) -> str:
        return f"Pool({self._container.label!r}, format={self.format!r})"

    def examples(self) -> Iterator[Example]:
        """Stream one Example per record, rows 0 to n-1; bad records are flagged, not lost.

        Raises
        ------
        InputError
            If the source turns out to be damaged or cut off.
        """
        with closing(self._container.records()) as records:
            for row, record in enumerate(records):
                yield self._example(row, record)

    def records(self) -> Iterator[Any]:
        """Stream every record as a Python object, in order; what is none comes as its text.

        Raises
        ------
        InputError
            If the source turns out to be damaged or cut off.
        """
        with closing(self._container.records()) as records:
            for record in records:
                yield record.value

    def read(self, rows: Sequence[int]) -> list[Example]:
        """Return the examples at `rows`, in that order.

        Raises
        ------
        InputError
            If a row is not in the pool.
        """
        picked = self._container.picked([int(row) for row in rows])
        return [self._example(row, record) for row, record in zip(rows, picked, strict=True)]

    def _example(self, row: int, record: Record) -> Example:
        read = self._interpreter.read(record)
        return Example(row, read.turns, read.response, self.name, read.flags)

    def write(self, rows: Sequence[int], out: Path) -> None:
        """Write the records at `rows`, in that order, exactly as they came.

        The output is in the container of the source: lines and array elements byte for
        byte, Parquet with the same schema. If `out` has the ending of another known
        container, the same records are written in that. An existing file is replaced
        only by a finished one.

        Parameters
        ----------
        rows : sequence of int
            Positions in the pool, in any order.
        out : Path
            The file to write.

        Raises
        ------
        InputError
            If a row is not in the pool, the source was changed since it was opened, or
            `out` cannot be written.
        """
        rows = [int(row) for row in rows]
        out = Path(out)
        suffix = suffix_of(out) or self._container.default
        if suffix in self._container.suffixes:
            self._container.write(rows, out)
        else:
            write_records(self._container.values(rows), out, suffix)

    def take(self, rows: Sequence[int]) -> list[Any]:
        """Return the records at `rows`, in that order, as Python objects.

        Almost always dicts; a record that could not be parsed comes as its text.

        Raises
        ------
        InputError
            If a row is not in the pool.
        """
        return list(self._container.values([int(row) for row in rows]))

    def like(self, rows: Sequence[int]) -> Any:
        """Return the records at `rows`, in that order, as the kind of object the source is.

        A `datasets.Dataset` (of the hub, too), a polars or pandas DataFrame or a pyarrow Table with
        the columns, types and index it had; of anything else the list that `take` gives.

        Raises
        ------
        InputError
            If a row is not in the pool.
        """
        return self._container.like([int(row) for row in rows])


def open_pool(
    source: Any,
    *,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    config: str | None = None,
    split: str | None = None,
) -> Pool:
    """Open instruction data; container and shape are detected from its content.

    Parameters
    ----------
    source : str, Path, sequence of dict, or table
        A file (JSON array, JSON Lines also ``.gz`` and ``.zst``, Parquet, CSV), a folder
        saved by `datasets`, ``hf://datasets/OWNER/NAME[@revision]``, a file in an object
        store (``s3://BUCKET/POOL.jsonl``), or data in memory: dicts, a `datasets.Dataset`, a
        polars or pandas DataFrame, or a pyarrow Table.
    format : str, optional
        The shape of the records, in place of the detected one.
    columns : mapping of str to str, optional
        Role (``instruction``, ``input``, ``response``, ``system``, ``history``,
        ``messages``, ``instances``) to the column that holds it.
    config, split : str, optional
        Configuration and split of a data set on the hub; the split also of a saved
        folder. Default split: ``"train"``.

    Returns
    -------
    Pool
        Nothing but the first records has been read yet.

    Raises
    ------
    InputError
        If the source as a whole cannot be used: missing, unreadable, empty, damaged, not
        UTF-8, or without a column that holds a response.
    """
    container = open_container(source, config, split)
    return Pool(container, recognise(container, format, columns))


def open_prompts(source: Any) -> Pool:
    """Open a file of prompts: what `open_pool` reads, or records that have no response.

    Parameters
    ----------
    source : str, Path, sequence of dict, or table
        As for `open_pool`; records may also hold a prompt alone (`shapes.prompts`).

    Returns
    -------
    Pool
        Examples without a response have the response ``""``.

    Raises
    ------
    InputError
        If the source as a whole cannot be used, or no record holds a prompt or a response.
    """
    container = open_container(source, None, None)
    return Pool(container, recognise(container, None, None, (PROMPTS,)))
