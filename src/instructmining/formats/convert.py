"""Write records in another container than the one they came from.

JSON Lines, JSON arrays, Parquet and CSV hold the same records; bytes and spacing are
those of this package, not of the source. In CSV what is not text is written as JSON.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from instructmining.errors import InputError
from instructmining.files import replacing
from instructmining.formats.compression import compressing
from instructmining.formats.container import unpacked
from instructmining.formats.jsonl import dump


def write_records(values: Iterable[Any], out: Path, suffix: str) -> None:
    """Write Python objects to `out` in the container that `suffix` names.

    JSON is streamed; a table needs the columns of all records before it is begun.

    Raises
    ------
    InputError
        If the container cannot hold the records, or `out` cannot be written.
    """
    if suffix == ".parquet" or unpacked(suffix) in (".csv", ".tsv"):
        values = _rows_of_table(values, out)
    with replacing(out) as temporary:
        if suffix == ".parquet":
            _write_parquet(values, temporary, out)
            return
        with compressing(temporary, suffix) as sink:
            write = _WRITERS.get(unpacked(suffix), _WRITERS[".jsonl"])
            write(values, sink)


def _rows_of_table(values: Iterable[Any], out: Path) -> list[Any]:
    rows = list(values)
    if not all(isinstance(value, Mapping) for value in rows):
        raise InputError(
            f"{out}: among the rows is a malformed record, which no table can hold; "
            "write JSON Lines instead: give a name ending in .jsonl"
        )
    return rows


def _write_lines(values: Iterable[Any], sink: IO[bytes]) -> None:
    for value in values:
        sink.write(dump(value))


def _write_array(values: Iterable[Any], sink: IO[bytes]) -> None:
    sink.write(b"[")
    for place, value in enumerate(values):
        sink.write((b",\n" if place else b"\n") + dump(value).rstrip(b"\n"))
    sink.write(b"\n]\n")


def _write_table(values: Sequence[Any], sink: IO[bytes], delimiter: str) -> None:
    names = list(dict.fromkeys(name for value in values for name in value))
    writer = csv.writer(_Utf8(sink), delimiter=delimiter, lineterminator="\n")
    writer.writerow(names)
    for value in values:
        writer.writerow([_cell(value.get(name)) for name in names])


class _Utf8:
    """What `csv` needs of a text file, over a binary one that it must not close."""

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink

    def write(self, text: str) -> None:
        self._sink.write(text.encode("utf-8", "replace"))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _write_comma_separated(values: Sequence[Any], sink: IO[bytes]) -> None:
    _write_table(values, sink, ",")


def _write_tab_separated(values: Sequence[Any], sink: IO[bytes]) -> None:
    _write_table(values, sink, "\t")


def _write_parquet(values: Iterable[Any], temporary: Path, out: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pa.Table.from_pylist(list(values))
    except (pa.ArrowException, OverflowError, TypeError, UnicodeError) as error:
        raise InputError(
            f"{out}: the records do not fit one Parquet schema ({' '.join(str(error).split())}); "
            "write JSON Lines instead: give a name ending in .jsonl"
        ) from error
    pq.write_table(table, temporary)


_WRITERS: dict[str, Callable[[Any, IO[bytes]], None]] = {
    ".jsonl": _write_lines,
    ".json": _write_array,
    ".csv": _write_comma_separated,
    ".tsv": _write_tab_separated,
}
