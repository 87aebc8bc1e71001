"""JSON Lines: one object per line, kept and written back byte for byte."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO

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


def _integer(digits: str) -> float:
    # Python refuses to parse absurdly long integers; one such row must not stop a run.
    try:
        return int(digits)
    except ValueError:
        return float(digits)


#: Raw line breaks and tabs inside strings are common in files made by hand.
DECODER = json.JSONDecoder(strict=False, parse_int=_integer)


def parse_object(raw: bytes) -> Record:
    """Read one JSON object; what is none comes back as text, flagged."""
    text, flags = decode(raw)
    try:
        value = DECODER.decode(text)
    except json.JSONDecodeError as error:
        return _malformed(text, flags, f"column {error.colno}: {error.msg}")
    except RecursionError:
        return _malformed(text, flags, "nested too deeply")
    if not isinstance(value, dict):
        problem = f"a JSON object was wanted, {type(value).__name__} came"
        return Record(value, (*flags, "malformed_record"), problem)
    return Record(value, flags)


def _malformed(text: str, flags: tuple[str, ...], problem: str) -> Record:
    return Record(text.rstrip("\r\n"), (*flags, "malformed_record"), problem)


class JsonLines(RawContainer):
    """A ``.jsonl`` file, plain, ``.gz`` or ``.zst``. Blank lines are no records."""

    kinds = (".jsonl", ".ndjson")

    def slices(self, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
        """Yield the offset of each line and its bytes, line end included."""
        offset = 0
        for line in stream:
            mark = len(UTF8_BOM) if offset == 0 and line.startswith(UTF8_BOM) else 0
            if line[mark:].strip():
                yield offset + mark, line[mark:]
            offset += len(line)

    def parse(self, raw: bytes) -> Record:
        """Read one line."""
        return parse_object(raw)

    def write(self, rows: Sequence[int], out: Path) -> None:
        """Write the lines at `rows` byte for byte, compressed as the name of `out` says."""
        head, line_end = self._frame()
        with (
            replacing(out) as temporary,
            compressing(temporary, suffix_of(out) or self.default) as sink,
        ):
            sink.write(head)
            write_lines(self.raws(rows), line_end, sink)

    def _frame(self) -> tuple[bytes, bytes]:
        with opened(self.path) as stream:
            line = stream.readline()
        head = UTF8_BOM if line.startswith(UTF8_BOM) else b""
        return head, b"\r\n" if line.endswith(b"\r\n") else b"\n"


def write_lines(lines: Iterator[bytes], line_end: bytes, sink: IO[bytes]) -> None:
    """Write lines as they are; one that lacks its end gets it unless it comes last."""
    missing = False
    for line in lines:
        if missing:
            sink.write(line_end)
        sink.write(line)
        missing = not line.endswith(b"\n")


def dump(value: Any) -> bytes:
    """Return one record as a line of JSON; dates and the like become strings.

    Raises
    ------
    InputError
        If it has keys that JSON has no form for, such as pairs.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
        return text.encode("utf-8") + b"\n"
    except UnicodeEncodeError:  # a lone surrogate survives only as an escape
        return json.dumps(value, default=str).encode("ascii") + b"\n"
    except TypeError as error:
        raise InputError(
            f"a record that JSON cannot hold ({error}); give its keys as text"
        ) from error
