"""Comma-separated values: a header names the fields; records are written back verbatim."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from instructmining.errors import InputError
from instructmining.files import replacing
from instructmining.formats.compression import compressing, opened
from instructmining.formats.container import (
    UTF8_BOM,
    RawContainer,
    Record,
    decode,
    suffix_of,
)
from instructmining.formats.jsonl import write_lines

#: The module's default of 131,072 characters is less than one long response.
_FIELD_LIMIT = 1 << 26


class Csv(RawContainer):
    """A ``.csv`` file (comma, semicolon or tab, as the header shows) with quoted fields."""

    hint = "; the first line of a CSV file must name its columns"

    kinds = (".csv",)

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with opened(path) as stream:
            line = stream.readline().decode("latin-1")
        self.delimiter = max(",;\t", key=line.count)
        self._writes((".tsv",) if self.delimiter == "\t" else self.kinds)
        self._head, self._header = self._read_header()

    def _read_header(self) -> tuple[bytes, list[str]]:
        with opened(self.path) as stream:
            _, raw = next(self._all_slices(stream), (0, b""))
        try:
            return raw, self._fields(raw.removeprefix(UTF8_BOM))[0]
        except csv.Error as error:
            raise self._error(1, str(error)) from error

    def _fields(self, raw: bytes) -> tuple[list[str], tuple[str, ...]]:
        text, flags = decode(raw)
        return next(csv.reader([text], delimiter=self.delimiter), []), flags

    def slices(self, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
        """Yield the offset and the bytes of each record below the header."""
        found = self._all_slices(stream)
        next(found, None)
        yield from found

    def _all_slices(self, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
        csv.field_size_limit(max(csv.field_size_limit(), _FIELD_LIMIT))
        pending: list[bytes] = []

        def lines() -> Iterator[str]:
            for line in stream:
                pending.append(line)
                yield line.decode("latin-1")  # one character is one byte: see json_array.py

        reader = csv.reader(lines(), delimiter=self.delimiter)
        offset, first_line = 0, 1
        raw = b""
        while True:
            try:
                fields = next(reader, None)
            except csv.Error as error:
                if "limit" in str(error):
                    raise self._error(first_line, str(error)) from error
                fields = []  # one bad record: `parse` will say so
            if fields is None:
                break
            raw = b"".join(pending)
            if not raw.isspace():
                self._check_closed(raw, first_line)
                yield offset, raw
            pending.clear()
            offset += len(raw)
            first_line = reader.line_num + 1

    def _check_closed(self, raw: bytes, line: int) -> None:
        # A quote that never closes would swallow every row below it without a word.
        if raw.count(b"\n") < 2 and raw.endswith(b"\n"):
            return
        try:
            list(csv.reader([raw.decode("latin-1")], delimiter=self.delimiter, strict=True))
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise self._error(line, "a quoted field opens here and never closes") from error

    def _error(self, line: int, message: str) -> InputError:
        return InputError(
            f"{self.path}: line {line}: {message}; CSV with every quote closed was wanted; "
            "mend the line"
        )

    def parse(self, raw: bytes) -> Record:
        """Read one record; one with more fields than the header is malformed."""
        try:
            fields, flags = self._fields(raw)
        except csv.Error as error:
            text, flags = decode(raw)
            return Record(text, (*flags, "malformed_record"), str(error))
        if len(fields) > len(self._header):
            problem = f"{len(self._header)} fields were wanted, {len(fields)} came"
            return Record(fields, (*flags, "malformed_record"), problem)
        return Record(dict(zip(self._header, fields, strict=False)), flags)

    def write(self, rows: Sequence[int], out: Path) -> None:
        """Write the header and the records at `rows` byte for byte."""
        line_end = b"\r\n" if self._head.endswith(b"\r\n") else b"\n"
        suffix = suffix_of(out) or self.default
        with replacing(out) as temporary, compressing(temporary, suffix) as sink:
            sink.write(self._head)
            write_lines(self.raws(rows), line_end, sink)
